from __future__ import annotations

import asyncio
import importlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_mm7.exceptions import InputError, StoreNotMigrated, StoreUnavailable
from airflow_provider_mm7.store import Holder, InboundFilter, Store, WaitingInbound, open_store
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.inbound import MAX_REFIRE_S, Refire
from airflow_provider_mm7.triggers.mm7 import InboundMMSTrigger
from tests.store.test_inbound import MESSAGE
from tests.support.empty_ledgers import empty_ledger

PATIENCE_S = 20
INTERVAL_S = 0.1

NOTHING = WaitingInbound()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


def came(store: Store, *digests: str, **fields: Any) -> None:
    store.add_inbound([replace(MESSAGE, digest=digest, **fields) for digest in digests])


def trigger(**arguments: Any) -> InboundMMSTrigger:
    defaults: dict[str, Any] = {"consumer": "inbox", "poll_interval_s": INTERVAL_S}
    return InboundMMSTrigger(**defaults | arguments)


class Fired:
    """The events of a trigger that runs as the triggerer lets it run."""

    def __init__(self, waiting: InboundMMSTrigger) -> None:
        self._events = waiting.run()

    async def next(self) -> dict[str, Any]:
        event: TriggerEvent = await asyncio.wait_for(anext(self._events), PATIENCE_S)
        assert type(event) is TriggerEvent
        payload: dict[str, Any] = event.payload
        assert json.loads(json.dumps(payload)) == payload
        return payload


class TestRefire:
    """Each look is (seconds, what waits, whether it fires)."""

    @staticmethod
    def waiting(count: int, newest_id: int = 0) -> WaitingInbound:
        return WaitingInbound(count=count, newest_id=newest_id)

    def looks(self, *looks: tuple[float, WaitingInbound, bool]) -> None:
        refire = Refire(60)
        assert [refire.due(waiting, now) for now, waiting, _ in looks] == [fires for *_, fires in looks]

    def test_at_once_when_something_waits_and_again_when_newer_came(self) -> None:
        one, two = self.waiting(1, 7), self.waiting(2, 8)
        self.looks((0, NOTHING, False), (5, one, True), (10, one, False), (15, two, True), (20, two, False))

    def test_a_burst_is_an_event_a_look(self) -> None:
        self.looks(*((5.0 * n, self.waiting(100 * n, 100 * n), True) for n in range(1, 9)))

    def test_again_while_nobody_takes_them_with_pauses_that_double(self) -> None:
        refire, one = Refire(60), self.waiting(3, 7)
        fired = [now for now in range(0, 7200, 5) if refire.due(one, now)]
        pauses = [later - earlier for earlier, later in itertools.pairwise(fired)]
        assert pauses[:5] == [60, 120, 240, 480, MAX_REFIRE_S]
        assert set(pauses[5:]) == {MAX_REFIRE_S}

    def test_progress_makes_it_quick_again(self) -> None:
        refire, count = Refire(60), itertools.count(1000, -1)
        fired = [now for now in range(0, 600, 60) if refire.due(self.waiting(next(count), 1000), now)]
        assert fired == list(range(0, 600, 60))

    def test_a_message_that_always_fails_does_not_make_a_run_after_each_run(self) -> None:
        """Claimed and given back again and again, with nothing else coming."""
        refire, poison = Refire(60), self.waiting(1)
        assert refire.due(self.waiting(1, 7), 0)
        looks = [refire.due(waiting, now) for now in range(5, 3600, 10) for waiting in (NOTHING, poison)]
        assert sum(looks) == 6

    def test_what_a_dead_worker_held_is_an_event(self) -> None:
        self.looks((0, self.waiting(2, 7), True), (5, NOTHING, False), (125, self.waiting(2), True))

    def test_handled_and_then_newer(self) -> None:
        self.looks((0, self.waiting(1, 7), True), (5, NOTHING, False), (10, self.waiting(1, 8), True))

    def test_a_newer_one_resets_the_pause(self) -> None:
        refire = Refire(60)
        for now in (0, 60, 180, 420):
            assert refire.due(self.waiting(1, 7), now)
        assert refire.due(self.waiting(2, 8), 425)
        assert not refire.due(self.waiting(2, 8), 480)
        assert refire.due(self.waiting(2, 8), 485)

    def test_longer_pauses_than_the_longest_are_kept(self) -> None:
        refire = Refire(3600)
        assert [now for now in range(0, 10801, 60) if refire.due(self.waiting(1, 7), now)] == [0, 3600, 7200, 10800]


