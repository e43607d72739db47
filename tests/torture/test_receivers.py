"""A few kills of receivers in each run of the suite; ``make torture`` makes a hundred on each database."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.postgres_server import Postgres
from tests.torture.receivers import InFile, OnServer, torment_receivers
from tests.torture.torment import TortureFailed

pytestmark = pytest.mark.long

KILLS = 6
#: A damage must be seen within so many kills.
ENOUGH_KILLS = 40


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    return random.Random(seed)


@pytest.fixture
def in_file(tmp_path: Path) -> InFile:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return InFile(tmp_path, scratch)


def test_a_receiver_is_killed_under_load(in_file: InFile, rng: random.Random, tmp_path: Path) -> None:
    harvest = torment_receivers(in_file, kills=KILLS, rng=rng, folder=tmp_path)
    assert (harvest.kills, harvest.lost, harvest.twice) == (KILLS, 0, 0)
    assert harvest.media == 3 * harvest.messages > 0
    assert harvest.posts > harvest.stored > 0


@pytest.mark.postgres
def test_a_receiver_and_its_database_are_killed_under_load(rng: random.Random, tmp_path: Path) -> None:
    with Postgres() as server, server.database() as url:
        harvest = torment_receivers(OnServer(url, server), kills=3, rng=rng, folder=tmp_path, server=1)
    assert (harvest.kills, harvest.lost, harvest.twice) == (3, 0, 0)
    assert harvest.servers >= 3


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        ("callbacks_are_acknowledged_early", "were acknowledged and are not in the store"),
        ("media_are_stored_late", "media are not in their folder"),
        ("repeats_are_new", "are in the store twice"),
    ],
)
def test_what_is_broken_is_seen(damage: str, seen: str, in_file: InFile, rng: random.Random, tmp_path: Path) -> None:
    with pytest.raises(TortureFailed, match=seen):
        torment_receivers(in_file, kills=ENOUGH_KILLS, rng=rng, folder=tmp_path, damage=damage)
