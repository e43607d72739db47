"""``python -m tests.benchmarks``: ways to send, run alternately, each in a process of its own."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import machine
from tests.benchmarks.bench import ROUNDS, Bench, Suite
from tests.benchmarks.report import read, restructured, table, write
from tests.benchmarks.rounds import Contender, tell
from tests.benchmarks.suites import SUITES


def main(arguments: list[str]) -> int:
    """Run suites, or one comparison by hand.

    :return: 0 whether or not targets are met, 1 where something could not be measured.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    with Bench(rounds=asked.rounds) as bench:
        if asked.folder:
            bench.folder = asked.folder.resolve()
        match asked.command:
            case "sending":
                return _by_hand(bench, asked)
            case "where":
                return _where(bench, asked)
            case "rst":
                return _tables(bench)
        bench.pace = asked.pace
        return run_suites(bench, _chosen(parser, asked.suite))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("run", help="run suites and hold them against their targets")
    names = ", ".join(f"{suite.name}{' (heavy)' if suite.heavy else ''}" for suite in SUITES.values())
    run.add_argument(
        "--suite", default="", help=f"names with commas, or all; default: those that are not heavy: {names}"
    )
    run.add_argument("--pace", type=float, default=1.0, help="factor on the length of rounds")
    sending = commands.add_parser("sending", help="compare ways to send, by hand")
    sending.add_argument(
        "--ways", default="naive,sqlite,none,urllib3", help="of naive, curl, session, urllib3, sqlite, postgresql, none"
    )
    where = commands.add_parser("where", help="tell where the CPU of this package goes")
    where.add_argument("--ledger", default="sqlite", choices=("sqlite", "postgresql", "none"))
    for command in (sending, where):
        command.add_argument("--latency", type=float, default=50, metavar="MS")
        command.add_argument("--connections", type=int, default=64)
        command.add_argument("--image", type=float, default=100, metavar="KB")
        command.add_argument("--seconds", type=float, default=4, help="of a round of one contender")
    tables = commands.add_parser("rst", help="print the files of suites as tables for the documentation")
    for command in (run, sending, where, tables):
        command.add_argument("--rounds", type=int, default=ROUNDS)
        command.add_argument("--folder", type=Path, help="default: build/bench")
    return parser


def _chosen(parser: argparse.ArgumentParser, names: str) -> list[Suite]:
    if not names:
        return [suite for suite in SUITES.values() if not suite.heavy]
    if names == "all":
        return list(SUITES.values())
    chosen = [name.strip() for name in names.split(",")]
    if unknown := [name for name in chosen if name not in SUITES]:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    return [SUITES[name] for name in chosen]


def run_suites(bench: Bench, suites: list[Suite]) -> int:
    """Run suites one after another; print a table of each and write its file.

    :return: exit status: 1 where one of them could not be run.
    """
    described = machine.describe(bench.folder)
    about = {"machine": described, "rounds": bench.rounds, "pace": bench.pace}
    print(machine.sentence(described))
    failed = 0
    for suite in suites:
        tell(f"{suite.name}: {suite.title}")
        started = time.monotonic()
        try:
            outcome = suite.run(bench)
        except Exception:
            # The others still count; what failed is a fault of the benchmark or of the product, not a missed target.
            print(f"\n{suite.title}: FAILED\n{traceback.format_exc()}", flush=True)
            failed += 1
            continue
        took_s = round(time.monotonic() - started)
        path = bench.folder / f"{suite.name}.json"
        told = {"suite": suite.name, "title": suite.title, "seconds": took_s, "sink_niceness": bench.sink.niceness}
        write(path, outcome, {**told, **about})
        print(f"\n{suite.title} ({took_s} s; {path})\n{table(outcome.figures)}", flush=True)
    return min(failed, 1)


def _tables(bench: Bench) -> int:
    found = read(bench.folder, list(SUITES))
    machines = {machine.sentence(one["machine"]) for one in found}
    print("\n\n".join([restructured(found), *sorted(machines)]))
    return 0


def _by_hand(bench: Bench, asked: argparse.Namespace) -> int:
    size = int(asked.image * 1000)
    contenders = [_contender(name, asked.connections, size) for name in asked.ways.split(",")]
    series = bench.arena(postgresql="postgresql" in asked.ways).compete(
        contenders, latency_ms=asked.latency, seconds=asked.seconds, rounds=asked.rounds
    )
    first = series[contenders[0].name]
    heads = ("", "msg/s", "x first", "% of n/lat", "CPU us", "sys us", "checks us", "peak MB", "growth MB")
    print(f"{heads[0]:12}" + "".join(f"{head:>11}" for head in heads[1:]))
    for name, one in series.items():
        rate = _middle(one.each(lambda result: result.rate))
        ideal = one.contender.connections / asked.latency * 1000 if asked.latency else float("inf")
        cells = (
            rate,
            _middle(one.times(first)),
            100 * rate / ideal,
            _middle(one.each(lambda result: result.cpu_us)),
            _middle(one.each(lambda result: result.system_s / result.messages * 1e6)),
            _middle(one.each(lambda result: result.prepare_cpu_s / result.messages * 1e6)),
            _middle(one.each(lambda result: result.rss_peak_bytes / 1e6)),
            _middle(one.each(lambda result: (result.rss_peak_bytes - result.rss_before_bytes) / 1e6)),
        )
        print(f"{name:12}" + "".join(f"{cell:11.1f}" for cell in cells))
    return 0


def _where(bench: Bench, asked: argparse.Namespace) -> int:
    contender = replace(_contender(asked.ledger, asked.connections, int(asked.image * 1000)), steps=True)
    series = bench.arena(postgresql=asked.ledger == "postgresql").compete(
        [contender], latency_ms=asked.latency, seconds=asked.seconds, rounds=asked.rounds
    )
    # The round in the middle, whole: steps of several rounds would not add up.
    result = sorted(series[contender.name].results, key=lambda one: one.cpu_us)[asked.rounds // 2]
    print(f"{'CPU us a message':>18}{'calls':>8}")
    for step, took_us, calls in result.steps:
        print(f"{took_us:18.1f}{calls:8.2f}  {step}")
    print(f"{result.cpu_us:18.1f}{'':8}  all, with what timing costs; {result.rate:.0f} messages/s")
    return 0


def _contender(name: str, connections: int, image_bytes: int) -> Contender:
    if name in ("naive", "curl"):
        return Contender(name=name, way=name, image_bytes=image_bytes)
    if name in ("session", "urllib3"):
        return Contender(name=name, way=name, connections=connections, image_bytes=image_bytes)
    return Contender(name=name, way="mm7", connections=connections, ledger=name, image_bytes=image_bytes)


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
