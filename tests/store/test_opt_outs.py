"""Who wants no messages: what stands after what was said, in which order, and what it does to batches."""

from __future__ import annotations

import dataclasses
import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import (
    Confirmation,
    NewInbound,
    OptOutChange,
    OptOutNews,
    Settlement,
    Source,
    State,
    Store,
    connection_scope,
    open_store,
    short_code_scope,
)
from tests.store.conftest import START, Clock, now_of
from tests.store.make import claim, numbers, owner, planned, settled, transaction
from tests.store.test_concurrency import held_before_commit, wait_until_blocked
from tests.store.test_plans import FEW, plan_of, scans, statements_of

HERE = connection_scope("mm7_default")
ELSEWHERE = short_code_scope("111122")
NUMBER = "+6421100000"


def stop(number: str = NUMBER, **values: Any) -> OptOutChange:
    return OptOutChange(
        **{"scope": HERE, "number": number, "opted_out": True, "source": Source.MESSAGE, "keyword": "stop", **values}
    )


def start(number: str = NUMBER, **values: Any) -> OptOutChange:
    return stop(number, **{"opted_out": False, "keyword": "start", **values})


def inbound(digest: str, *changes: OptOutChange) -> NewInbound:
    return NewInbound(
        conn_id="mm7_default",
        digest=digest,
        transaction_id=None,
        sender=NUMBER,
        recipients=("111122",),
        subject=None,
        linked_id=None,
        date=None,
        text="STOP",
        opt_outs=changes,
    )


def is_out(store: Store, number: str = NUMBER, scope: str = HERE) -> bool:
    found = store.find_opt_out(scope, number)
    return found is not None and found.opted_out


