"""Ways to send against each other: with a carrier's latency, without any, with large messages, with many."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Outcome
from tests.benchmarks.rounds import Contender, Series
from tests.benchmarks.spec import Result

#: Milliseconds after which a carrier answers, in the suites that have a latency.
LATENCY_MS = 50
NAIVE = Contender(name="naive", way="naive")


def latency(bench: Bench) -> Outcome:
    """50 ms, 100 KB: 64 and 128 connections, with and without the ledger."""
    contenders = [
        NAIVE,
        _product(64),
        _product(64, "none"),
        _urllib3(64),
        _product(128),
        _urllib3(128),
        *([_product(64, "postgresql")] if bench.postgresql else []),
    ]
    series = bench.arena(postgresql=True).compete(
        contenders, latency_ms=LATENCY_MS, seconds=3 * bench.pace, rounds=bench.rounds
    )
    naive = series["naive"]
    figures = []
    for connections in (64, 128):
        mine, ceiling = series[f"mm7, {connections}"], series[f"urllib3, {connections}"]
        where, key = f"{connections} connections, ledger on", f"latency/{connections}"
        figures += [
            _capacity(key, where, mine),
            Figure(key=f"{key}/naive", title=f"{where}: times the naive loop", unit="x", values=mine.times(naive)),
            Figure(
                key=f"{key}/urllib3", title=f"{where}: of bare urllib3", unit="%", values=_share(mine.times(ceiling))
            ),
            Figure(key=f"{key}/cpu", title=f"{where}: CPU a message", unit="us", values=mine.each(_cpu)),
            _capacity(f"{key}/ceiling", f"{connections} connections, bare urllib3", ceiling),
        ]
    figures += [
        _ledger("latency/64", "64 connections", series["mm7, 64"], series["mm7, 64, none"]),
        _less_cpu("latency/64", "64 connections, ledger on", series["mm7, 64"], naive),
        _checks("latency/64", series["mm7, 64"]),
        *(
            Figure(
                key=f"latency/{name}/memory",
                title=f"{where}: peak memory of the process",
                unit="MB",
                values=series[name].each(lambda result: result.rss_peak_bytes / 1e6),
            )
            for name, where in (("mm7, 64", "64 connections, ledger on"), ("naive", "The naive loop"))
        ),
    ]
    if postgresql := series.get("mm7, 64, postgresql"):
        figures.append(_capacity("latency/64/postgresql", "64 connections, ledger on PostgreSQL", postgresql))
    return Outcome(figures=tuple(figures), raw=_raw(series))


def images(bench: Bench) -> Outcome:
    """50 ms, 64 connections: pictures of 30 and 300 KB."""
    figures, raw = [], {}
    for kilobytes in (30, 300):
        size = kilobytes * 1000
        contenders = [_sized(NAIVE, size), _sized(_product(64), size), _sized(_urllib3(64), size)]
        series = bench.arena().compete(contenders, latency_ms=LATENCY_MS, seconds=2.5 * bench.pace, rounds=bench.rounds)
        mine, where, key = series["mm7, 64"], f"{kilobytes} KB, 64 connections, ledger on", f"images/{kilobytes}"
        figures += [
            _capacity(key, where, mine),
            Figure(
                key=f"{key}/naive",
                title=f"{where}: times the naive loop",
                unit="x",
                values=mine.times(series["naive"]),
            ),
            Figure(key=f"{key}/cpu", title=f"{where}: CPU a message", unit="us", values=mine.each(_cpu)),
            _capacity(f"{key}/ceiling", f"{kilobytes} KB, 64 connections, bare urllib3", series["urllib3, 64"]),
        ]
        raw[str(kilobytes)] = _raw(series)
    return Outcome(figures=tuple(figures), raw=raw)


def sequential(bench: Bench) -> Outcome:
    """No latency, one connection: pictures of 30, 100 and 300 KB."""
    figures, raw = [], {}
    others = [
        Contender(name="curl", way="curl"),
        Contender(name="session", way="session"),
        Contender(name="urllib3", way="urllib3"),
    ]
    for kilobytes in (30, 100, 300):
        size = kilobytes * 1000
        contenders = [_sized(one, size) for one in (NAIVE, _product(1), _product(1, "none"), *others)]
        series = bench.arena().compete(contenders, latency_ms=0, seconds=1.5 * bench.pace, rounds=bench.rounds)
        naive, mine, key = series["naive"], series["mm7, 1"], f"sequential/{kilobytes}"
        where = f"{kilobytes} KB, one connection"
        figures += [
            Figure(
                key=f"{key}/naive", title=f"{where}, ledger on: times the naive loop", unit="x",
                values=mine.times(naive),
            ),
            Figure(
                key=f"{key}/none", title=f"{where}, ledger off: times the naive loop", unit="x",
                values=series["mm7, 1, none"].times(naive),
            ),
            _ledger(key, where, mine, series["mm7, 1, none"]),
            Figure(key=f"{key}/cpu", title=f"{where}, ledger on: CPU a message", unit="us", values=mine.each(_cpu)),
            Figure(
                key=f"{key}/curl", title=f"{where}, ledger on: times a curl process each", unit="x",
                values=mine.times(series["curl"]),
            ),
            Figure(
                key=f"{key}/session", title=f"{where}, a bare requests.Session: times the naive loop", unit="x",
                values=series["session"].times(naive),
            ),
            Figure(
                key=f"{key}/urllib3", title=f"{where}, bare urllib3: times the naive loop", unit="x",
                values=series["urllib3"].times(naive),
            ),
        ]  # fmt: skip
        raw[str(kilobytes)] = _raw(series)
    return Outcome(figures=tuple(figures), raw=raw)


#: Long enough that 64 messages of 1 MB are in flight at once, on any machine.
MEMORY_LATENCY_MS = 200


def memory(bench: Bench) -> Outcome:
    """1 MB each: one message in flight against 64."""
    megabyte = 1_000_000
    one = Contender(name="1", way="mm7", ledger="sqlite", connections=1, image_bytes=megabyte, messages=16)
    many = Contender(name="64", way="mm7", ledger="sqlite", connections=64, image_bytes=megabyte, messages=256)
    series = bench.arena().compete([one, many], latency_ms=MEMORY_LATENCY_MS, seconds=0, rounds=bench.rounds)
    return Outcome(
        figures=(
            Figure(
                key="memory/growth",
                title="1 MB each: peak memory with 64 in flight, above that with one",
                unit="MB",
                values=series["64"].against(series["1"], _growth),
            ),
            Figure(
                key="memory/in-flight",
                title="Messages that were in flight at once",
                unit="",
                values=series["64"].each(lambda result: result.counts["peak_in_flight"]),
            ),
        ),
        raw=_raw(series),
    )


def recipients(bench: Bench) -> Outcome:
    """1,000 and 100,000 recipients, 1 KB, no latency, 16 connections: with and without the ledger."""
    contenders = [
        Contender(name=f"{ledger}, {count}", way="mm7", ledger=ledger, connections=16, image_bytes=1000, messages=count)
        for ledger in ("sqlite", "none")
        for count in (1_000, 100_000)
    ]
    series = bench.arena().compete(contenders, latency_ms=0, seconds=0, rounds=bench.rounds)
    figures = []
    for ledger, where in (("sqlite", "ledger on"), ("none", "ledger off")):
        few, many = series[f"{ledger}, 1000"], series[f"{ledger}, 100000"]
        figures += [
            Figure(
                key=f"recipients/{ledger}/rate",
                title=f"{where}: rate with 100,000 recipients, of that with 1,000",
                unit="%",
                values=_share(many.times(few)),
            ),
            Figure(
                key=f"recipients/{ledger}/memory",
                title=f"{where}: peak memory of 100,000 in a list, above that of 1,000",
                unit="MB",
                values=many.against(few, _growth),
            ),
        ]
    for count in (1_000, 100_000):
        on, off = series[f"sqlite, {count}"], series[f"none, {count}"]
        figures.append(_ledger(f"recipients/{count}", f"{count} recipients", on, off))
    return Outcome(figures=tuple(figures), raw=_raw(series))


def _product(connections: int, ledger: str = "sqlite") -> Contender:
    name = f"mm7, {connections}" + ("" if ledger == "sqlite" else f", {ledger}")
    return Contender(name=name, way="mm7", connections=connections, ledger=ledger)


def _urllib3(connections: int) -> Contender:
    return Contender(name=f"urllib3, {connections}", way="urllib3", connections=connections)


def _sized(contender: Contender, image_bytes: int) -> Contender:
    return replace(contender, image_bytes=image_bytes)


def _capacity(key: str, where: str, mine: Series) -> Figure:
    most = mine.contender.connections / (LATENCY_MS / 1000)
    return Figure(
        key=f"{key}/capacity",
        title=f"{where}: of connections / latency",
        unit="%",
        values=mine.each(lambda result: 100 * result.rate / most),
    )


def _ledger(key: str, where: str, with_ledger: Series, without: Series) -> Figure:
    return Figure(
        key=f"{key}/ledger",
        title=f"{where}: time that the ledger adds",
        unit="%",
        values=tuple(100 * (ratio - 1) for ratio in without.times(with_ledger)),
    )


def _less_cpu(key: str, where: str, mine: Series, naive: Series) -> Figure:
    return Figure(
        key=f"{key}/less-cpu",
        title=f"{where}: CPU of the naive loop, times ours",
        unit="x",
        values=mine.against(naive, lambda ours, its: its.cpu_us / ours.cpu_us),
    )


def _checks(key: str, mine: Series) -> Figure:
    return Figure(
        key=f"{key}/checks",
        title="CPU a recipient before the first message: numbers checked, picture encoded",
        unit="us",
        values=mine.each(lambda result: result.prepare_cpu_s / result.messages * 1e6),
    )


def _cpu(result: Result) -> float:
    return result.cpu_us


def _growth(mine: Result, its: Result) -> float:
    return (mine.rss_peak_bytes - its.rss_peak_bytes) / 1e6


def _share(ratios: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(100 * ratio for ratio in ratios)


def _raw(series: dict[str, Series]) -> dict[str, object]:
    return {name: one.as_json() for name, one in series.items()}
