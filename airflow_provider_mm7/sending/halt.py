"""Whether a run is to end, and the one way to wait that notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds between looks whether to stop, while something waits.
STOP_POLL_S = 0.5


def never() -> bool:
    """Tell that nobody wants it to stop."""
    return False


class Halt:
    """Set once, by whoever finds a reason, or asked for from outside.

    :param stopped: asked again and again; it may become true in a signal handler, which can wake nobody.
    """

    def __init__(self, stopped: Callable[[], bool] = never) -> None:
        self._event = threading.Event()
        self._stopped = stopped

    def __bool__(self) -> bool:
        return self._event.is_set() or self._stopped()

    def set(self) -> None:
        """End the run: every wait returns."""
        self._event.set()

    def wait_until(self, moment: float, *, unless: Callable[[], bool] = never) -> bool:
        """Wait for a moment of the monotonic clock (seconds).

        :param unless: another reason not to wait on.
        :return: whether it came; False when there was a reason not to wait on.
        """
        while not self and not unless():
            left = moment - time.monotonic()
            if left <= 0:
                return True
            self._event.wait(min(left, STOP_POLL_S))
        return False
