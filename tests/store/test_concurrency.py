"""Races, arranged with barriers and locks that are looked at, not with pauses."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import NewSubmission, State, Store
from tests.store.make import (
    claim,
    drain_in_process,
    numbers,
    plan_in_process,
    planned,
    report,
    settled,
)

DEADLINE_S = 60.0


def together(*works: Callable[[], object]) -> list[object]:
    """Run all at the same moment and give their results."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> object:
        barrier.wait(DEADLINE_S)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(DEADLINE_S) for future in [pool.submit(run, work) for work in works]]


@contextmanager
def held_before_commit(store: Store, work: Callable[[], object]) -> Iterator[Future[object]]:
    """Run a write up to its COMMIT, and let it commit when the block ends."""
    arrived, go = threading.Event(), threading.Event()
    engine = store._db.engine
    holder: list[int] = []

    def wait(_connection: sa.Connection) -> None:
        if threading.get_ident() in holder:
            arrived.set()
            assert go.wait(DEADLINE_S)

    def run() -> object:
        holder.append(threading.get_ident())
        return work()

    sa.event.listen(engine, "commit", wait)
    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(run)
            try:
                assert arrived.wait(DEADLINE_S)
                yield future
            finally:
                go.set()
    finally:
        sa.event.remove(engine, "commit", wait)


def wait_until_blocked(store: Store, future: Future[object]) -> None:
    """Wait until somebody waits for a lock in the database, or has needed none."""
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until and not future.done():
        if store.dialect == "sqlite":
            # SQLite shows no queue: the other write is in it once it has asked for its transaction.
            return
        if store._db.read(lambda connection: connection.scalar(waiting)):
            return
        time.sleep(0.01)


class TestSettlementMeetsReport:
    """A report must never stay unmatched because it came while the acceptance was being recorded."""

    @pytest.mark.parametrize("first", ["settlement", "report"])
    def test_whoever_commits_last_sees_the_other(self, store: Store, first: str) -> None:
        batch = planned(store)
        items = claim(store, batch)
        works: dict[str, Callable[[], object]] = {
            "settlement": lambda: store.settle(batch.batch_id, settled(items)),
            "report": lambda: store.add_reports([report(f"m-{items[0].recipient}")]),
        }
        (second,) = works.keys() - {first}
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, works[first]):
                future = pool.submit(works[second])
                wait_until_blocked(store, future)
            assert future.result(DEADLINE_S)
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].by_status == {"Retrieved": 1}
        assert len(store.reports(batch_id=batch.batch_id)) == 1

    def test_two_reports_on_one_recipient_at_once(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items))
        message_id = f"m-{items[0].recipient}"
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, lambda: store.add_reports([report(message_id, "Deferred")])):
                future: Future[object] = pool.submit(store.add_reports, [report(message_id, "Retrieved")])
                wait_until_blocked(store, future)
            assert future.result(DEADLINE_S) == [True]
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].by_status == {"Retrieved": 1}
        assert len(store.reports()) == 1

    def test_the_same_report_at_once_is_new_once(self, store: Store) -> None:
        told = [report(f"m-{n}", recipient="1") for n in range(20)]
        answers = together(*[lambda: store.add_reports(told)] * 4)
        assert [sum(row) for row in zip(*answers, strict=True)] == [1] * 20

    def test_many_at_once(self, store: Store) -> None:
        batch = planned(store, 240)
        lots = [claim(store, batch, 30) for _ in range(8)]

        def settle(n: int) -> Callable[[], object]:
            return lambda: store.settle(batch.batch_id, settled(lots[n]))

        def tell(n: int) -> Callable[[], object]:
            # Others' rows, backwards: every lock is wanted in another order.
            items = (lots[n][15:] + lots[(n + 1) % 8][:15])[::-1]
            return lambda: store.add_reports([report(f"m-{item.recipient}") for item in items])

        together(*(work(n) for n in range(8) for work in (settle, tell)))
        found = store.delivery_of_batches([batch.batch_id])[batch.batch_id]
        assert (found.accepted, found.by_status) == (240, {"Retrieved": 240})