class TestWhatStands:
    def test_an_opt_out_is_kept_with_what_is_known_of_it(self, store: Store, clock: Clock) -> None:
        said = START - timedelta(minutes=1)
        before = now_of(store)
        assert store.record_opt_outs([stop(conn_id="mm7_default", said_at=said, confirm=True)]) == 1
        after = now_of(store)
        clock.advance(10)
        assert store.record_opt_outs([stop(keyword="quit")]) == 0
        (row,) = store.opt_outs()
        assert dataclasses.asdict(row) == {
            "scope": HERE,
            "number": NUMBER,
            "opted_out": True,
            "source": "message",
            "keyword": "stop",
            "conn_id": "mm7_default",
            "said_at": said,
            "changed_at": row.changed_at,
            "change_no": 1,
            "confirmation": "due",
        }
        assert before <= row.changed_at <= after

    @pytest.mark.parametrize("spelled", ["64 21 100 000", "+6421100000/TYPE=PLMN", "tel:+64-21-100000"])
    def test_a_number_is_one_however_it_is_spelled(self, store: Store, spelled: str) -> None:
        store.record_opt_outs([stop(spelled)])
        assert is_out(store)

    def test_scopes_are_apart(self, store: Store) -> None:
        store.record_opt_outs([stop(), stop("+6421100001", scope=ELSEWHERE)])
        assert (is_out(store), is_out(store, scope=ELSEWHERE)) == (True, False)
        assert [row.scope for row in store.opt_outs()] == [ELSEWHERE, HERE]
        assert [row.number for row in store.opt_outs(ELSEWHERE)] == ["+6421100001"]
        assert short_code_scope("+64 21 111-122/TYPE=PLMN") == short_code_scope("6421111122")

    def test_the_last_word_counts_in_one_transaction_and_over_several(self, store: Store) -> None:
        assert store.record_opt_outs([stop(), start(), stop()]) == 1
        assert is_out(store)
        assert store.record_opt_outs([start(), stop(), start()]) == 1
        assert not is_out(store)
        for change in (stop(), start(), stop()):
            assert store.record_opt_outs([change]) == 1
        assert is_out(store)

    def test_a_word_of_return_of_somebody_who_never_left_is_not_kept(self, store: Store) -> None:
        assert store.record_opt_outs([start()]) == 0
        assert store.opt_outs(returned=True) == []

    def test_who_came_back_is_listed_when_asked_for(self, store: Store) -> None:
        store.record_opt_outs([stop(), start(source=Source.CLI, keyword=None)])
        assert store.opt_outs() == []
        (row,) = store.opt_outs(returned=True)
        assert (row.opted_out, row.source, row.keyword, row.confirmation) == (False, "cli", None, None)

    @pytest.mark.parametrize(
        ("said", "taken_back", "out"),
        [(0, 60, False), (60, 0, True), (0, 0, False), (0, None, False), (None, 0, False), (None, None, False)],
    )
    def test_a_return_that_was_said_before_does_not_undo(
        self, store: Store, clock: Clock, said: int | None, taken_back: int | None, out: bool
    ) -> None:
        def at(seconds: int | None) -> datetime | None:
            return None if seconds is None else START + timedelta(seconds=seconds)

        clock.advance(3600)
        store.record_opt_outs([stop(said_at=at(said))])
        store.record_opt_outs([start(said_at=at(taken_back))])
        assert is_out(store) is out

    def test_an_opt_out_that_comes_late_counts(self, store: Store, clock: Clock) -> None:
        clock.advance(3600)
        store.record_opt_outs([stop(said_at=START), start(said_at=START + timedelta(minutes=10))])
        store.record_opt_outs([stop(said_at=START + timedelta(minutes=5))])
        assert is_out(store)

    def test_saying_it_again_later_is_remembered(self, store: Store, clock: Clock) -> None:
        clock.advance(3600)
        store.record_opt_outs([stop(said_at=START)])
        store.record_opt_outs([stop(said_at=START + timedelta(minutes=10))])
        store.record_opt_outs([start(said_at=START + timedelta(minutes=5))])
        assert is_out(store)

    def test_a_clock_that_is_ahead_does_not_keep_anybody_out(self, store: Store, clock: Clock) -> None:
        store.record_opt_outs([stop(said_at=START + timedelta(days=365_000))])
        clock.advance(10)
        store.record_opt_outs([start(said_at=now_of(store))])
        assert not is_out(store)

    @pytest.mark.postgres
    def test_a_receiver_whose_clock_is_slow_forgets_no_return(self, postgres_store: Store) -> None:
        """On a database that machines share the database's clock counts."""
        url = postgres_store._db.url.render_as_string(hide_password=False)
        slow = Store(url, clock=lambda: datetime.now(UTC) - timedelta(days=1))
        store = Store(url)
        store.record_opt_outs([stop(said_at=now_of(store))])
        slow.record_opt_outs([start(said_at=now_of(store))])
        assert not is_out(store)
        for one in (slow, store):
            one.close()

    def test_odd_values_cost_nobody_their_opt_out(self, store: Store) -> None:
        odd = "x" * 5000 + "\0"
        store.record_opt_outs([stop(odd, scope="conn:" + odd, keyword="\0", conn_id="\ud800")])
        (row,) = store.opt_outs()
        assert row.opted_out
        assert store.find_opt_out(connection_scope(odd), odd) == row

    def test_pages(self, store: Store) -> None:
        store.record_opt_outs(stop(number, scope=scope) for scope in (HERE, ELSEWHERE) for number in numbers(7))
        found = store.opt_outs(limit=3)
        while page := store.opt_outs(after=found[-1], limit=3):
            found += page
        assert [(row.scope, row.number) for row in found] == [
            (scope, number) for scope in (ELSEWHERE, HERE) for number in numbers(7)
        ]

    def test_an_import_of_many_is_streamed(self, store: Store) -> None:
        assert store.record_opt_outs(stop(number) for number in numbers(2500)) == 2500
        assert store.record_opt_outs(stop(number) for number in numbers(2600)) == 100


