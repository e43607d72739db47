from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import NewSubmission, PruneCounts, ReportKind, State, Store
from airflow_provider_mm7.store.tables import metadata
from tests.store.conftest import START, Clock
from tests.store.make import accepted, claim, planned, report, settled
from tests.store.test_inbound import MESSAGE

LATER = START + timedelta(days=1)


def rows(store: Store) -> dict[str, int]:
    def count(connection: sa.Connection) -> dict[str, int]:
        tables = metadata.sorted_tables
        return {one.name: int(connection.scalar(sa.select(sa.func.count()).select_from(one)) or 0) for one in tables}

    return store._db.read(count)


def test_old_things_go_and_new_ones_stay(store: Store, clock: Clock) -> None:
    _, items = accepted(store, 2, key="old")
    store.add_reports([report(str(item.message_id)) for item in items])
    store.add_reports([report(str(items[0].message_id), "Deferred"), report("orphan", recipient="1")])
    store.add_reports([report(str(item.message_id), "Read", kind=ReportKind.READ) for item in items])
    store.add_inbound([MESSAGE])
    store.keep_aside("c", None, b"", "x")
    store.heartbeat("receiver", "a", 1)
    before = rows(store)
    assert store.prune(START) == PruneCounts()
    assert rows(store) == before
    clock.now = LATER
    new, _ = accepted(store, 1, key="new")
    store.add_reports([report("orphan", recipient="2")])
    assert store.prune(LATER) == PruneCounts(
        batches=1, submissions=2, reports=5, report_events=5, inbound=1, kept_aside=1, components=1
    )
    assert [batch.batch_id for batch in store.list_batches()] == [new.batch_id]
    assert rows(store) == {
        **dict.fromkeys(before, 0),
        "mm7_batch": 1,
        "mm7_submission": 1,
        "mm7_batch_count": rows(store)["mm7_batch_count"],
        "mm7_batch_minute": 1,
        "mm7_owner": rows(store)["mm7_owner"],
        "mm7_report": 1,
        "mm7_report_event": 2,
    }
    assert store.prune(LATER + timedelta(seconds=1), unfinished=True).batches == 1


@pytest.mark.parametrize("state", [State.PLANNED, State.RETRY, State.SENDING, State.UNKNOWN])
def test_a_batch_that_is_not_finished_stays_unless_told(store: Store, state: State) -> None:
    batch = planned(store, 2)
    items = claim(store, batch, 2)
    store.settle(batch.batch_id, settled(items[:1]))
    if state is not State.SENDING:
        store.settle(batch.batch_id, settled(items[1:], state))
    store.add_reports([report(f"m-{items[0].recipient}")])
    assert store.prune(LATER).batches == 0
    assert (store.summary(batch.batch_id).total, len(store.reports())) == (2, 1)
    assert store.prune(LATER, unfinished=True) == PruneCounts(batches=1, submissions=2, reports=1, report_events=1)
    assert store.find_batch(batch.batch_id) is None


class Interrupted(Store):
    """Somebody clears the task between the choice of the batches and their deletion."""

    def _old_batches(self, before: datetime, *, unfinished: bool) -> list[str]:
        chosen = super()._old_batches(before, unfinished=unfinished)
        for batch_id in chosen:
            self.plan(batch_id, [NewSubmission(recipient="+64219")])
        return chosen


def test_a_batch_that_is_needed_again_stays(store: Store, either_ledger_url: str, clock: Clock) -> None:
    batch, _ = accepted(store)
    other = Interrupted(either_ledger_url, clock=clock)
    assert other.prune(LATER) == PruneCounts()
    other.close()
    assert store.summary(batch.batch_id).total == 2


def deletions(store: Store) -> list[int]:
    """Count, from now on, the rows of each statement that deletes."""
    found: list[int] = []

    def listen(_c: object, cursor: sa.engine.interfaces.DBAPICursor, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            found.append(cursor.rowcount)

    sa.event.listen(store._db.engine, "after_cursor_execute", listen)
    return found


def test_large_batches_go_in_chunks(store: Store) -> None:
    batch, _ = accepted(store, 2500)
    told = [report(str(item.message_id)) for item in store.submissions(batch.batch_id, limit=2500)]
    store.add_reports(told)
    deleted = deletions(store)
    assert store.prune(LATER) == PruneCounts(batches=1, submissions=2500, reports=2500, report_events=2500)
    assert 0 < max(deleted) <= 1000


def test_forgetting_lets_the_key_be_sent_anew(store: Store) -> None:
    batch, items = accepted(store, 2)
    other, _ = accepted(store, 1, key="other")
    store.add_reports([report(str(items[0].message_id))])
    assert store.forget_batch(batch.batch_id) is True
    assert store.forget_batch(batch.batch_id) is False
    assert store.find_batch(other.batch_id) == other
    assert store.reports() == []
    again = planned(store, 2)
    assert again.batch_id == batch.batch_id
    assert len(claim(store, again)) == 2
