"""A few kills in each run of the suite; ``make torture`` makes hundreds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

import pytest

from tests.support.postgres_server import Postgres
from tests.torture.ledgers import Ledger, PostgresLedger, SQLiteLedger
from tests.torture.outages import pages_run_out, server_dies
from tests.torture.torment import Plan, TortureFailed, torment

pytestmark = pytest.mark.long

#: Recipients: enough for a few kills, and sent within a second.
COUNT = 200
#: A damage must be seen within so many kills.
ENOUGH_KILLS = 60


@pytest.fixture
def rng() -> random.Random:
    # Of pytest-randomly's random: the seed of the whole run brings it back. Moments are drawn, not what they meet.
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    return random.Random(seed)


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> SQLiteLedger:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return SQLiteLedger(tmp_path, scratch)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """A database without tables: the senders make them."""
    if request.param == "sqlite":
        return cast(SQLiteLedger, request.getfixturevalue("sqlite_ledger"))
    return PostgresLedger(request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_server"))


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(kills=10, count=COUNT), id="held"),
        pytest.param(Plan(kills=6, count=COUNT, resend=True), id="resent"),
        pytest.param(Plan(kills=6, count=COUNT, processes=2), id="two processes"),
        pytest.param(Plan(kills=6, count=2 * COUNT, per_request=5), id="several recipients in a request"),
    ],
)
def test_killed_at_random_moments(plan: Plan, ledger: Ledger, rng: random.Random, tmp_path: Path) -> None:
    tally = torment(plan, ledger, rng=rng, folder=tmp_path)
    assert (tally.kills, tally.lost) == (plan.kills, 0)
    assert tally.messages == tally.accepted + tally.refused + tally.unknown == tally.batches * plan.count
    assert tally.unknown <= tally.claimed <= tally.kills * plan.bound


@pytest.mark.postgres
def test_postgres_is_killed(rng: random.Random, tmp_path: Path) -> None:
    with Postgres() as server, server.database() as url:
        plan = Plan(kills=0, count=COUNT)
        tally = server_dies(plan, PostgresLedger(url, server), rng=rng, folder=tmp_path, times=1)
    assert (tally.kills, tally.lost, tally.doubled) == (1, 0, 0)


def test_the_disk_is_full(sqlite_ledger: SQLiteLedger, rng: random.Random, tmp_path: Path) -> None:
    tally = pages_run_out(Plan(kills=0, count=COUNT), sqlite_ledger, rng=rng, folder=tmp_path, times=2)
    assert tally.sat_out < tally.kills
    assert (tally.lost, tally.doubled) == (0, 0)


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        ("claims_are_committed_late", "a message was sent in"),
        ("abandoned_is_sent_again", "did not stay so"),
        ("doubt_is_not_held", "did not stay so"),
        ("claims_know_no_bound", "were claimed"),
        ("settlements_are_lost", "were claimed|are lost|in doubt"),
        ("settlements_are_mixed_up", "a MessageID that it was not given|the ledger says"),
    ],
)
def test_what_is_broken_is_seen(
    damage: str, seen: str, sqlite_ledger: SQLiteLedger, rng: random.Random, tmp_path: Path
) -> None:
    with pytest.raises(TortureFailed, match=seen):
        torment(Plan(kills=ENOUGH_KILLS, count=COUNT, sabotage=damage), sqlite_ledger, rng=rng, folder=tmp_path)


def test_what_is_lost_in_the_end_is_seen(sqlite_ledger: SQLiteLedger, rng: random.Random, tmp_path: Path) -> None:
    with pytest.raises(TortureFailed, match="are lost"):
        torment(Plan(kills=1, count=COUNT, sabotage="retries_are_forgotten"), sqlite_ledger, rng=rng, folder=tmp_path)
