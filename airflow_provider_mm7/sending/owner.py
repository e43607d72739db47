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
        started=psutil.Process().create_time(),
    )


def is_alive(owner: Owner) -> bool | None:
    """Tell whether an owner's process runs; None when it is on another host and only its lease can tell."""
    if owner.host != this_host():
        return None
    try:
        process = psutil.Process(owner.pid)
        # A process id is given again after its process has ended; a zombie sends nothing.
        same = abs(process.create_time() - owner.started) < _START_TOLERANCE_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
