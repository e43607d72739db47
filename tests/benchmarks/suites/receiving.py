"""Delivery reports taken in: grouped commits against a commit for each report, and against no store at all."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from tests.benchmarks import message
from tests.benchmarks.bench import Bench
from tests.benchmarks.callers import Answers, Calls
from tests.benchmarks.figures import Figure, Outcome
from tests.benchmarks.processes import ROOT
from tests.benchmarks.receiver import PATH
from tests.benchmarks.rounds import Unfair, tell
from tests.benchmarks.sent import MESSAGES, PostgresLedgers, SQLiteLedgers, delivered
from tests.benchmarks.slow_disk import FSYNC_US, NoSlowDisk, environment, fsync_us

#: Carriers' connections.
CLIENTS = 32
SECONDS = 2.0
#: Reports before the clock runs: statements are compiled, connections made.
WARMUP = 256
#: Seconds until a receiver listens, and until it has ended.
STARTS_S, ENDS_S = 60, 60

Ledger = Callable[[], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A receiver.

    :ivar way: ``parse``, ``each`` or ``group``.
    :ivar ledger: gives it a fresh store.
    :ivar env: variables of its process.
    """

    name: str
    way: str
    ledger: Ledger
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a round of a contender gave.

    :ivar cpu_us: CPU microseconds a report, of the receiver's process.
    """

    answers: Answers
    cpu_us: float


def receiver(bench: Bench) -> Outcome:
    """32 clients; the disk as it is, and one whose fsync takes 2 ms."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm7-bench-")))
        # The database's own user has to pass.
        folder.chmod(0o711)
        contenders, disks = _contenders(bench, stack, folder)
        taken: dict[str, list[Taken]] = {contender.name: [] for contender in contenders}
        for number in range(1, bench.rounds + 1):
            for contender in contenders:
                one = one_round(contender, bench.folder / "receiver", SECONDS * bench.pace)
                taken[contender.name].append(one)
                tell(
                    f"  round {number}, {contender.name}: {one.answers.rate:.0f}/s,"
                    f" p99 {one.answers.p99_ms:.0f} ms, {one.cpu_us:.0f} us of CPU a report"
                )
    raw = {name: [{**asdict(one), "rate": one.answers.rate} for one in series] for name, series in taken.items()}
    return Outcome(figures=tuple(_figures(taken)), raw={"fsync_us": disks, "rounds": raw})


def _contenders(bench: Bench, stack: ExitStack, folder: Path) -> tuple[list[Contender], dict[str, float]]:
    from tests.support.postgres_server import Postgres

    disk = bench.folder / "ledgers"
    stack.callback(shutil.rmtree, disk, ignore_errors=True)
    sqlite = SQLiteLedgers(disk).ledger
    disks = {"": fsync_us(disk, {})}
    found = [Contender(name="parse only", way="parse", ledger=sqlite)]
    kinds: dict[str, dict[str, str]] = {"": {}}
    try:
        kinds[SLOW] = environment(folder)
        disks[SLOW] = fsync_us(disk, kinds[SLOW])
    except NoSlowDisk as exc:
        tell(f"  no slow disk: {exc}")
    for suffix, env in kinds.items():
        found += [
            Contender(name=f"SQLite, each{suffix}", way="each", ledger=sqlite, env=env),
            Contender(name=f"SQLite, grouped{suffix}", way="group", ledger=sqlite, env=env),
        ]
        if bench.postgresql is not None:
            # The server has the disk, not the receiver.
            postgres = PostgresLedgers(stack.enter_context(Postgres(env=env))).ledger
            found += [
                Contender(name=f"PostgreSQL, each{suffix}", way="each", ledger=postgres),
                Contender(name=f"PostgreSQL, grouped{suffix}", way="group", ledger=postgres),
            ]
    return found, disks


#: What the names of contenders on the slow disk end with.
SLOW = f", fsync {FSYNC_US / 1000:g} ms"


def one_round(contender: Contender, folder: Path, seconds: float) -> Taken:
    """Measure one contender once.

    :raises Unfair: what it acknowledged is not what it stored, or it acknowledged not everything.
    """
    with contender.ledger() as url:
        with _serving(contender, url, folder) as (port, process):
            _call(port, first=0, reports=WARMUP, seconds=60)
            before = process.cpu_times()
            answers = _call(port, first=WARMUP, reports=MESSAGES - WARMUP, seconds=seconds)
            after = process.cpu_times()
        expected = 0 if contender.way == "parse" else answers.acknowledged + WARMUP
        stored = delivered(url)
        if answers.others or stored != expected:
            raise Unfair(f"{contender.name}: {answers}, and {stored} in the store, not {expected}")
    used_s = after.user + after.system - before.user - before.system
    return Taken(answers=answers, cpu_us=used_s / answers.acknowledged * 1e6)


@contextmanager
def _serving(contender: Contender, url: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.benchmarks.receiver", contender.way, url, str(port), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **contender.env})
    try:
        deadline = time.monotonic() + STARTS_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{contender.name} does not listen")
            time.sleep(0.02)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(ENDS_S)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _call(port: int, *, first: int, reports: int, seconds: float) -> Answers:
    calls = Calls(
        port=port,
        path=PATH,
        login=message.LOGIN,
        password=message.PASSWORD,
        connections=CLIENTS,
        first=first,
        reports=reports,
        seconds=seconds,
    )
    command = [sys.executable, "-m", "tests.benchmarks.callers", calls.dump()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Answers.load(done.stdout)


def _figures(taken: Mapping[str, list[Taken]]) -> Iterator[Figure]:
    parse = taken["parse only"]
    for name, series in taken.items():
        way = name.replace("grouped", "grouped commits").replace("each", "a commit for each report")
        key = "receiver/" + name.lower().replace(", ", "/").replace(" ", "-")
        yield Figure(key=f"{key}/rate", title=f"{way}: reports a second", unit="", values=_rates(series))
        if "grouped" in name:
            each = taken[name.replace("grouped", "each")]
            yield Figure(
                key=f"{key}/parse",
                title=f"{way}: of the rate of parse only",
                unit="%",
                values=tuple(100 * ratio for ratio in _ratios(series, parse)),
            )
            yield Figure(
                key=f"{key}/each",
                title=f"{way}: times the rate of a commit for each",
                unit="x",
                values=_ratios(series, each),
            )
        for label, percentile in (("p50", "p50_ms"), ("p99", "p99_ms")):
            values = tuple(float(getattr(one.answers, percentile)) for one in series)
            yield Figure(key=f"{key}/{label}", title=f"{way}: {label} of the answers", unit="ms", values=values)
        cpu = tuple(one.cpu_us for one in series)
        yield Figure(key=f"{key}/cpu", title=f"{way}: CPU a report", unit="us", values=cpu)


def _rates(series: list[Taken]) -> tuple[float, ...]:
    return tuple(one.answers.rate for one in series)


def _ratios(mine: list[Taken], its: list[Taken]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(_rates(mine), _rates(its), strict=True))
