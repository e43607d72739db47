"""How the process shows up in the store's list of components."""

from __future__ import annotations

import logging
import math
import os
import socket
import time

from airflow_provider_mm7.exceptions import StoreError
from airflow_provider_mm7.store import open_store

log = logging.getLogger(__name__)

#: Seconds between two heartbeats; three of them may be missed before the process counts as stale.
HEARTBEAT_S = 30.0

#: (store, kind, process id) -> when it was said last, monotonic seconds.
_said: dict[tuple[str, str, int], float] = {}


def say_alive(url: str, kind: str) -> None:
    """Register this process with a store, once a while; blocking. Serves diagnosis only: no store error leaves it.

    :param url: the store.
    :param kind: what this process does: ``trigger``.
    """
    process = (url, kind, os.getpid())
    now = time.monotonic()
    if now - _said.get(process, -math.inf) < HEARTBEAT_S:
        return
    _said[process] = now
    try:
        open_store(url).heartbeat(kind, socket.gethostname(), os.getpid())
    except StoreError as exc:
        log.info("This process could not register with the MM7 store: %s", exc)