class TestClaimsNeverDouble:
    def test_over_threads(self, store: Store) -> None:
        batch = planned(store, 300)

        def drain() -> object:
            got: list[int] = []
            while items := claim(store, batch, 7, token=str(threading.get_ident())):
                got += [item.id for item in items]
                store.settle(batch.batch_id, settled(items))
            return got

        got = together(*[drain] * 6)
        ids = [one for part in got for one in part]  # type: ignore[attr-defined]
        assert len(ids) == len(set(ids)) == 300
        assert store.summary(batch.batch_id).accepted == 300

    def test_an_uncommitted_claim_is_not_seen_as_free(self, store: Store) -> None:
        batch = planned(store, 4)
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, lambda: claim(store, batch, 2)) as first:
                second: Future[object] = pool.submit(claim, store, batch, 2, token="two")
                wait_until_blocked(store, second)
                if store.dialect == "postgresql":
                    # Waiting only for the other's count; its own rows are chosen.
                    assert not second.done()
            ids = [item.id for future in (first, second) for item in future.result(DEADLINE_S)]  # type: ignore[attr-defined]
        assert sorted(ids) == [item.id for item in store.submissions(batch.batch_id)]

    def test_over_processes(self, store: Store, either_ledger_url: str) -> None:
        batch = planned(store, 120)
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(3, mp_context=context) as pool:
            barrier = manager.Barrier(3)
            futures = [pool.submit(drain_in_process, either_ledger_url, batch.batch_id, barrier) for _ in range(3)]
            ids = [one for future in futures for one in future.result(DEADLINE_S)]
        assert len(ids) == len(set(ids)) == 120
        assert store.summary(batch.batch_id).accepted == 120


class TestOneKeyTwice:
    def test_opened_by_threads_at_once(self, store: Store) -> None:
        opened = together(*[lambda: store.open_batch("k", conn_id="c")] * 6)
        assert len({repr(batch) for batch in opened}) == 1
        assert len(store.list_batches()) == 1

    def test_planned_by_processes_at_once_in_different_orders(self, store: Store, either_ledger_url: str) -> None:
        batch = store.open_batch("k", conn_id="c")
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(2, mp_context=context) as pool:
            barrier = manager.Barrier(2)
            futures = [
                pool.submit(plan_in_process, either_ledger_url, batch.batch_id, barrier, backwards)
                for backwards in (False, True)
            ]
            assert sum(future.result(DEADLINE_S) for future in futures) == 1000
        assert [item.recipient for item in store.submissions(batch.batch_id)] in (numbers(1000), numbers(1000)[::-1])

    def test_planned_while_another_plans(self, store: Store) -> None:
        batch = store.open_batch("k", conn_id="c")
        wanted = [NewSubmission(recipient=number) for number in numbers(5)]
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, lambda: store.plan(batch.batch_id, wanted)) as first:
                second: Future[object] = pool.submit(store.plan, batch.batch_id, wanted[::-1])
                wait_until_blocked(store, second)
            assert [first.result(DEADLINE_S), second.result(DEADLINE_S)] == [5, 0]

    def test_planned_while_it_is_sent(self, store: Store) -> None:
        batch = planned(store, 50)

        def send() -> object:
            while items := claim(store, batch, 5):
                store.settle(batch.batch_id, settled(items))
            return None

        def plan() -> object:
            return store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(100)])

        assert together(send, plan, plan, send)[1:3] in ([50, 0], [0, 50])
        summary = store.summary(batch.batch_id)
        assert (summary.total, summary.sending) == (100, 0)


def test_giving_up_meets_a_late_answer(store: Store) -> None:
    for n in range(10):
        batch = planned(store, 3, key=f"k{n}")
        items = claim(store, batch)
        answers = settled(items, message_id=f"m{n}")
        together(
            lambda batch=batch: store.settle_abandoned(batch.batch_id, is_alive=lambda _: False),  # type: ignore[misc]
            lambda batch=batch, answers=answers: store.settle(batch.batch_id, answers),  # type: ignore[misc]
        )
        assert {item.state for item in store.submissions(batch.batch_id)} == {State.ACCEPTED}
