"""The ledger fails in the middle of a batch: its server is killed, or its disk is full."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.torture.centre import LATENCY_S, open_centre
from tests.torture.ledgers import Ledger, PostgresLedger, SQLiteLedger
from tests.torture.sender import Outcome, Sender
from tests.torture.torment import Batch, Plan, Tally

#: Requests of a run before the ledger fails, at most.
REQUESTS = 60
#: Seconds until a killed server is started again, where somebody watches over it.
RESTART_S = 1.0
_BALLAST_BYTES = 1 << 16


class NoDisk(RuntimeError):
    """No disk can be made here: mounting takes privileges."""


class Disk:
    """A small disk of its own (tmpfs)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_BALLAST_BYTES, 512):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def open_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Mount a disk.

    :raises NoDisk: that is not allowed.
    """
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "mm7-torture", str(folder)]
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    except OSError as exc:
        raise NoDisk(str(exc)) from exc
    if done.returncode:
        raise NoDisk(done.stderr.strip())
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def server_dies(plan: Plan, ledger: PostgresLedger, *, rng: random.Random, folder: Path, times: int) -> Tally:
    """Kill the database server so many times; half of the time it comes back while the sender still hopes."""

    @contextmanager
    def dead(sender: Sender) -> Iterator[None]:
        ledger.server.kill()
        if rng.random() < 0.5:
            sender.wait_s(rng.uniform(0, RESTART_S))
            ledger.server.start()
            yield
        else:
            yield
            ledger.server.start()

    return _outages(plan, ledger, dead, rng=rng, folder=folder, times=times, says="")


def disk_fills(
    plan: Plan, ledger: Ledger, disk: Disk, *, rng: random.Random, folder: Path, times: int, says: str
) -> Tally:
    """Fill the ledger's disk so many times.

    :param says: what the error must say.
    """

    @contextmanager
    def full(_: Sender) -> Iterator[None]:
        disk.fill()
        try:
            yield
        finally:
            disk.free()
            if isinstance(ledger, PostgresLedger) and not ledger.server.running:
                # It could not write its log.
                ledger.server.kill()
                ledger.server.start()

    return _outages(plan, ledger, full, rng=rng, folder=folder, times=times, says=says)


def pages_run_out(plan: Plan, ledger: SQLiteLedger, *, rng: random.Random, folder: Path, times: int) -> Tally:
    """Allow the database one page more than it has, so many times, and then any number."""
    tally = Tally()
    with open_centre(rng) as centre:
        batch = Batch(plan=plan, ledger=ledger, centre=centre, rng=rng, folder=folder, key="pages", tally=tally)
        (sender,) = batch.start()
        centre.wait_for(REQUESTS, still=lambda: sender.running)
        sender.kill()
        batch.check_claims()
        for _ in range(times):
            tally.kills += 1
            (sender,) = batch.start(max_pages=ledger.pages + 1)
            tally.sat_out += not _must_fail_cleanly(batch, sender.wait(), "full")
            batch.check_claims()
        batch.last_run()
        batch.check_end()
    return tally


def _outages(
    plan: Plan,
    ledger: Ledger,
    outage: Callable[[Sender], AbstractContextManager[None]],
    *,
    rng: random.Random,
    folder: Path,
    times: int,
    says: str,
) -> Tally:
    tally = Tally()
    while tally.kills < times:
        with open_centre(rng) as centre:
            key = f"batch {tally.batches + 1}"
            batch = Batch(plan=plan, ledger=ledger, centre=centre, rng=rng, folder=folder, key=key, tally=tally)
            done = False
            while not done and tally.kills < times:
                before = centre.arrivals
                (sender,) = batch.start()
                arrived = centre.wait_for(before + rng.randint(1, REQUESTS), still=_runs(sender))
                if arrived:
                    sender.wait_s(rng.uniform(0, LATENCY_S))
                    tally.kills += 1
                    with outage(sender):
                        outcome = sender.wait()
                else:
                    outcome = sender.wait()
                done = not _must_fail_cleanly(batch, outcome, says)
                tally.sat_out += done and arrived
                batch.check_claims()
            if not done:
                batch.last_run()
            batch.check_end()
    return tally


def _runs(sender: Sender) -> Callable[[], bool]:
    return lambda: sender.running


def _must_fail_cleanly(batch: Batch, outcome: Outcome, says: str) -> bool:
    """Tell whether a run failed; if so it must be for the store, and say why."""
    if outcome.done:
        return False
    clean = outcome.error == "StoreUnavailable" and says in (outcome.text or "")
    batch.must(clean, f"the store failed, and a run ended with {outcome}")
    return True
