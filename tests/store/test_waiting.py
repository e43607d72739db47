from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_mm7.store import Store
from tests.store.conftest import START, Clock
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
