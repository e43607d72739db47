"""``airflow mm7 inbound``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_mm7.store import Holder, Store, open_store
from tests.store.test_inbound import MESSAGE
from tests.support.airflow_cli import Commands

HOLDER = Holder(name="inbox/manual__1/keep/-1", token="1")


@pytest.fixture
def store(mm7: Commands) -> Store:
    """A store with three messages."""
    store = open_store(mm7.store_url)
    answer = replace(MESSAGE, digest="d2", sender="+64 21 999", recipients=("4242",), text="No, thanks", linked_id="l2")
    store.add_inbound([MESSAGE, answer, replace(MESSAGE, digest="d3", conn_id="mm7_other")])
    return store


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [1, 2, 3]),
        (["--limit", "2"], [2, 3]),
        (["--sender", "6421999"], [2]),
        (["--short-code", "4242"], [2]),
        (["--keyword", "NO"], [2]),
        (["--linked-id", "l1"], [1, 3]),
        (["--conn-id", "mm7_other"], [3]),
        (["--since", "2026-01-01T00:00:00Z"], [1, 2, 3]),
        (["--since", "2126-01-01T00:00:00Z"], []),
        (["--linked-id", "l1", "--limit", "1"], [3]),
    ],
)
def test_filters(mm7: Commands, store: Store, options: list[str], expected: list[int]) -> None:
    assert [row["id"] for row in mm7.json("inbound", *options)] == expected


@pytest.mark.parametrize("options", ["--since yesterday", "--hand-back 1", "--hand-back x", "--parked"])
def test_wrong_usage_ends_with_2(mm7: Commands, store: Store, options: str) -> None:
    assert mm7("inbound", *options.split()).code == 2


def test_a_keyword_that_is_none_ends_with_one_line(mm7: Commands, store: Store) -> None:
    done = mm7("inbound", "--keyword", "?!")
    assert done.code != 0
    assert done.err.startswith("airflow mm7: keyword: ")
    assert done.err.count("\n") == 1


def test_what_a_consumer_has_done(mm7: Commands, store: Store) -> None:
    assert "state" not in mm7.json("inbound")[0]
    store.claim_inbound("inbox", holder=HOLDER, limit=2, lease_s=600)
    store.ack_inbound("inbox", [1], token="1")
    done, held, new = mm7.json("inbound", "--consumer", "inbox")
    assert (done["state"], done["attempts"], done["holder"], done["lease_until"]) == ("done", 1, HOLDER.name, None)
    assert (held["state"], held["holder"]) == ("claimed", HOLDER.name)
    assert held["lease_until"] is not None
    assert (new["state"], new["attempts"], new["holder"]) == ("new", 0, None)


def test_handing_back(mm7: Commands, store: Store) -> None:
    store.claim_inbound("inbox", holder=HOLDER, limit=2, lease_s=600)
    store.ack_inbound("inbox", [1], token="1")
    options = ["--consumer", "inbox", "--hand-back", "1", "--hand-back", "2", "--limit", "1", "-o", "json"]
    done = mm7("inbound", *options)
    assert done.code == 0
    assert "1 of 2 messages are new to inbox again" in done.err
    rows = mm7.json("inbound", "--consumer", "inbox")
    assert [(row["state"], row["attempts"]) for row in rows] == [("released", 0), ("claimed", 1), ("new", 0)]
    again = store.claim_inbound("inbox", holder=Holder(name="h", token="t"), limit=9, lease_s=1)
    assert [one.inbound.id for one in again] == [3, 1]


def test_parked_ones(mm7: Commands, store: Store) -> None:
    store.claim_inbound("inbox", holder=HOLDER, limit=3, lease_s=600)
    store.release_inbound("inbox", [1, 3], token="1")
    store.park_inbound("inbox", holder=HOLDER, max_attempts=1)
    rows = mm7.json("inbound", "--consumer", "inbox", "--parked")
    assert [(row["id"], row["state"], row["attempts"]) for row in rows] == [(1, "parked", 1), (3, "parked", 1)]
    assert [row["id"] for row in mm7.json("inbound", "--consumer", "inbox", "--parked", "--limit", "1")] == [3]
    assert mm7.json("inbound", "--consumer", "another", "--parked") == []
    of_other = ["--consumer", "inbox", "--hand-back", "parked", "--conn-id", "mm7_other", "-o", "json"]
    assert "1 of 1 messages are new to inbox again" in mm7("inbound", *of_other).err
    assert [row["id"] for row in mm7.json("inbound", "--consumer", "inbox", "--parked")] == [1]
    handed = mm7.json("inbound", "--consumer", "inbox", "--hand-back", "parked")
    assert [(row["id"], row["state"], row["attempts"]) for row in handed] == [(1, "released", 0)]
    assert mm7.json("inbound", "--consumer", "inbox", "--parked") == []
