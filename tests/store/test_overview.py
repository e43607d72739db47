"""What pages ask of the store: the right rows, whole pages, and numbers that agree with the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from airflow_provider_mm7.store import (
    Batch,
    NewInbound,
    NewSubmission,
    Origin,
    Settlement,
    State,
    Store,
    Submission,
    schema,
)
from airflow_provider_mm7.store.overview import Glance, Wanted, Which
from airflow_provider_mm7.store.tables import batch_minute
from tests.store.conftest import START, Clock
from tests.store.make import claim, numbers, report, settled

MINUTE = int(START.timestamp()) // 60


def every_minute(_first: int, _last: int) -> int:
    return 1


def mixed(store: Store, key: str = "k", *, origin: Origin | None = None, count: int = 24) -> Batch:
    """A batch with messages in every state."""
    batch = store.open_batch(key, conn_id="mm7_default", origin=origin)
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(count)])
    items = claim(store, batch, count * 3 // 4)
    states = (State.ACCEPTED, State.ACCEPTED, State.ACCEPTED, State.REFUSED, State.UNKNOWN, State.RETRY)
    groups = {state: [item for n, item in enumerate(items) if states[n % 6] is state] for state in set(states)}
    refused = [Settlement(submission_id=one.id, state=State.REFUSED, status_code=2000 + one.id % 2)
               for one in groups[State.REFUSED]]  # fmt: skip
    unsettled = [*settled(groups[State.UNKNOWN], State.UNKNOWN), *settled(groups[State.RETRY][:-1], State.RETRY)]
    # The last retry stays as it is being sent.
    store.settle(batch.batch_id, [*settled(groups[State.ACCEPTED]), *refused, *unsettled])
    for n, item in enumerate(groups[State.ACCEPTED]):
        if status := ("Retrieved", "Expired", "", "Deferred")[n % 4]:
            store.add_reports([report(f"m-{item.recipient}", status)])
    return batch


#: Filter, and the same in Python.
FILTERS: dict[str, tuple[Wanted, Callable[[Submission], bool]]] = {
    "all": (Wanted(), lambda _: True),
    "no report": (Wanted(deliveries=("",)), lambda one: one.state is State.ACCEPTED and one.delivery is None),
    "two": (Wanted(deliveries=("Expired", "Retrieved")), lambda one: one.delivery in ("Expired", "Retrieved")),
    "none": (Wanted(deliveries=()), lambda _: False),
    "code": (Wanted(status_code=2001), lambda one: one.status_code == 2001),
    "number": (Wanted(recipient="6421100003"), lambda one: one.recipient == "+6421100003"),
}


def fits(name: str, one: Submission) -> bool:
    return FILTERS[name][1](one) if name in FILTERS else one.state == name


@pytest.mark.parametrize("name", [*FILTERS, *State])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_hold_every_message_once(store: Store, name: str, limit: int) -> None:
    wanted = FILTERS[name][0] if name in FILTERS else Wanted(state=State(name))
    batch = mixed(store)
    mixed(store, "other")
    expected = [one.id for one in store.submissions(batch.batch_id) if fits(name, one)]
    found: list[int] = []
    page = store.message_page(batch.batch_id, wanted, limit=limit)
    assert not page.before
    while True:
        ids = [one.submission.id for one in page.items]
        assert len(ids) <= limit
        found += ids
        if not page.after:
            break
        page = store.message_page(batch.batch_id, wanted, limit=limit, after_id=ids[-1])
        assert page.before
    assert found == expected
    back: list[int] = []
    while page.items:
        ids = [one.submission.id for one in page.items]
        back = ids + back
        if not page.before:
            break
        page = store.message_page(batch.batch_id, wanted, limit=limit, before_id=ids[0])
        assert page.after
    assert back == expected


def test_pages_of_batches_keep_their_places(store: Store, clock: Clock) -> None:
    made = []
    for n in range(7):
        origin = Origin(dag_id=f"dag {n % 2}", run_id=f"run {n // 4}", task_id="t", map_index=n) if n else None
        made.append(store.open_batch(f"k{n}", conn_id="c", origin=origin))
        clock.advance(n % 2)
    order = sorted(made, key=lambda one: (one.created_at, one.batch_id), reverse=True)
    for which, expected in (
        (Which(), order),
        (Which(dag_id="dag 1"), [one for one in order if one.origin.dag_id == "dag 1"]),
        (Which(dag_id="dag 1", run_id="run 1"), [made[5]]),
        (Which(dag_id="dag 1", task_id="other"), []),
        (Which(visible=frozenset({"dag 0"})), [one for one in order if one.origin.dag_id != "dag 1"]),
        (Which(visible=frozenset()), [made[0]]),
        (Which(since=made[4].created_at), [one for one in order if one.created_at >= made[4].created_at]),
    ):
        page = store.batch_page(which, limit=2)
        found = list(page.items)
        while page.after:
            page = store.batch_page(which, limit=2, after=page.items[-1].batch)
            found += page.items
        assert [view.batch for view in found] == expected
        if len(expected) > 2:
            page = store.batch_page(which, limit=2, before=found[-1].batch)
            assert [view.batch for view in page.items] == expected[-3:-1]
            assert (page.before, page.after) == (len(expected) > 3, True)
        assert store.newest_batch(which) == (expected[0] if expected else None)
    assert store.dag_ids() == ["dag 0", "dag 1"]


def test_a_glance_agrees_with_the_rows(store: Store) -> None:
    batches = [mixed(store, key, origin=Origin(dag_id=key)) for key in ("a", "b")]
    for which, chosen in ((Which(), batches), (Which(dag_id="a"), batches[:1])):
        seen = store.glance(which, spans=every_minute)
        rows = [one for batch in chosen for one in store.submissions(batch.batch_id)]
        counts: dict[tuple[str, str], int] = {}
        for one in rows:
            key = (str(one.state), one.delivery or "")
            counts[key] = counts.get(key, 0) + 1
        assert seen.counts == counts
        assert (seen.batches, seen.more, seen.started_at) == (len(chosen), False, START)
        codes = [one.status_code for one in rows if one.state is State.REFUSED]
        assert seen.refusals == {code: codes.count(code) for code in set(codes)}
    single, many = (
        store.batch_glance(batches[0].batch_id, spans=every_minute),
        store.glance(Which(dag_id="a"), spans=every_minute),
    )
    assert (single.counts, single.news) == (many.counts, many.news)
    assert store.batch_glance("none", spans=every_minute) == Glance()


def news_of(store: Store, batch: Batch) -> dict[tuple[int, str], int]:
    seen = store.batch_glance(batch.batch_id, spans=every_minute)
    return {(minute - MINUTE, what): n for minute, what, n in seen.news}


def test_news_say_what_happened_in_which_minute(store: Store, clock: Clock) -> None:
    batch = store.open_batch("k", conn_id="c")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(6)])
    items = claim(store, batch, 6)
    store.settle(batch.batch_id, settled(items[:3]))
    clock.advance(60)
    # An early report, one of a message that is accepted later, and a repeat of each.
    store.add_reports([report(f"m-{items[0].recipient}", "Deferred"), report(f"m-{items[3].recipient}")] * 2)
    clock.advance(60)
    refused = Settlement(submission_id=items[5].id, state=State.REFUSED)
    store.settle(batch.batch_id, [*settled(items[3:4]), *settled(items[4:5], State.UNKNOWN), refused])
    clock.advance(60)
    store.add_reports([report(f"m-{items[0].recipient}", date=START)])
    store.settle(batch.batch_id, settled(items[4:5]))
    assert news_of(store, batch) == {
        (0, "accepted"): 3,
        (1, "Deferred"): 1,
        (2, "accepted"): 1,
        (2, "Retrieved"): 1,
        (2, "refused "): 1,
        (3, "accepted"): 1,
        (3, "Deferred"): -1,
        (3, "Retrieved"): 1,
    }
    assert store.batch_glance(batch.batch_id, spans=every_minute).refusals == {None: 1}
    # In spans of many minutes the same, summed up.
    wide = store.batch_glance(batch.batch_id, spans=lambda first, last: 10 * (last - first))
    assert {what: n for _, what, n in wide.news} == {"accepted": 5, "Retrieved": 2, "refused ": 1}
    assert {minute % 30 for minute, _, _ in wide.news} == {0}


def test_news_go_with_their_batch(store: Store) -> None:
    batch = mixed(store)
    store.forget_batch(batch.batch_id)
    left = store._db.read(lambda connection: connection.scalar(sa.select(sa.func.count()).select_from(batch_minute)))
    assert left == 0


def test_a_migration_tells_the_news_of_old_batches(store: Store) -> None:
    batch = mixed(store)
    before = news_of(store, batch)
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with store._db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        assert not sa.inspect(connection).has_table("mm7_batch_minute")
    store.upgrade()
    # Then as now all happened in the same minute.
    assert news_of(store, batch) == before


def test_inbound_pages(store: Store) -> None:
    messages = [
        NewInbound(conn_id="c", digest=str(n), transaction_id=None, sender=f"+642{n % 2}", recipients=("55",),
                   subject=None, linked_id=None, date=None, text=str(n))
        for n in range(7)
    ]  # fmt: skip
    store.add_inbound(messages)
    first = store.inbound_page(limit=3)
    assert [one.message.text for one in first.items] == ["6", "5", "4"]
    second = store.inbound_page(limit=3, after_id=first.items[-1].id)
    assert ([one.message.text for one in second.items], second.before, second.after) == (["3", "2", "1"], True, True)
    again = store.inbound_page(limit=3, before_id=second.items[0].id)
    assert ([one.message.text for one in again.items], again.before, again.after) == (["6", "5", "4"], False, True)
    mine = store.inbound_page(limit=3, sender="6421")
    assert ([one.message.text for one in mine.items], mine.after) == (["5", "3", "1"], False)
    assert store.inbound_message(first.items[0].id) == first.items[0]
    assert store.inbound_message(10**6) is None


def test_messages_by_their_id(store: Store) -> None:
    batch = mixed(store)
    (first,) = store.submissions(batch.batch_id, limit=1)
    assert [one.submission.id for one in store.messages_named(str(first.message_id))] == [first.id]
    found = store.message(batch.batch_id, first.id)
    assert found is not None
    assert found.updated_at - START < timedelta(seconds=1)
    assert store.message("other", first.id) is None