class TestWithTheMessage:
    def test_it_is_there_when_the_message_is(self, store: Store) -> None:
        assert store.add_inbound([inbound("a", stop(), stop(scope=ELSEWHERE))]) == [True]
        assert is_out(store)
        assert is_out(store, scope=ELSEWHERE)
        assert store.inbound()[0].message.text == "STOP"

    def test_messages_of_one_commit_are_heard_in_their_order(self, store: Store) -> None:
        store.add_inbound([inbound("a", stop()), inbound("b", start()), inbound("c", stop())])
        assert is_out(store)
        store.add_inbound([inbound("d", start()), inbound("e")])
        assert not is_out(store)

    def test_a_repeat_says_nothing_new(self, store: Store) -> None:
        store.add_inbound([inbound("a", stop())])
        store.add_inbound([inbound("b", start())])
        assert store.add_inbound([inbound("a", stop()), inbound("a", stop())]) == [False, False]
        assert not is_out(store)

    def test_both_or_none(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> int:
            raise RuntimeError("power is gone")

        with monkeypatch.context() as broken:
            broken.setattr("airflow_provider_mm7.store.inbound.record_changes", fail)
            with pytest.raises(RuntimeError):
                store.add_inbound([inbound("a", stop())])
        assert store.inbound() == []
        assert store.add_inbound([inbound("a", stop())]) == [True]
        assert is_out(store)


class TestNews:
    def test_nobody_ever(self, store: Store) -> None:
        batch = planned(store)
        assert store.opt_out_clock(HERE) == 0
        assert store.opt_out_news(HERE, batch.batch_id, 0) == OptOutNews(change_no=0)

    def test_only_what_is_new_and_only_of_the_batch(self, store: Store) -> None:
        batch = planned(store, 3)
        one, two, three = numbers(3)
        store.record_opt_outs([stop(one), stop(two)])
        first = store.opt_out_news(HERE, batch.batch_id, 0)
        assert (sorted(first.out), first.back) == ([one[1:], two[1:]], frozenset())
        assert store.opt_out_news(HERE, batch.batch_id, first.change_no).out == frozenset()
        store.record_opt_outs([stop("+649999999"), start(one), stop(three), stop(three, scope=ELSEWHERE)])
        second = store.opt_out_news(HERE, batch.batch_id, first.change_no)
        assert (set(second.out), set(second.back)) == ({three[1:]}, {one[1:]})
        assert second.change_no == store.opt_out_clock(HERE)

    def test_changes_are_numbered_in_the_order_of_commits(self, store: Store) -> None:
        """Who has seen a number will never see a lower one appear."""
        batch = planned(store, 2)
        one, two = numbers(2)
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, lambda: store.record_opt_outs([stop(one)])):
                second = pool.submit(lambda: store.record_opt_outs([stop(two)]))
                wait_until_blocked(store, second)  # type: ignore[arg-type]
                assert store.opt_out_news(HERE, batch.batch_id, 0).out == frozenset()
            assert second.result(60) == 1
        assert store.find_opt_out(HERE, one).change_no < store.find_opt_out(HERE, two).change_no  # type: ignore[union-attr]

    def test_a_reader_that_follows_misses_nothing(self, store: Store) -> None:
        batch = planned(store, 200)
        known, change_no, done = set[str](), 0, threading.Event()

        def say(mine: list[str]) -> None:
            for number in mine:
                store.record_opt_outs([stop(number)])

        with ThreadPoolExecutor(4) as pool:
            works = [pool.submit(say, numbers(200)[n::4]) for n in range(4)]
            while True:
                last = all(work.done() for work in works)
                news = store.opt_out_news(HERE, batch.batch_id, change_no)
                known |= news.out
                change_no = news.change_no
                if last:
                    break
        done.set()
        assert [work.result() for work in works] == [None] * 4
        assert known == {number[1:] for number in numbers(200)}


