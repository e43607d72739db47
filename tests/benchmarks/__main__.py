"""``python -m tests.benchmarks``: what ``make bench`` runs, and single comparisons by hand."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from itertools import count

from tests.benchmarks.processes import ROOT, SinkProcess
from tests.benchmarks.rounds import Arena, Contender


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    sending = commands.add_parser("sending", help="compare ways to send")
    sending.add_argument("--latency", type=float, default=50, metavar="MS")
    sending.add_argument("--connections", type=int, default=64)
    sending.add_argument("--image", type=float, default=100, metavar="KB")
    sending.add_argument("--rounds", type=int, default=5)
    sending.add_argument("--seconds", type=float, default=4)
    sending.add_argument("--ways", default="naive,sqlite,none,urllib3")
    asked = parser.parse_args(arguments)
    with ExitStack() as stack:
        postgresql = None
        if "postgresql" in asked.ways:
            from tests.support.postgres_server import Postgres

            server = stack.enter_context(Postgres())
            numbers = count(1)

            def postgresql() -> str:
                name = f"bench_{next(numbers)}"
                server.execute(f'CREATE DATABASE "{name}"')
                return server.url(name)

        arena = Arena(
            sink=stack.enter_context(SinkProcess()), ledgers=ROOT / "build" / "bench" / "ledgers", postgresql=postgresql
        )
        contenders = []
        for name in asked.ways.split(","):
            if name in ("naive", "curl"):
                contenders.append(Contender(name=name, way=name))
            elif name in ("urllib3", "session"):
                contenders.append(Contender(name=name, way=name, connections=asked.connections))
            else:
                contenders.append(Contender(name=f"mm7 {name}", way="mm7", connections=asked.connections, ledger=name))
        series = arena.compete(
            contenders,
            latency_ms=asked.latency,
            image_bytes=int(asked.image * 1000),
            seconds=asked.seconds,
            rounds=asked.rounds,
        )
    print(
        f"{'':16}{'msg/s':>9}{'x first':>9}{'% of n/lat':>11}{'CPU us':>8}{'sys':>7}"
        f"{'prep us':>8}{'peak MB':>8}{'growth':>8}"
    )
    for one in series:
        ideal = one.contender.connections / asked.latency * 1000 if asked.latency else 0
        rate = one.middle(lambda r: r.rate)
        print(
            f"{one.contender.name:16}{rate:9.0f}{one.ratio(series[0], lambda r: r.rate):9.2f}"
            f"{100 * rate / ideal if ideal else 0:11.1f}{one.middle(lambda r: r.cpu_us):8.0f}"
            f"{one.middle(lambda r: r.system_s / r.messages * 1e6):7.0f}"
            f"{one.middle(lambda r: r.prepare_s / r.messages * 1e6):8.0f}"
            f"{one.middle(lambda r: r.rss_peak_bytes / 1e6):8.0f}"
            f"{one.middle(lambda r: (r.rss_peak_bytes - r.rss_before_bytes) / 1e6):8.1f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
