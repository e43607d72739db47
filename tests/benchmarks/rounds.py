"""Contenders run alternately: A B C, A B C, ...; each time in a fresh process, against a sink that has forgotten."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import SinkProcess, measure
from tests.benchmarks.spec import Result, Run

#: Messages of the first, uncounted run of a contender, for each connection.
TRIAL_PER_CONNECTION = 12
#: A trial tells little while what a batch costs once weighs in it: one that took less than this part of a round is
#: followed by another, of as many messages as it found; so many at most.
LONG_ENOUGH = 4
TRIALS = 3
#: Messages of a round, at most, and at least for each connection.
MOST_MESSAGES = 200_000
LEAST_PER_CONNECTION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to send, with its settings.

    :ivar ledger: ``sqlite``, ``postgresql`` or ``none``.
    :ivar image_bytes: of the picture, before encoding.
    :ivar messages: of a round; None: as many as take about the seconds of a round.
    :ivar options: what else its way understands.
    :ivar steps: whether to tell where its CPU goes.
    """

    name: str
    way: str
    connections: int = 1
    ledger: str = "none"
    image_bytes: int = 100_000
    messages: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    steps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a contender's rounds gave, in their order."""

    contender: Contender
    results: list[Result] = field(default_factory=list)

    def each(self, figure: Callable[[Result], float]) -> tuple[float, ...]:
        """Return a figure of every round."""
        return tuple(figure(result) for result in self.results)

    def against(self, other: Series, figure: Callable[[Result, Result], float]) -> tuple[float, ...]:
        """Return a figure of every round with another contender's result of the same round."""
        return tuple(figure(mine, its) for mine, its in zip(self.results, other.results, strict=True))

    def times(self, other: Series) -> tuple[float, ...]:
        """Return how many times as fast as another contender this one was."""
        return self.against(other, lambda mine, its: mine.rate / its.rate)

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return {
            "contender": asdict(self.contender),
            "rounds": [{**asdict(one), "rate": one.rate, "cpu_us": one.cpu_us} for one in self.results],
        }


class Unfair(RuntimeError):
    """The sink did not receive what a contender says it sent."""


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True, kw_only=True)
class Arena:
    """Where contenders meet.

    :ivar ledgers: folder for SQLite files, on the disk that is to be measured.
    :ivar postgresql: makes an empty database and gives its URL; None: there is no server.
    :ivar env: variables that the contenders' processes get.
    """

    sink: SinkProcess
    ledgers: Path
    postgresql: Callable[[], str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def compete(
        self, contenders: Sequence[Contender], *, latency_ms: float, seconds: float, rounds: int
    ) -> dict[str, Series]:
        """Let contenders run alternately.

        :param seconds: that a contender's round takes, about.
        :return: each one's series by its name.
        """
        runs = {one.name: self._sized(one, latency_ms, seconds) for one in contenders}
        series = {one.name: Series(contender=one) for one in contenders}
        for number in range(1, rounds + 1):
            for name, one in series.items():
                result = self.once(one.contender, runs[name], latency_ms)
                one.results.append(result)
                tell(f"  round {number}, {name}: {result.rate:.0f}/s, {result.cpu_us:.0f} us of CPU a message")
        return series

    def once(self, contender: Contender, run: Run, latency_ms: float) -> Result:
        """Run one contender once.

        :raises Unfair: what arrived is not what was sent.
        """
        self.sink.reset(latency_ms=latency_ms)
        self.ledgers.mkdir(parents=True, exist_ok=True)
        try:
            result = measure(replace(run, ledger=self._ledger(contender)), env=self.env)
        finally:
            shutil.rmtree(self.ledgers)
        arrived = self.sink.stats()
        expected = run.messages + run.warmup
        if (arrived["requests"], arrived["duplicates"], arrived["without_transaction_id"]) != (expected, 0, 0):
            raise Unfair(f"{contender.name} sent {expected}, and this arrived: {arrived}")
        return replace(result, counts={**result.counts, "peak_in_flight": arrived["peak_in_flight"]})

    def _sized(self, contender: Contender, latency_ms: float, seconds: float) -> Run:
        """Return a contender's run, with as many messages as a round takes."""
        run = Run(
            way=contender.way,
            url=self.sink.url,
            messages=contender.messages or TRIAL_PER_CONNECTION * contender.connections,
            # Each connection is open before the clock runs.
            warmup=max(contender.connections, 4),
            connections=contender.connections,
            image_bytes=contender.image_bytes,
            options=dict(contender.options),
            steps=contender.steps,
        )
        if contender.messages is not None:
            return run
        least = LEAST_PER_CONNECTION * contender.connections
        for _ in range(TRIALS):
            trial = self.once(contender, run, latency_ms)
            run = replace(run, messages=int(min(max(trial.rate * seconds, least), MOST_MESSAGES)))
            if trial.elapsed_s * LONG_ENOUGH >= seconds:
                break
        return run

    def _ledger(self, contender: Contender) -> str:
        match contender.ledger:
            case "sqlite":
                return f"sqlite:///{self.ledgers}/mm7.db"
            case "postgresql" if self.postgresql is not None:
                return self.postgresql()
            case "none":
                return ""
        raise ValueError(f"no ledger for {contender}")
