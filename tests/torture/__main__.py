"""``python -m tests.torture``: batches of 2,000 that are killed at 200 random moments on each database, and receivers
that are killed under load; a table of each.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.postgres_server import Postgres
from tests.torture.ledgers import Ledger, PostgresLedger, SQLiteLedger
from tests.torture.outages import NoDisk, disk_fills, open_disk, server_dies
from tests.torture.receivers import Harvest, InFile, OnServer, torment_receivers
from tests.torture.torment import Plan, Tally, torment

KILLS = 200
#: Outages of a database, each with a batch of 2,000.
SERVER_KILLS = 10
DISKS_FILLED = 5
#: Megabytes of the disks that are filled. A PostgreSQL takes 40 when it is empty.
SQLITE_MB, POSTGRES_MB = 32, 200
_SMALL_WAL = {"min_wal_size": "32MB", "max_wal_size": "64MB"}

_COLUMNS = (
    *("kills", "early", "sat_out", "runs", "batches", "messages"),
    *("accepted", "refused", "unknown", "claimed", "doubled", "lost"),
)
_RECEIVED = ("kills", "servers", "runs", "posts", "stored", "messages", "media", "twice", "lost")
_WIDTH = 42

Torture = Callable[[random.Random, Path], Tally | Harvest]


def main(arguments: Sequence[str]) -> int:
    """Run the tortures; 1 when one found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=KILLS, help="of the long ones; the others get a share (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the moments")
    parser.add_argument("--only", default="", metavar="TEXT", help="those with this in their name")
    asked = parser.parse_args(arguments)
    # So that a server that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(f"seed {asked.seed}", flush=True)
    failed = 0
    for columns, tortures in ((_COLUMNS, _tortures(asked.kills)), (_RECEIVED, _of_receivers(asked.kills))):
        chosen = {name: torture for name, torture in tortures.items() if asked.only in name}
        if chosen:
            print(f"\n{'':{_WIDTH}}" + "".join(f"{name:>9}" for name in (*columns, "seconds")), flush=True)
        for name, torture in chosen.items():
            failed += not _run(name, torture, columns, random.Random(asked.seed))
    return 1 if failed else 0


def _run(name: str, torture: Torture, columns: Sequence[str], rng: random.Random) -> bool:
    print(f"{name:{_WIDTH}}", end="", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mm7-torture-") as folder:
        # The database's own user has to pass.
        Path(folder).chmod(0o711)
        try:
            tally = torture(rng, Path(folder))
        except NoDisk as exc:
            print(f"  not run: {exc}", flush=True)
        except Exception:
            print("  FAILED", flush=True)
            traceback.print_exc()
            return False
        else:
            counts = [getattr(tally, column) for column in columns]
            print("".join(f"{count:>9}" for count in (*counts, round(time.monotonic() - began))), flush=True)
    return True


def _tortures(kills: int) -> dict[str, Torture]:
    plans = {
        "held": Plan(kills=kills),
        "resent": Plan(kills=max(kills // 4, 1), resend=True),
        "two processes": Plan(kills=max(kills // 4, 1), processes=2),
        "16 connections": Plan(kills=max(kills // 8, 1), connections=16),
        "5 recipients a request": Plan(kills=max(kills // 8, 1), connections=4, per_request=5),
        "5 recipients, resent": Plan(kills=max(kills // 8, 1), connections=4, per_request=5, resend=True),
    }
    found: dict[str, Torture] = {}
    for name, plan in plans.items():
        found[f"SQLite, killed, {name}"] = _on_sqlite(plan)
        found[f"PostgreSQL, killed, {name}"] = _on_postgres(plan)
    found["PostgreSQL itself killed"] = _postgres_killed
    found["SQLite, disk full"] = _sqlite_disk
    found["PostgreSQL, disk full"] = _postgres_disk
    return found


def _sqlite(folder: Path, home: Path) -> SQLiteLedger:
    scratch = folder / "scratch"
    scratch.mkdir()
    return SQLiteLedger(home, scratch)


def _on_sqlite(plan: Plan) -> Torture:
    return lambda rng, folder: torment(plan, _sqlite(folder, folder), rng=rng, folder=folder)


def _on_postgres(plan: Plan) -> Torture:
    def torture(rng: random.Random, folder: Path) -> Tally:
        with Postgres() as server, server.database() as url:
            ledger: Ledger = PostgresLedger(url, server)
            return torment(plan, ledger, rng=rng, folder=folder)

    return torture


def _of_receivers(kills: int) -> dict[str, Torture]:
    count = max(kills // 2, 1)

    def on_sqlite(rng: random.Random, folder: Path) -> Harvest:
        scratch = folder / "scratch"
        scratch.mkdir()
        return torment_receivers(InFile(folder, scratch), kills=count, rng=rng, folder=folder)

    def on_postgres(rng: random.Random, folder: Path) -> Harvest:
        with Postgres() as server, server.database() as url:
            return torment_receivers(OnServer(url, server), kills=count, rng=rng, folder=folder)

    return {"SQLite, receiver killed": on_sqlite, "PostgreSQL and receiver killed": on_postgres}


def _postgres_killed(rng: random.Random, folder: Path) -> Tally:
    with Postgres() as server, server.database() as url:
        ledger = PostgresLedger(url, server)
        return server_dies(Plan(kills=0), ledger, rng=rng, folder=folder, times=SERVER_KILLS)


def _sqlite_disk(rng: random.Random, folder: Path) -> Tally:
    with open_disk(folder / "disk", SQLITE_MB) as disk:
        ledger = _sqlite(folder, disk.folder)
        plan = Plan(kills=0)
        return disk_fills(plan, ledger, disk, rng=rng, folder=folder, times=DISKS_FILLED, says="full")


def _postgres_disk(rng: random.Random, folder: Path) -> Tally:
    with (
        open_disk(folder / "disk", POSTGRES_MB) as disk,
        Postgres(folder=disk.folder, settings=_SMALL_WAL) as server,
        server.database() as url,
    ):
        ledger, plan = PostgresLedger(url, server), Plan(kills=0)
        return disk_fills(plan, ledger, disk, rng=rng, folder=folder, times=DISKS_FILLED, says="No space")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
