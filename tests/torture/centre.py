"""The MMSC of a torture: outlives its clients, answers after a random moment, and remembers whom it wrote to."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.mmsc import Answer, Received, accept, mmsc, status

#: Seconds that an answer takes at most. Short, so that many kills find an answer that nobody has read.
LATENCY_S = 0.02
#: Of so many numbers one is refused for good, and one is not taken at the first try.
REFUSED_OF = 50
LATER_OF = 70
#: Seconds between looks whether whoever should send still runs.
POLL_S = 0.02

_refuse = status(2000)
_not_now = status(4006)


class Centre:
    """What an MMSC did for one batch.

    :ivar taken: recipient -> TransactionIDs of the requests that were accepted for them, one a message on a handset.
    :ivar refused: recipients refused for good.
    :ivar arrivals: requests received so far.
    """

    def __init__(self, rng: random.Random) -> None:
        self.url = ""
        self.taken: dict[str, list[str]] = {}
        self.refused: set[str] = set()
        self.arrivals = 0
        self._put_off: set[str] = set()
        self._changed = threading.Condition()
        self._rng = rng

    def answer(self, received: Received) -> Answer:
        """Decide and remember; then let it take its time."""
        with self._changed:
            decided = self._decide(received)
            pause = self._rng.uniform(0, LATENCY_S)
            self.arrivals += 1
            self._changed.notify_all()
        time.sleep(pause)
        return decided

    def _decide(self, received: Received) -> Answer:
        first = received.recipients[0]
        if any(int(number[-6:]) % REFUSED_OF == 7 for number in received.recipients):
            self.refused.update(received.recipients)
            return _refuse(received)
        if int(first[-6:]) % LATER_OF == 11 and first not in self._put_off:
            self._put_off.add(first)
            return _not_now(received)
        for number in received.recipients:
            self.taken.setdefault(number, []).append(received.transaction_id)
        return accept(received)

    def snapshot(self) -> dict[str, list[str]]:
        """Return :attr:`taken` as it is now."""
        with self._changed:
            return {number: list(transactions) for number, transactions in self.taken.items()}

    def doubled(self) -> set[str]:
        """Return who got more than one message."""
        return {number for number, count in Counter({n: len(t) for n, t in self.taken.items()}).items() if count > 1}

    def wait_for(self, arrivals: int, *, still: Callable[[], bool]) -> bool:
        """Wait until so many requests have come; False when nobody is left who could send them."""
        with self._changed:
            while self.arrivals < arrivals:
                if not still():
                    return False
                self._changed.wait(POLL_S)
        return True


@contextmanager
def open_centre(rng: random.Random) -> Iterator[Centre]:
    """Run an MMSC for the length of a ``with`` block."""
    centre = Centre(rng)
    with mmsc(centre.answer) as server:
        centre.url = server.url
        yield centre
