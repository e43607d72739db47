"""Signs of life in the store, so that a sensor can tell whether anybody receives reports where it reads them."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class HeartbeatStore(Protocol):
    """The part of the store that takes signs of life."""

    def heartbeat(self, kind: str, host: str, pid: int) -> None:
        """Note that a component of this kind runs here."""
        ...

    def sign_off(self, kind: str, host: str, pid: int) -> None:
        """Note that it ends."""
        ...


class Heartbeat:
    """A thread that tells the store, now and then, that a receiver runs in this process.

    :param store: opens the store; called in the thread.
    :param interval_s: seconds between two signs.
    """

    def __init__(self, store: Callable[[], HeartbeatStore], *, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; harmless when it has begun."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="mm7-heartbeat", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        me = ("receiver", socket.gethostname(), os.getpid())
        while not self._stopped.is_set():
            self._say(lambda: self._store().heartbeat(*me))
            self._stopped.wait(self._interval_s)
        self._say(lambda: self._store().sign_off(*me))

    def _say(self, words: Callable[[], None]) -> None:
        try:
            words()
        except Exception as exc:
            # Callbacks are served whether or not anybody hears that they are; the texts of foreign errors may quote.
            log.warning("no sign of life could be left in the store: %s", type(exc).__name__)
