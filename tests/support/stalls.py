"""How long this machine holds up a process that wants to run: the error of every measurement of time made on it."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

#: Seconds between two looks.
_STEP_S = 0.005


class Stalls:
    """A thread that sleeps, and notes by how much it woke too late."""

    def __init__(self) -> None:
        #: Seconds that one sleep was too long, at the most.
        self.worst_s = 0.0
        #: Seconds that all of them were too long.
        self.total_s = 0.0
        self._began = time.monotonic()
        self._ended = self._began
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._ended = time.monotonic()

    @property
    def share(self) -> float:
        """Part of the time in which it was held up."""
        return self.total_s / (self._ended - self._began)

    def _look(self) -> None:
        while not self._done.is_set():
            began = time.monotonic()
            time.sleep(_STEP_S)
            late_s = time.monotonic() - began - _STEP_S
            self.total_s += late_s
            self.worst_s = max(self.worst_s, late_s)