async def test_it_fires_for_what_waits_and_holds_no_personal_data(store: Store) -> None:
    came(store, "a", "b")
    fired = Fired(trigger())
    newest = store.inbound()[-1].id
    assert await fired.next() == {
        "consumer": "inbox",
        "mm7_conn_id": "mm7_default",
        "waiting": 2,
        "newest_id": newest,
    }
    came(store, "c")
    assert await fired.next() == {
        "consumer": "inbox",
        "mm7_conn_id": "mm7_default",
        "waiting": 3,
        "newest_id": newest + 1,
    }
    # It takes nothing.
    assert len(store.claim_inbound("inbox", holder=Holder(name="h", token="t"), limit=9, lease_s=1)) == 3
    assert [one.kind for one in store.components()] == ["trigger"]


async def test_it_waits_for_messages_of_its_kind_for_its_consumer(store: Store) -> None:
    came(store, "text", text="no", parts=())
    came(store, "other", conn_id="mm7_other")
    fired = Fired(trigger(has_media=True, keyword="yes", short_code="111122"))
    looking = asyncio.create_task(fired.next())
    done, _ = await asyncio.wait([looking], timeout=3 * INTERVAL_S)
    assert not done
    came(store, "picture")
    assert (await looking)["waiting"] == 1
    store.claim_inbound("another", holder=Holder(name="h", token="t"), limit=9, lease_s=1)
    assert (await Fired(trigger(mm7_conn_id=None)).next())["waiting"] == 3


async def test_it_comes_again_for_what_nobody_takes(store: Store) -> None:
    came(store, "a")
    fired = Fired(trigger(refire_s=0))
    assert [(await fired.next())["waiting"] for _ in range(3)] == [1, 1, 1]


async def test_a_store_that_stays_away_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would be told of a trigger that died: an asset has no task that fails."""
    came(store, "a")
    monkeypatch.setattr(poll, "MAX_FAILED_POLLS", 2)
    look, failures = Store.waiting_inbound, iter([StoreUnavailable("away")] * 5)

    def away(self: Store, *arguments: Any) -> WaitingInbound:
        for failure in failures:
            raise failure
        return look(self, *arguments)

    monkeypatch.setattr(Store, "waiting_inbound", away)
    assert (await Fired(trigger()).next())["waiting"] == 1
    assert next(failures, None) is None


async def test_other_errors_end_it_with_their_type(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(*_: Any) -> WaitingInbound:
        raise StoreNotMigrated("old")

    monkeypatch.setattr(Store, "waiting_inbound", old)
    with pytest.raises(StoreNotMigrated):
        await Fired(trigger()).next()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Consumers that the store was asked about, in order."""
    asked: list[str] = []
    look = Store.waiting_inbound

    def kept(self: Store, consumer: str, wanted: InboundFilter) -> WaitingInbound:
        asked.append(consumer)
        return look(self, consumer, wanted)

    monkeypatch.setattr(Store, "waiting_inbound", kept)
    return asked


async def test_triggers_with_one_question_are_one_look(store: Store, looks: list[str]) -> None:
    came(store, "a")
    waiting = [Fired(trigger(consumer=name)) for name in ("a", "a", "a", "b")]
    await asyncio.gather(*(one.next() for one in waiting))
    assert sorted(looks) == ["a", "b"]
    for one in waiting:
        await one._events.aclose()  # type: ignore[attr-defined]
    assert not poll._polls


def test_it_is_made_again_from_what_it_says_of_itself() -> None:
    one = trigger(
        mm7_conn_id="c",
        short_code="+1 11122",
        sender="+6421",
        keyword="Yes!",
        has_media=True,
        linked_id="l",
        refire_s=9,
    )
    path, arguments = one.serialize()
    assert json.loads(json.dumps(arguments)) == arguments
    module, _, name = path.rpartition(".")
    made = getattr(importlib.import_module(module), name)(**arguments)
    assert made.serialize() == one.serialize()
    assert isinstance(made, InboundMMSTrigger)
    assert made.wanted == InboundFilter(
        conn_id="c", short_code="111122", sender="6421", keyword="yes", has_media=True, linked_id="l"
    )
    # Airflow tells the watchers of two DAG files apart, or not, by this.
    assert BaseEventTrigger.hash(*made.serialize()) == BaseEventTrigger.hash(*one.serialize())


@pytest.mark.parametrize(("field", "wrong"), [("consumer", " "), ("keyword", "?"), ("sender", "")])
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(field: str, wrong: str) -> None:
    with pytest.raises(InputError, match=field):
        trigger(**{field: wrong})
