"""A connection's rate, kept over every task and machine that shares the store, in any second one looks at."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_mm7.sending.halt import STOP_POLL_S, Halt
from airflow_provider_mm7.store import Store

#: Share of the rate that is left unused. Moments stand 1 / (rate * (1 - HEADROOM)) apart, so a second still holds no
#: more than the rate when one message is up to HEADROOM seconds later than its moment, and the next ones are not.
HEADROOM = 0.05
#: Seconds after which a moment counts as missed. The rest of HEADROOM is for what happens on the way to the MMSC.
LATE_S = 0.03
#: Seconds' worth of moments that are taken from the store at once: tasks take turns, and few are lost when one ends.
SLICE_S = 0.1
#: Seconds that moments may be taken ahead: for so long the store may take to answer, and nothing stands still.
AHEAD_S = 1.0
#: Processes that may share a connection's rate. None takes more while its last moments end beyond AHEAD_S, so beyond
#: that each has one lot of them; where there is more, the clock was set back. Far more than anybody runs, since moments
#: that are somebody's must not be given out twice.
MAX_TAKERS = 1000
#: Seconds until the first moment, so that it is not missed while the store commits.
LEAD_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a connection may send.

    :ivar conn_id: what shares the rate.
    :ivar rate_per_s: messages a second, each recipient counted.
    """

    conn_id: str
    rate_per_s: float


class Pacer:
    """Lets the threads of one run pass one after another, each at a moment of its own.

    A thread that was held up (by the machine, by its own process) does not make up for it: its moment is lost.

    :param group_size: messages in most requests.
    """

    def __init__(self, store: Store, pace: Pace, *, group_size: int, halt: Halt) -> None:
        self._store = store
        self._conn_id = pace.conn_id
        self._rate_per_s = moments_per_s(pace.rate_per_s, group_size)
        self._halt = halt
        #: Held by the one thread that takes from the store.
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._wanted = 0
        #: Moments of the monotonic clock, and the end of the last of them.
        self._moments: deque[float] = deque()
        self._end = 0.0
        self._lead_s = LEAD_S
        # A lot is one request at least.
        self._queue_s = AHEAD_S + MAX_TAKERS * max(group_size / self._rate_per_s, SLICE_S)

    def wait(self, messages: int, *, unless: Callable[[], bool]) -> bool:
        """Wait until a request with so many messages may leave.

        :param unless: a reason not to wait on.
        :return: whether it may; False when there was a reason not to wait on.
        :raises StoreError: there are no moments to be had.
        """
        with self._counting:
            self._wanted += messages
        try:
            while (moment := self._next(messages, unless)) is not None:
                if not self._halt.wait_until(moment, unless=unless):
                    return False
                if time.monotonic() - moment <= LATE_S:
                    return True
            return False
        finally:
            with self._counting:
                self._wanted -= messages

    def _next(self, messages: int, unless: Callable[[], bool]) -> float | None:
        while not self._turn.acquire(timeout=STOP_POLL_S):
            if self._halt or unless():
                return None
        try:
            while self._moments and time.monotonic() - self._moments[0] > LATE_S:
                self._moments.popleft()
            while len(self._moments) < messages:
                if not self._halt.wait_until(self._end - AHEAD_S, unless=unless):
                    return None
                self._take(messages)
            first = self._moments[0]
            for _ in range(messages):
                self._moments.popleft()
            return first
        finally:
            self._turn.release()

    def _take(self, messages: int) -> None:
        slots = max(messages, min(self._wanted, round(SLICE_S * self._rate_per_s)))
        asked_at = time.monotonic()
        first = self._store.reserve(
            self._conn_id, slots=slots, rate_per_s=self._rate_per_s, lead_s=self._lead_s, queue_s=self._queue_s
        )
        now = time.monotonic()
        # A store that is slower than the lead would give out nothing but missed moments.
        self._lead_s = LEAD_S + (2 * (now - asked_at) if first < now else 0.0)
        self._moments.extend(first + place / self._rate_per_s for place in range(slots))
        self._end = first + slots / self._rate_per_s


def within_rate(group_size: int, rate_per_s: float | None) -> int:
    """Return how many messages one request may hold.

    They leave at once: a request with more of them than the rate would break it, however long it waited.

    :param group_size: messages that the MMSC takes in one request.
    :param rate_per_s: messages a second; None: no bound.
    """
    return group_size if rate_per_s is None else max(1, min(group_size, int(rate_per_s)))


def moments_per_s(rate_per_s: float, group_size: int) -> float:
    """Return how many moments a second are used.

    A request with several messages leaves at once: no second may hold more requests than have room in it whole.
    """
    if 1 < group_size <= rate_per_s:
        rate_per_s -= rate_per_s % group_size
    return rate_per_s * (1 - HEADROOM)
