"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import uuid

import psutil

from airflow_provider_mm7.store import Owner

#: Seconds by which two readings of one process's start time may differ (clock ticks).
_START_TOLERANCE_S = 1.0


def this_process() -> Owner:
    """Return a new owner for this process; each run has its own token."""
    return Owner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )


def is_alive(owner: Owner) -> bool | None:
    """Tell whether an owner's process runs; None when it is on another host and only its lease can tell."""
    if owner.host != socket.gethostname():
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
