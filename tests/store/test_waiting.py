from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_mm7.store import InboundFilter, NewInbound, Store
from airflow_provider_mm7.store.filters import ANY
from tests.store.conftest import START, Clock
from tests.store.test_inbound import MESSAGE
from tests.support.ledger import report, send


def test_many_sets_of_messages_are_summed_up_as_each_of_them_is(store: Store) -> None:
    _, single = send(store, "k1", accepted=3)
    _, shared = send(store, "k2", accepted=2, one_message=True)
    report(store, single[:1], "Retrieved")
    report(store, single[1:2], "Deferred")
    report(store, single[1:2], "Expired", after_s=1)
    report(store, ["elsewhere"], "Forwarded")
    groups = [single, shared[:1], [*single, *shared, "elsewhere", "silent", "silent"], ["silent"]]

    summaries = store.deliveries_of_messages(groups)
    assert summaries == [store.delivery_of_messages(group) for group in groups]
    assert [summary.accepted for summary in summaries] == [3, 2, 7, 1]
    assert summaries[2].by_status == {"Retrieved": 1, "Expired": 1, "Forwarded": 1}
    assert store.deliveries_of_messages([]) == []


def test_a_batch_changes_when_it_is_sent_and_not_when_it_is_reported(store: Store, clock: Clock) -> None:
    batch_id, messages = send(store, "k", accepted=1, retry=1)
    other, _ = send(store, "other", accepted=1)
    clock.advance(60)
    report(store, messages, "Retrieved")
    assert store.last_changes([batch_id, other, "b0"]) == {batch_id: START, other: START}

    send(store, "k", accepted=1, planned=2)
    assert store.last_changes([batch_id]) == {batch_id: START + timedelta(seconds=60)}
    assert store.last_changes([]) == {}


@pytest.mark.parametrize("number", [20_001])
def test_more_ids_than_a_statement_takes(store: Store, number: int) -> None:
    report(store, ["m0", f"m{number - 1}"], "Retrieved")
    (summary,) = store.deliveries_of_messages([[f"m{n}" for n in range(number)]])
    assert (summary.accepted, summary.by_status) == (number, {"Retrieved": 2})


def answer(n: int, **fields: Any) -> NewInbound:
    return replace(MESSAGE, **{"digest": f"answer {n}", "sender": f"+6421{n}", "linked_id": None, **fields})


class TestFirstInbound:
    def test_is_the_oldest_that_fits(self, store: Store, clock: Clock) -> None:
        assert (store.newest_inbound_id(), store.first_inbound(ANY)) == (0, None)
        store.add_inbound([answer(1, text="NO"), answer(2, linked_id="m1"), answer(1, digest="again", text="Yes!")])
        clock.advance(60)
        store.add_inbound([answer(3), answer(2, digest="late", linked_id="m2")])
        first, second, third, fourth, fifth = (one.id for one in store.inbound())

        def found(wanted: InboundFilter = ANY, **asked: Any) -> int | None:
            message = store.first_inbound(wanted, **asked)
            return None if message is None else message.id

        assert store.newest_inbound_id() == fifth
        assert found() == first
        assert found(senders=["64212", "64213"]) == second
        assert found(senders=["64212", "64213"], after_id=second) == fourth
        assert found(linked_ids=["m2", "m1"]) == second
        assert found(senders=["64211"], linked_ids=["m1"]) is None
        assert found(InboundFilter(keyword="yes"), senders=["64211"]) == third
        assert found(InboundFilter(since=START + timedelta(seconds=1)), senders=["64212"]) == fifth
        assert found(InboundFilter(conn_id="other")) is None

    def test_among_more_numbers_and_ids_than_a_statement_takes(self, store: Store) -> None:
        store.add_inbound([answer(7), answer(12_001, linked_id="m12000")])
        last = store.newest_inbound_id()
        numbers = [f"6421{n}" for n in range(12_002, -1, -1)]
        found = store.first_inbound(ANY, senders=numbers, linked_ids=[f"m{n}" for n in range(12_002)])
        assert found is not None
        assert found.id == last
        found = store.first_inbound(ANY, senders=numbers)
        assert found is not None
        assert found.id < last