class TestSuppression:
    def test_what_is_not_sent_is_taken_out_and_counted(self, store: Store) -> None:
        batch = planned(store, 6)
        accepted, refused, retry, unknown, waiting, other = numbers(6)
        items = claim(store, batch, 4)
        states = (State.ACCEPTED, State.REFUSED, State.RETRY, State.UNKNOWN)
        store.settle(
            batch.batch_id, [one for item, state in zip(items, states, strict=True) for one in settled([item], state)]
        )
        store.record_opt_outs(stop(number) for number in (accepted, refused, retry, unknown, waiting))
        assert store.suppress_opted_out(batch.batch_id, HERE) == 2
        found = {item.recipient: item for item in store.submissions(batch.batch_id)}
        assert [str(found[number].state) for number in numbers(6)] == [
            *("accepted", "refused", "suppressed", "unknown", "suppressed", "planned"),
        ]
        assert (found[retry].status_text, found[retry].status_code) == ("opted out", None)
        summary = store.summary(batch.batch_id)
        assert (summary.suppressed, summary.planned, summary.total) == (2, 1, 6)
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].suppressed == 2
        assert store.suppress_opted_out(batch.batch_id, HERE, unknown=True) == 1
        assert store.summary(batch.batch_id).unknown == 0
        assert [item.recipient for item in claim(store, batch)] == [other]

    def test_more_than_one_transaction_holds(self, store: Store) -> None:
        batch = planned(store, 2500)
        store.record_opt_outs(stop(number) for number in numbers(2500)[::2])
        assert store.suppress_opted_out(batch.batch_id, HERE) == 1250
        assert store.summary(batch.batch_id).planned == 1250

    def test_other_scopes_and_those_who_came_back_are_left_alone(self, store: Store) -> None:
        batch = planned(store, 2)
        one, two = numbers(2)
        store.record_opt_outs([stop(one), start(one), stop(two, scope=ELSEWHERE)])
        assert store.suppress_opted_out(batch.batch_id, HERE) == 0

    def test_coming_back_revives_nothing(self, store: Store) -> None:
        batch = planned(store, 1)
        store.record_opt_outs([stop()])
        store.suppress_opted_out(batch.batch_id, HERE)
        store.record_opt_outs([start()])
        planned(store, 1)
        store.requeue_retries(batch.batch_id)
        store.requeue_unknown(batch.batch_id)
        assert claim(store, batch) == []

    def test_what_is_on_its_way_is_not_touched(self, store: Store) -> None:
        batch = planned(store, 1)
        (item,) = claim(store, batch)
        store.record_opt_outs([stop()])
        assert store.suppress_opted_out(batch.batch_id, HERE, unknown=True) == 0
        store.settle(batch.batch_id, settled([item]))
        assert store.summary(batch.batch_id).accepted == 1

    def test_an_acceptance_that_comes_after_all_is_not_lost(self, store: Store) -> None:
        batch = planned(store, 1)
        (item,) = claim(store, batch)
        store.settle_abandoned(batch.batch_id, is_alive=lambda _: False)
        store.record_opt_outs([stop()])
        assert store.suppress_opted_out(batch.batch_id, HERE, unknown=True) == 1
        answer = Settlement(
            submission_id=item.id, state=State.ACCEPTED, message_id="m", transaction_id=item.transaction_id
        )
        assert store.settle(batch.batch_id, [answer]) == 1
        (row,) = store.submissions(batch.batch_id)
        assert (row.state, row.message_id) == (State.ACCEPTED, "m")

    def test_a_claim_marks_who_wants_nothing(self, store: Store) -> None:
        batch = planned(store, 3)
        one, two, three = numbers(3)
        store.record_opt_outs([stop(one), stop(two, scope=ELSEWHERE), stop(three), start(three)])

        def marked(scope: str | None) -> list[bool]:
            items = store.turn(
                batch.batch_id, owner(), limit=10, lease_s=60, transaction_id=transaction, group=2, scope=scope
            )
            store.release([item.id for item in items], owner())
            return [item.opted_out for item in sorted(items, key=lambda item: item.recipient)]

        assert marked(None) == [False, False, False]
        assert marked(HERE) == [True, False, False]
        assert marked(ELSEWHERE) == [False, True, False]

    def test_a_settlement_suppresses(self, store: Store) -> None:
        batch = planned(store, 2)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items, State.SUPPRESSED))
        assert store.summary(batch.batch_id).suppressed == 2
        assert claim(store, batch) == []


class TestConfirmations:
    def due(self, store: Store) -> list[str]:
        return [one.number for one in store.due_confirmations(since=START - timedelta(hours=1))]

    def test_once_for_each_opt_out(self, store: Store, clock: Clock) -> None:
        one, two, three = numbers(3)
        store.record_opt_outs([stop(two, confirm=True)])
        clock.advance(1)
        store.record_opt_outs([stop(one, confirm=True), stop(three)])
        assert self.due(store) == [two, one]
        first, second = store.due_confirmations(since=START)
        assert store.settle_confirmation(first, Confirmation.SENT)
        assert store.settle_confirmation(second, None)
        store.record_opt_outs([stop(one, confirm=True), stop(two, confirm=True)])
        assert self.due(store) == []
        store.record_opt_outs([start(two), stop(two, confirm=True)])
        assert self.due(store) == [two]

    def test_who_comes_back_at_once_is_not_told_that_they_left(self, store: Store) -> None:
        store.record_opt_outs([stop(confirm=True)])
        (due,) = store.due_confirmations(since=START)
        store.record_opt_outs([start()])
        assert self.due(store) == []
        assert not store.settle_confirmation(due, Confirmation.SENT)

    def test_what_is_too_late_is_not_sent(self, store: Store) -> None:
        store.record_opt_outs([stop(confirm=True)])
        assert store.due_confirmations(since=now_of(store) + timedelta(seconds=1)) == []
        (row,) = store.opt_outs()
        assert row.confirmation == "expired"


