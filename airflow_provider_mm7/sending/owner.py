"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import uuid
from functools import partial
from pathlib import Path

import psutil

from airflow_provider_mm7.store import Owner

#: Seconds by which two readings of one process's start time may differ (clock ticks).
_START_TOLERANCE_S = 1.0
#: Start times above are seconds since 1970, those below since this machine started: 31 years of either.
_BY_THE_CLOCK_S = 1e9
#: What the kernel tells of a process (proc_pid_stat(5)).
_STAT = "/proc/{}/stat"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

#: Names this run of the kernel, and this space of process ids within it (pid_namespaces(7)).
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"


def this_host() -> str:
    """Name what shares our process ids.

    The host name alone does not: containers on their host's network bear its name, and each counts processes for
    itself. A process that lives in one of them looks dead from another.
    """
    space = hashlib.sha256()
    for tell in (_BOOT_ID.read_text, partial(os.readlink, _PID_NAMESPACE)):
        # Elsewhere than on Linux there are no such namespaces.
        with contextlib.suppress(OSError):
            space.update(tell().encode())
    return f"{socket.gethostname()}/{space.hexdigest()[:8]}"


def this_process() -> Owner:
    """Return a new owner for this process; each run has its own token."""
    return Owner(
        token=uuid.uuid4().hex,
        host=this_host(),
        pid=os.getpid(),
        started=_started(psutil.Process()),
    )


def is_alive(owner: Owner) -> bool | None:
    """Tell whether an owner's process runs; None when it is on another host and only its lease can tell."""
    if owner.host != this_host():
        return None
    try:
        process = psutil.Process(owner.pid)
        # A process id is given again after its process has ended; a zombie sends nothing.
        # As it was told, by this version or a former one.
        started = process.create_time() if owner.started > _BY_THE_CLOCK_S else _started(process)
        same = abs(started - owner.started) < _START_TOLERANCE_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None


def _started(process: psutil.Process) -> float:
    """Tell when a process started, in seconds that no change of the clock moves.

    Linux counts them from its own start; the time by the clock is worked out from that, and moves with it. Others keep
    the time by the clock.
    """
    try:
        stat = Path(_STAT.format(process.pid)).read_text(errors="replace")
    except OSError:
        return process.create_time()
    # Field 22; the name, which is the second, may hold anything.
    return int(stat.rpartition(")")[2].split()[19]) / _TICKS_PER_S
