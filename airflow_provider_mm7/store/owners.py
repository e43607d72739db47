"""Who this process is, and whether the one that holds a claim still lives."""

from __future__ import annotations

import os
import socket
import uuid
from typing import Final

import psutil

from airflow_provider_mm7.store.types import Owner

#: Start times are told in clock ticks; two tellings of one may differ by rounding (seconds).
_SAME_START_S: Final = 1.0


def new_owner() -> Owner:
    """Name this run of this process."""
    return Owner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
    )


def owner_is_alive(owner: Owner) -> bool | None:
    """Whether an owner's process runs.

    :return: None for a process of another host, of which nothing can be told here.
    """
    if owner.host != socket.gethostname():
        return None
    try:
        process = psutil.Process(owner.pid)
        # A process id is given again after its process has ended; a zombie sends nothing.
        same = abs(process.create_time() - owner.started) <= _SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
