"""How far a long run is, told now and then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from airflow_provider_mm7.store import BatchSummary, Settlement, State

#: Seconds between two reports.
INTERVAL_S = 10.0
#: What is counted, in this order; the last only where there is any.
_TOLD = (State.ACCEPTED, State.REFUSED, State.UNKNOWN, State.SUPPRESSED)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Counts what is settled, and reports it.

    :ivar tell: takes a line of text.
    :ivar clock: seconds of a monotonic clock.
    """

    tell: Callable[[str], None]
    interval_s: float = INTERVAL_S
    clock: Callable[[], float] = time.monotonic
    _total: int = 0
    _before: int = 0
    _counts: Counter[State] = field(default_factory=Counter)
    _settled: int = 0
    _begun: float = 0.0
    _told: float = 0.0

    def begin(self, summary: BatchSummary) -> None:
        """Start the clock.

        :param summary: of the batch, with what former runs have done.
        """
        self._total = summary.total
        self._counts = Counter(
            {
                State.ACCEPTED: summary.accepted,
                State.REFUSED: summary.refused,
                State.UNKNOWN: summary.unknown,
                State.SUPPRESSED: summary.suppressed,
            }
        )
        self._before = summary.total - summary.planned - summary.sending
        self._begun = self._told = self.clock()

    def settled(self, settlements: Sequence[Settlement]) -> None:
        """Count what one commit recorded."""
        ends = [item.state for item in settlements if item.state is not State.RETRY]
        self._counts.update(ends)
        self._settled += len(ends)
        now = self.clock()
        if now - self._told >= self.interval_s:
            self._told = now
            self.tell(self.describe(now))

    def describe(self, now: float) -> str:
        """Say how far it is, how fast, and how long it will take."""
        done = self._before + self._settled
        rate = self._settled / max(now - self._begun, 1e-9)
        left = "unknown" if not self._settled else _duration((self._total - done) / rate)
        counts = ", ".join(
            f"{self._counts[state]} {state}" for state in _TOLD if self._counts[state] or state is not _TOLD[-1]
        )
        return f"{done} of {self._total} done, {rate:.1f} messages/s, {left} left: {counts}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