def say_in_process(url: str, barrier: Barrier, backwards: bool) -> int:
    store = open_store(url)
    mine = [change for number in numbers(60) for change in (stop(number, scope=HERE), stop(number, scope=ELSEWHERE))]
    barrier.wait(60)
    return sum(store.record_opt_outs([one]) for one in (mine[::-1] if backwards else mine))


def test_many_at_once_from_many_processes(store: Store, either_ledger_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(3, mp_context=context) as pool:
        barrier = manager.Barrier(3)
        futures = [pool.submit(say_in_process, either_ledger_url, barrier, n == 1) for n in range(3)]
        assert sum(future.result(120) for future in futures) == 120
    assert Counter(row.scope for row in store.opt_outs()) == {HERE: 60, ELSEWHERE: 60}


def test_two_messages_that_cross_do_not_wait_for_each_other_for_ever(store: Store) -> None:
    def say(first: str, second: str, start_at: int) -> int:
        return sum(
            store.record_opt_outs([stop(number, scope=first), stop(number, scope=second)])
            for number in numbers(40, first=start_at)
        )

    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(say, HERE, ELSEWHERE, 0), pool.submit(say, ELSEWHERE, HERE, 1000)]
        assert [work.result(60) for work in works] == [80, 80]


def test_no_table_is_read_whole(store: Store) -> None:
    batch = planned(store, 30)
    store.record_opt_outs(stop(number, confirm=True) for number in numbers(20))
    row = store.opt_outs(limit=1)[0]

    def work() -> None:
        store.record_opt_outs([stop("+6499999999")])
        store.opt_out_news(HERE, batch.batch_id, 19)
        store.suppress_opted_out(batch.batch_id, HERE)
        store.turn(batch.batch_id, owner(), limit=5, lease_s=60, transaction_id=transaction, scope=HERE)
        store.opt_outs(HERE, after=row, limit=5)
        store.find_opt_out(HERE, NUMBER)
        store.settle_confirmation(row, Confirmation.SENT)
        store.due_confirmations(since=START)

    heard = [(text, values) for text, values in statements_of(store, work) if "pg_advisory" not in text]
    plans = [plan_of(store, text, values) for text, values in heard]
    assert [line for plan in plans for line in scans(plan) if not FEW & set(line.split())] == []
    if store.dialect == "sqlite":
        assert any("ix_mm7_opt_out_scope_change_no" in plan or "uq_mm7_submission" in plan for plan in plans)


@pytest.mark.postgres
def test_among_many_opt_outs_postgres_uses_the_indexes(postgres_store: Store) -> None:
    store = postgres_store
    batch = planned(store, 50)
    fill = """
        INSERT INTO mm7_opt_out (scope, number_key, number, opted_out, source, changed_at, change_no)
            SELECT 'conn:mm7_default', n, n, true, 'import', now(), n FROM generate_series(1, 20000) n;
        INSERT INTO mm7_opt_out_clock VALUES ('conn:mm7_default', 20000);
        INSERT INTO mm7_submission (batch_id, row_no, recipient, recipient_key, state, attempts, not_before, delivery,
                                    updated_at)
            SELECT batch_id, 0, n, 'x' || n, 'planned', 0, '1970-01-01Z', '', now()
            FROM generate_series(1, 20000) n, mm7_batch;
        ANALYZE mm7_opt_out; ANALYZE mm7_submission
    """
    with store._db.engine.begin() as connection:
        for statement in fill.split(";"):
            connection.execute(sa.text(statement))

    def work() -> None:
        store.opt_out_news(HERE, batch.batch_id, 19_990)
        store.turn(batch.batch_id, owner(), limit=50, lease_s=60, transaction_id=transaction, scope=HERE)
        store.due_confirmations(since=START)

    heard = [(text, values) for text, values in statements_of(store, work) if "mm7_opt_out" in text]
    plans = [plan_of(store, text, values, as_it_is=True) for text, values in heard]
    assert [line for plan in plans for line in scans(plan) if "mm7_opt_out_clock" not in line] == []
