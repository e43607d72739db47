"""Contenders run alternately: A B C, A B C, ...; each time in a fresh process, against a sink that has forgotten."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from tests.benchmarks.processes import SinkProcess, measure
from tests.benchmarks.spec import Result, Run

#: Messages of the first, uncounted run of each contender, for each connection; it tells how many a round takes.
TRIAL_PER_CONNECTION = 12
TRIAL_LEAST = 12
#: Messages of a round, at most and at least for each connection.
MOST_MESSAGES = 200_000
LEAST_PER_CONNECTION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to send, with its settings.

    :ivar ledger: ``sqlite``, ``postgresql`` or ``none``.
    """

    name: str
    way: str
    connections: int = 1
    ledger: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a contender's rounds gave, in their order."""

    contender: Contender
    results: list[Result] = field(default_factory=list)

    def middle(self, figure: Callable[[Result], float]) -> float:
        """Return the median of a figure over the rounds."""
        return median(figure(result) for result in self.results)

    def ratio(self, other: Series, figure: Callable[[Result], float]) -> float:
        """Return the median of a figure's ratio to another contender's in the same round."""
        return median(figure(mine) / figure(its) for mine, its in zip(self.results, other.results, strict=True))


class Unfair(RuntimeError):
    """The sink did not receive what a contender says it sent."""


@dataclass(slots=True, kw_only=True)
class Arena:
    """Where contenders meet.

    :ivar ledgers: folder for SQLite files, on the disk that is to be measured.
    :ivar postgresql: makes an empty database and gives its URL; None: there is no server.
    """

    sink: SinkProcess
    ledgers: Path
    postgresql: Callable[[], str] | None = None
    tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)

    def compete(
        self, contenders: Sequence[Contender], *, latency_ms: float, image_bytes: int, seconds: float, rounds: int
    ) -> list[Series]:
        """Let contenders run alternately.

        :param seconds: that a contender's round takes, about.
        :return: one series a contender, in their order.
        """
        runs = {}
        for contender in contenders:
            trial = self._run(contender, image_bytes, max(TRIAL_PER_CONNECTION * contender.connections, TRIAL_LEAST))
            rate = self.once(contender, trial, latency_ms).rate
            least = LEAST_PER_CONNECTION * contender.connections
            runs[contender.name] = replace(trial, messages=int(min(max(rate * seconds, least), MOST_MESSAGES)))
        series = [Series(contender=contender) for contender in contenders]
        for number in range(1, rounds + 1):
            for one in series:
                result = self.once(one.contender, runs[one.contender.name], latency_ms)
                one.results.append(result)
                self.tell(f"  round {number}: {one.contender.name}: {result.rate:.0f}/s, {result.cpu_us:.0f} us")
        return series

    def once(self, contender: Contender, run: Run, latency_ms: float) -> Result:
        """Run one contender once.

        :raises Unfair: what arrived is not what was sent.
        """
        self.sink.reset(latency_ms=latency_ms)
        self.ledgers.mkdir(parents=True, exist_ok=True)
        try:
            result = measure(replace(run, ledger=self._ledger(contender)))
        finally:
            shutil.rmtree(self.ledgers)
        arrived = self.sink.stats()
        expected = run.messages + run.warmup
        if (arrived["requests"], arrived["duplicates"], arrived["without_transaction_id"]) != (expected, 0, 0):
            raise Unfair(f"{contender.name} sent {expected}, and this arrived: {arrived}")
        return result

    def _run(self, contender: Contender, image_bytes: int, messages: int) -> Run:
        return Run(
            way=contender.way,
            url=self.sink.url,
            messages=messages,
            # Each connection is open before the clock runs.
            warmup=max(contender.connections, 4),
            connections=contender.connections,
            image_bytes=image_bytes,
        )

    def _ledger(self, contender: Contender) -> str:
        match contender.ledger:
            case "sqlite":
                return f"sqlite:///{self.ledgers}/mm7.db"
            case "postgresql" if self.postgresql is not None:
                return self.postgresql()
            case "none":
                return ""
        raise ValueError(f"no ledger for {contender}")
