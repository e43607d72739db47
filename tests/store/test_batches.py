from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from airflow_provider_mm7.exceptions import NoSuchBatch
from airflow_provider_mm7.store import BatchSummary, NewSubmission, Origin, State, Store, batch_id_of
from airflow_provider_mm7.store.base import CHUNK
from tests.store.conftest import START, Clock
from tests.store.make import accepted, claim, numbers, planned, settled


class TestOpening:
    def test_a_key_names_one_batch(self, store: Store) -> None:
        origin = Origin(dag_id="d", run_id="r", task_id="t", map_index=3)
        first = store.open_batch("d/r/t/3", conn_id="mm7_default", origin=origin)
        again = store.open_batch("d/r/t/3", conn_id="another")
        assert again == first
        assert (first.conn_id, first.origin, first.created_at) == ("mm7_default", origin, START)
        assert store.open_batch("d/r/t/4", conn_id="mm7_default").batch_id != first.batch_id

    def test_the_id_follows_from_the_key(self, store: Store) -> None:
        batch = store.open_batch("the key", conn_id="c")
        assert batch.batch_id == batch_id_of("the key") == "b3a0aac44832e55528a834fec"
        assert store.find_batch(batch.batch_id) == batch
        assert store.find_batch("b0") is None

    def test_odd_text_is_kept(self, store: Store) -> None:
        batch = store.open_batch("k\0\ud800ü", conn_id="c")
        assert store.open_batch("k\0\ud800ü", conn_id="c") == batch
        assert store.plan(batch.batch_id, [NewSubmission(recipient="x\0y")]) == 1
        assert store.plan(batch.batch_id, [NewSubmission(recipient="x\0y")]) == 0

    def test_batches_are_listed_newest_first_page_by_page(self, store: Store, clock: Clock) -> None:
        made = []
        for n in range(7):
            made.append(store.open_batch(f"key {n}", conn_id="c"))
            clock.advance(n % 2)
        page = store.list_batches(3)
        listed = page
        while page:
            page = store.list_batches(3, before=page[-1])
            listed += page
        assert sorted(listed, key=lambda batch: batch.key) == made
        assert [batch.created_at for batch in listed] == sorted((one.created_at for one in made), reverse=True)


class TestPlanning:
    def test_planning_again_adds_what_is_missing_and_keeps_states(self, store: Store) -> None:
        batch = planned(store, 3)
        items = claim(store, batch, 2)
        store.settle(batch.batch_id, settled(items[:1]))
        before = store.submissions(batch.batch_id)
        wanted = [NewSubmission(recipient=number) for number in numbers(5)]
        assert store.plan(batch.batch_id, wanted) == 2
        assert store.submissions(batch.batch_id)[:3] == before
        assert [item.recipient for item in store.submissions(batch.batch_id)] == numbers(5)

    def test_rows_tell_one_recipient_apart(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        rows = [NewSubmission(recipient="+64211", row=row) for row in (1, 2, 2, 1)]
        assert store.plan(batch.batch_id, rows) == 2
        assert [item.row for item in store.submissions(batch.batch_id)] == [1, 2]

    def test_many_rows_are_planned_in_order_from_an_iterator(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        assert store.plan(batch.batch_id, (NewSubmission(recipient=number) for number in numbers(2500))) == 2500
        found, after_id = [], 0
        while page := store.submissions(batch.batch_id, after_id=after_id, limit=999):
            found += page
            after_id = page[-1].id
        assert [item.recipient for item in found] == numbers(2500)
        assert store.summary(batch.batch_id).planned == 2500

    def test_only_in_a_batch(self, store: Store) -> None:
        with pytest.raises(NoSuchBatch):
            store.plan("b0", [NewSubmission(recipient="+64211")])

    def test_a_very_long_recipient_is_planned_once(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        twins = [NewSubmission(recipient="9" * 9000 + end) for end in ("1", "2", "1")]
        assert store.plan(batch.batch_id, twins) == 2


class TestReplanning:
    def test_unsent_rows_that_are_not_asked_for_are_withdrawn(self, store: Store) -> None:
        batch = planned(store, 6)
        sent, refused, retried, doubtful = claim(store, batch, 4)
        store.settle(batch.batch_id, settled([sent]))
        store.settle(batch.batch_id, settled([refused], State.REFUSED))
        store.settle(batch.batch_id, settled([retried], State.RETRY))
        store.settle(batch.batch_id, settled([doubtful], State.UNKNOWN))
        new = numbers(1, first=50)
        assert store.replan(batch.batch_id, [NewSubmission(recipient=n) for n in [numbers(6)[5], *new]]) == 2
        left = {item.recipient: item.state for item in store.submissions(batch.batch_id)}
        assert left == {
            sent.recipient: State.ACCEPTED,
            refused.recipient: State.REFUSED,
            doubtful.recipient: State.UNKNOWN,
            numbers(6)[5]: State.PLANNED,
            new[0]: State.PLANNED,
        }

    def test_of_many_rows(self, store: Store) -> None:
        batch = planned(store, 2300)
        keep = numbers(2300)[::2]
        assert store.replan(batch.batch_id, [NewSubmission(recipient=number) for number in keep]) == len(keep)
        assert [item.recipient for item in store.submissions(batch.batch_id, limit=5000)] == keep

    def test_of_rows_that_nobody_holds_all_at_once(self, store: Store) -> None:
        batch = planned(store, 2300)
        asked: list[int] = []

        def wanted(keys: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
            asked.append(len(keys))
            return {(key, row) for key, row in keys if int(key) % 2}

        odd = [number for number in numbers(2300) if int(number) % 2]
        assert store.replan(batch.batch_id, (NewSubmission(recipient=n) for n in odd), wanted=wanted) == len(odd)
        assert [item.recipient for item in store.submissions(batch.batch_id, limit=5000)] == odd
        assert sum(asked) == 2300
        assert max(asked) < 2300

    def test_what_leaves_meanwhile_does_not_hide_what_is_left_over(self, store: Store) -> None:
        batch, other = planned(store, 1), store.open_batch("another chunk", conn_id="mm7_default")
        new = numbers(CHUNK + 1, first=1)

        def listed() -> Iterator[NewSubmission]:
            yield from (NewSubmission(recipient=number) for number in new[:CHUNK])
            # By now, these are planned.
            assert store.plan(other.batch_id, [NewSubmission(recipient=new[0])], family="f") == 1
            yield NewSubmission(recipient=new[CHUNK])

        store.replan(batch.batch_id, listed(), family="f")
        assert [item.recipient for item in store.submissions(batch.batch_id, limit=5000)] == new[1:]

    def test_what_is_due_is_what_was_not_sent(self, store: Store) -> None:
        batch = planned(store, 3)
        sent, doubtful, _ = claim(store, batch, 3)
        store.settle(batch.batch_id, settled([sent]))
        store.settle(batch.batch_id, settled([doubtful], State.UNKNOWN))
        wanted = [NewSubmission(recipient=number) for number in numbers(4)]
        assert store.replan(batch.batch_id, wanted) == 1
        assert store.replan(batch.batch_id, wanted, resend=True) == 3

    def test_what_another_task_took_out_is_missing(self, store: Store) -> None:
        batch = planned(store, 2300)
        wanted = [NewSubmission(recipient=number) for number in numbers(2300)]
        assert store.missing(batch.batch_id, wanted) == 0
        store.replan(batch.batch_id, wanted[:1100])
        assert store.missing(batch.batch_id, iter(wanted)) == 1200


class TestSummaries:
    def test_counts_by_state(self, store: Store) -> None:
        batch = planned(store, 12)
        for state, n in (
            (State.ACCEPTED, 1),
            (State.REFUSED, 2),
            (State.UNKNOWN, 1),
            (State.SUPPRESSED, 1),
            (State.RETRY, 2),
        ):
            store.settle(batch.batch_id, settled(claim(store, batch, n), state))
        claim(store, batch, 3)
        assert store.summary(batch.batch_id) == BatchSummary(
            batch_id=batch.batch_id,
            total=12,
            accepted=1,
            refused=2,
            unknown=1,
            suppressed=1,
            planned=4,
            sending=3,
        )

    def test_an_empty_batch_has_zeros_and_no_batch_has_none(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        assert store.summary(batch.batch_id).total == 0
        with pytest.raises(NoSuchBatch):
            store.summary("b0")

    def test_several_at_once(self, store: Store) -> None:
        one, two = planned(store, 1, key="1"), planned(store, 2, key="2")
        found = store.summaries([one.batch_id, two.batch_id, "b0", one.batch_id])
        assert {batch_id: summary.total for batch_id, summary in found.items()} == {one.batch_id: 1, two.batch_id: 2}

    def test_submissions_of_some_states(self, store: Store) -> None:
        batch, items = accepted(store, 2)
        store.plan(batch.batch_id, [NewSubmission(recipient="+64219")])
        assert store.submissions(batch.batch_id, states=[State.ACCEPTED]) == list(items)
        assert len(store.submissions(batch.batch_id, states=[State.ACCEPTED, State.PLANNED])) == 3
        assert store.submissions(batch.batch_id, states=[]) == []
