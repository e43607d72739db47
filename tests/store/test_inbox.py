from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.store import (
    ClaimState,
    Holder,
    InboundFilter,
    NewInbound,
    Store,
    WaitingInbound,
)
from airflow_provider_mm7.store.tables import inbound_cursor
from tests.store.conftest import START, Clock, let_pass, now_of
from tests.store.make import consume_in_process
from tests.store.test_concurrency import held_before_commit, together, wait_until_blocked
from tests.store.test_inbound import MESSAGE
from tests.store.test_plans import plan_of, scans, statements_of

ONE = Holder(name="one", token="one 1")
TWO = Holder(name="two", token="two 1")
ANY = InboundFilter()


def came(store: Store, count: int, *, first: int = 0, message: NewInbound = MESSAGE) -> None:
    store.add_inbound([replace(message, digest=f"d{first + n}") for n in range(count)])


def claim(
    store: Store,
    limit: int = 100,
    *,
    holder: Holder = ONE,
    wanted: InboundFilter = ANY,
    consumer: str = "inbox",
    max_attempts: int | None = None,
) -> list[int]:
    found = store.claim_inbound(consumer, wanted, holder=holder, limit=limit, lease_s=120, max_attempts=max_attempts)
    return [one.inbound.id for one in found]


def cursors(store: Store) -> list[int]:
    return store._db.read(lambda connection: list(connection.scalars(sa.select(inbound_cursor.c.after_id))))


class TestClaims:
    def test_in_the_order_they_came_and_each_once(self, store: Store) -> None:
        came(store, 5)
        first = claim(store, 3)
        assert claim(store, 3, holder=TWO) == [one.id for one in store.inbound()][3:]
        assert first == [one.id for one in store.inbound()][:3]
        assert claim(store) == claim(store, holder=TWO) == []

    def test_messages_are_whole(self, store: Store) -> None:
        came(store, 1)
        (claimed,) = store.claim_inbound("inbox", holder=ONE, limit=1, lease_s=1)
        assert ([claimed.inbound], claimed.attempts) == (store.inbound(), 1)

    def test_every_consumer_sees_all(self, store: Store) -> None:
        came(store, 2)
        assert len(claim(store, consumer="a")) == len(claim(store, consumer="b")) == 2
        assert claim(store, consumer="a") == []

    def test_what_is_acknowledged_never_comes_again(self, store: Store, clock: Clock) -> None:
        came(store, 2)
        ids = claim(store)
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 2
        let_pass(store, clock, 10**6)
        assert claim(store) == claim(store, holder=Holder(name="one", token="one 2")) == []
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 2

    def test_what_is_released_comes_at_once_and_after_new_ones(self, store: Store) -> None:
        came(store, 3)
        first, second, third = claim(store, 2) + claim(store, 1)
        assert store.release_inbound("inbox", [first], token=ONE.token) == 1
        assert claim(store, holder=TWO) == [first]
        store.release_inbound("inbox", [first], token=TWO.token)
        store.release_inbound("inbox", [third, second], token=ONE.token)
        came(store, 1, first=3)
        (newest,) = (one.id for one in store.inbound(after_id=third))
        found = store.claim_inbound("inbox", holder=ONE, limit=9, lease_s=1)
        assert [(one.inbound.id, one.attempts) for one in found] == [(newest, 1), (second, 2), (third, 2), (first, 3)]

    def test_one_that_always_fails_does_not_hold_up_the_others(self, store: Store) -> None:
        came(store, 2)
        seen = []
        for n in range(4):
            holder = Holder(name="one", token=f"try {n}")
            seen += claim(store, 1, holder=holder)
        assert seen == [one.id for one in store.inbound()] * 2

    def test_a_lease_that_ended_ends_the_claim(self, store: Store, clock: Clock) -> None:
        came(store, 2)
        ids = claim(store)
        let_pass(store, clock, 100)
        assert store.extend_inbound("inbox", ids[:1], token=ONE.token, lease_s=120) == 1
        let_pass(store, clock, 20)
        assert claim(store, holder=TWO) == ids[1:]
        # Whoever is late has no say in what another holds now.
        assert store.extend_inbound("inbox", ids, token=ONE.token, lease_s=120) == 1
        assert store.release_inbound("inbox", ids[1:], token=ONE.token) == 0
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 1
        assert store.ack_inbound("inbox", ids[1:], token=TWO.token) == 1

    def test_late_but_nobody_else_came(self, store: Store, clock: Clock) -> None:
        came(store, 1)
        ids = claim(store)
        let_pass(store, clock, 10_000)
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 1
        assert claim(store, holder=TWO) == []

    def test_who_begins_again_takes_its_own_over_at_once(self, store: Store) -> None:
        came(store, 2)
        ids = claim(store)
        again = Holder(name=ONE.name, token="one 2")
        assert claim(store, holder=TWO) == []
        # The same try never gets a message twice: two of its threads may claim.
        assert claim(store) == []
        assert claim(store, holder=again) == ids
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 0
        assert store.ack_inbound("inbox", ids, token=again.token) == 2

    @pytest.mark.postgres
    @pytest.mark.parametrize("days", [-1, 1])
    def test_a_machine_whose_clock_is_wrong_neither_takes_nor_loses(self, postgres_store: Store, days: int) -> None:
        """On a database that machines share the database's clock counts."""
        wrong = Store(
            postgres_store._db.url.render_as_string(hide_password=False),
            clock=lambda: datetime.now(UTC) + timedelta(days=days),
        )
        came(postgres_store, 2)
        (first,) = claim(postgres_store, 1)
        (second,) = claim(wrong, 1, holder=TWO)
        assert wrong.extend_inbound("inbox", [second], token=TWO.token, lease_s=120) == 1
        for store in (postgres_store, wrong):
            assert claim(store, holder=Holder(name="three", token="three")) == []
            assert store.waiting_inbound("inbox") == WaitingInbound()
            assert store.hand_back_inbound("inbox", [first, second]) == 0
        wrong.close()

    def test_nothing_wanted_and_nobody_asking(self, store: Store) -> None:
        came(store, 1)
        assert claim(store, 0) == []
        for work in (store.ack_inbound, store.release_inbound):
            assert work("inbox", [], token="x") == 0
        with pytest.raises(InputError, match="consumer"):
            claim(store, consumer=" ")

    def test_large_lots(self, store: Store) -> None:
        came(store, 2500)
        ids = claim(store, 2500)
        assert len(ids) == 2500
        assert store.release_inbound("inbox", ids, token=ONE.token) == 2500
        assert claim(store, 2500) == ids
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 2500


class TestParking:
    def fail(self, store: Store, ids: list[int]) -> list[int]:
        store.release_inbound("inbox", ids, token=ONE.token)
        return store.park_inbound("inbox", holder=ONE, max_attempts=2)

    def test_what_fails_too_often_waits_no_more(self, store: Store) -> None:
        came(store, 2)
        bad, good = claim(store, max_attempts=2)
        store.ack_inbound("inbox", [good], token=ONE.token)
        assert self.fail(store, [bad]) == []
        assert store.waiting_inbound("inbox").count == 1
        assert claim(store, max_attempts=2) == [bad]
        assert self.fail(store, [bad]) == [bad]
        assert self.fail(store, [bad]) == []
        assert store.waiting_inbound("inbox").count == 0
        # Whoever asks, with a limit or without.
        assert claim(store) == claim(store, holder=TWO, max_attempts=9) == []
        assert claim(store, holder=Holder(name=ONE.name, token="one 2")) == []
        found = store.inbound_claims("inbox", [bad])[bad]
        assert (found.state, found.attempts, found.lease_until) == (ClaimState.PARKED, 2, None)

    def test_neighbours_of_a_bad_one_are_not_parked_with_it(self, store: Store) -> None:
        came(store, 5)
        (bad, *good) = claim(store, max_attempts=3)
        handled: list[int] = []
        lots = [[bad, *good]]
        while lots[-1]:
            # A task that dies on the bad one, whatever it was given beside it.
            if bad in lots[-1]:
                store.release_inbound("inbox", lots[-1], token=ONE.token)
                store.park_inbound("inbox", holder=ONE, max_attempts=3)
            else:
                store.ack_inbound("inbox", lots[-1], token=ONE.token)
                handled += lots[-1]
            lots.append(claim(store, max_attempts=3))
        assert lots == [[bad, *good], [bad, *good], [bad], *([one] for one in good), []]
        assert handled == good
        assert [one.id for one in store.parked_inbound("inbox")] == [bad]

    def test_new_ones_come_before_a_last_attempt(self, store: Store) -> None:
        came(store, 1)
        self.fail(store, claim(store))
        came(store, 2, first=1)
        assert claim(store, 1, max_attempts=2) == [store.inbound()[1].id]
        assert claim(store, max_attempts=2) == [store.inbound()[2].id]
        assert claim(store, max_attempts=2) == [store.inbound()[0].id]

    def test_the_only_attempt_is_alone_as_well(self, store: Store) -> None:
        came(store, 2)
        ids = [one.id for one in store.inbound()]
        assert [claim(store, max_attempts=1) for _ in range(3)] == [ids[:1], ids[1:], []]

    def test_what_killed_its_worker_is_parked_when_its_lease_has_ended(self, store: Store, clock: Clock) -> None:
        came(store, 2)
        ids = claim(store)
        assert store.park_inbound("inbox", holder=TWO, max_attempts=1) == []
        # Nor what it works on itself.
        assert store.park_inbound("inbox", holder=ONE, max_attempts=1) == []
        let_pass(store, clock, 120)
        assert claim(store, max_attempts=1) == []
        assert store.park_inbound("inbox", holder=TWO, max_attempts=1) == ids
        # Who held them was late, and not dead: what it did counts.
        assert store.ack_inbound("inbox", ids, token=ONE.token) == 2
        assert store.parked_inbound("inbox") == []

    def test_the_next_try_parks_what_killed_the_one_before(self, store: Store) -> None:
        came(store, 1)
        ids = claim(store)
        again = Holder(name=ONE.name, token="one 2")
        assert store.park_inbound("inbox", InboundFilter(keyword="no"), holder=again, max_attempts=1) == []
        assert store.park_inbound("inbox", holder=again, max_attempts=1) == ids

    def test_listed_and_handed_back(self, store: Store) -> None:
        came(store, 3)
        ids = claim(store)
        store.release_inbound("inbox", ids[1:], token=ONE.token)
        store.park_inbound("inbox", holder=ONE, max_attempts=1)
        claim(store, consumer="other")
        assert [one.id for one in store.parked_inbound("inbox")] == ids[1:]
        assert [one.id for one in store.parked_inbound("inbox", 1)] == ids[1:2]
        assert [one.id for one in store.parked_inbound("inbox", after_id=ids[1])] == ids[2:]
        assert store.parked_inbound("inbox", wanted=InboundFilter(keyword="no")) == []
        assert store.parked_inbound("other") == []
        # Kept as long as what waits.
        assert store.prune(START + timedelta(seconds=1)).inbound == 0
        assert store.hand_back_inbound("inbox", ids[1:]) == 2
        found = store.claim_inbound("inbox", holder=TWO, limit=9, lease_s=1, max_attempts=2)
        assert [(one.inbound.id, one.attempts) for one in found] == [(one, 1) for one in ids[1:]]


class TestFilters:
    def test_each(self, store: Store, clock: Clock) -> None:
        other = replace(
            MESSAGE,
            digest="other",
            conn_id="mm7_other",
            sender="+64 21 999",
            recipients=("+6422", "9_9"),
            linked_id=None,
            text="  'no,' she said",
            parts=(),
        )
        bare = replace(MESSAGE, digest="bare", sender=None, recipients=("9x9",), linked_id=None, text=None, parts=())
        store.add_inbound([MESSAGE, other])
        clock.advance(10)
        store.add_inbound([bare])
        a, b, c = (one.id for one in store.inbound())
        wanted: list[tuple[InboundFilter, list[int]]] = [
            (ANY, [a, b, c]),
            (InboundFilter(conn_id="mm7_other"), [b]),
            (InboundFilter(short_code="111122"), [a]),
            (InboundFilter(short_code="1111"), []),
            (InboundFilter(short_code="6422"), [a, b]),
            (InboundFilter(short_code="shop@x"), []),
            (InboundFilter(sender="6421/TYPE=PLMN"), [a]),
            (InboundFilter(sender="+6421999"), [b]),
            (InboundFilter(keyword="Yes!"), [a]),
            (InboundFilter(keyword="NO"), [b]),
            (InboundFilter(has_media=True), [a]),
            (InboundFilter(has_media=False), [b, c]),
            (InboundFilter(linked_id="l1"), [a]),
            (InboundFilter(since=START + timedelta(seconds=10)), [c]),
            (InboundFilter(has_media=False, conn_id="mm7_default"), [c]),
        ]
        for number, (one, ids) in enumerate(wanted):
            assert [found.id for found in store.inbound(wanted=one)] == ids
            assert store.waiting_inbound("inbox", one).count == len(ids)
            assert claim(store, wanted=one, consumer=f"consumer {number}") == ids

    def test_a_wildcard_is_a_letter(self, store: Store) -> None:
        store.add_inbound([replace(MESSAGE, recipients=("a_b",)), replace(MESSAGE, recipients=("axb",), digest="2")])
        assert len(store.inbound(wanted=InboundFilter(short_code="A_B"))) == 1

    def test_as_values(self) -> None:
        one = InboundFilter(sender="+64 21", keyword="yes, yes", since=START, has_media=False)
        assert one == InboundFilter.from_json(one.as_json())
        assert one == InboundFilter(sender="6421", keyword="YES", since=START, has_media=False)
        assert one.as_json() == {
            "sender": "6421",
            "keyword": "yes",
            "has_media": False,
            "since": "2026-01-20T09:30:47+00:00",
        }
        assert ANY.as_json() == {}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"keyword": "?!"},
            {"short_code": ""},
            {"sender": " "},
            {"linked_id": ""},
            {"since": START.replace(tzinfo=None)},
        ],
    )
    def test_what_can_never_match_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(InputError, match=next(iter(wrong))):
            InboundFilter(**wrong)  # type: ignore[arg-type]

    def test_filters_of_one_consumer_share_its_claims(self, store: Store) -> None:
        came(store, 3)
        assert len(claim(store, 2, wanted=InboundFilter(keyword="yes"))) == 2
        assert len(claim(store)) == 1
        came(store, 1, first=3)
        assert len(claim(store, wanted=InboundFilter(has_media=True))) == 1
        assert claim(store) == []


class TestWaiting:
    def test_counts_what_could_be_claimed(self, store: Store, clock: Clock) -> None:
        assert store.waiting_inbound("inbox") == WaitingInbound()
        came(store, 3)
        newest = store.inbound()[-1].id
        assert store.waiting_inbound("inbox") == WaitingInbound(count=3, newest_id=newest)
        ids = claim(store, 2)
        assert store.waiting_inbound("inbox") == WaitingInbound(count=1, newest_id=newest)
        store.release_inbound("inbox", ids[:1], token=ONE.token)
        store.ack_inbound("inbox", claim(store, 1), token=ONE.token)
        assert store.waiting_inbound("inbox") == WaitingInbound(count=1)
        let_pass(store, clock, 120)
        assert store.waiting_inbound("inbox") == WaitingInbound(count=2)
        assert store.waiting_inbound("another") == WaitingInbound(count=3, newest_id=newest)

    def test_up_to_a_bound(self, store: Store) -> None:
        came(store, 1001)
        ids = claim(store, 600)
        store.release_inbound("inbox", ids, token=ONE.token)
        assert store.waiting_inbound("inbox").count == 1000


class TestCursor:
    def test_follows_claims_and_what_is_not_wanted(self, store: Store) -> None:
        came(store, 5)
        ids = [one.id for one in store.inbound()]
        claim(store, 2)
        assert cursors(store) == [ids[1]]
        claim(store)
        assert cursors(store) == [ids[4]]
        claim(store, wanted=InboundFilter(keyword="no"), consumer="other")
        assert cursors(store) == [ids[4], ids[4]]

    def test_a_release_behind_it_is_found(self, store: Store, clock: Clock) -> None:
        came(store, 5)
        ids = claim(store)
        let_pass(store, clock, 1000)
        assert claim(store, 2, holder=TWO) == ids[:2]

    def test_waiting_moves_it_over_many_that_are_not_wanted(self, store: Store) -> None:
        wanted = InboundFilter(keyword="no")
        came(store, 1)
        assert claim(store, wanted=wanted) == []
        (before,) = cursors(store)
        came(store, 999, first=1)
        store.waiting_inbound("inbox", wanted)
        assert cursors(store) == [before]
        came(store, 1, first=1000)
        store.waiting_inbound("inbox", wanted)
        assert cursors(store) == [before + 1000]
        came(store, 1, first=1001, message=replace(MESSAGE, text="no"))
        assert store.waiting_inbound("inbox", wanted).count == len(claim(store, wanted=wanted)) == 1

    def test_filters_of_one_number_or_run_leave_none(self, store: Store) -> None:
        came(store, 1)
        for one in (InboundFilter(linked_id="l1"), InboundFilter(sender="6421"), InboundFilter(since=START)):
            claim(store, wanted=one)
        assert cursors(store) == []

    def test_never_moves_back(self, store: Store) -> None:
        came(store, 3)
        newest = store.inbound()[-1].id
        claim(store, 3)
        store._db.write(lambda connection: connection.execute(sa.text("DELETE FROM mm7_inbound_claim")))
        store._db.write(lambda connection: connection.execute(sa.text("DELETE FROM mm7_inbound")))
        claim(store)
        assert cursors(store) == [newest]


class TestByHand:
    def test_states(self, store: Store) -> None:
        came(store, 4)
        before = now_of(store)
        ids = claim(store, 3)
        store.ack_inbound("inbox", ids[:1], token=ONE.token)
        store.release_inbound("inbox", ids[1:2], token=ONE.token)
        found = store.inbound_claims("inbox", [one.id for one in store.inbound()])
        assert {key: one.state for key, one in found.items()} == {
            ids[0]: ClaimState.DONE,
            ids[1]: ClaimState.RELEASED,
            ids[2]: ClaimState.CLAIMED,
        }
        held = found[ids[2]]
        assert (held.holder, held.attempts) == ("one", 1)
        assert held.lease_until is not None
        assert before <= held.lease_until - timedelta(seconds=120) <= now_of(store)

    def test_handing_back(self, store: Store, clock: Clock) -> None:
        came(store, 3)
        done, released, held = claim(store)
        store.ack_inbound("inbox", [done], token=ONE.token)
        store.release_inbound("inbox", [released], token=ONE.token)
        assert store.hand_back_inbound("inbox", [done, released, held]) == 2
        found = store.claim_inbound("inbox", holder=TWO, limit=9, lease_s=120)
        assert [(one.inbound.id, one.attempts) for one in found] == [(done, 1), (released, 1)]
        let_pass(store, clock, 120)
        assert store.hand_back_inbound("inbox", [held]) == 1


class TestPruning:
    def test_claims_go_with_their_messages(self, store: Store) -> None:
        came(store, 3)
        done, released, held = claim(store)
        store.ack_inbound("inbox", [done], token=ONE.token)
        store.release_inbound("inbox", [released], token=ONE.token)
        claim(store, consumer="other", limit=1)
        store.ack_inbound("other", [done], token=ONE.token)
        later = START + timedelta(seconds=1)
        assert store.prune(START, unfinished=True).inbound == 0
        assert store.prune(later).inbound == 1
        assert [one.id for one in store.inbound()] == [released, held]
        assert store.prune(later, unfinished=True).inbound == 2
        assert store.inbound_claims("inbox", [done, released, held]) == {}
        assert store.ack_inbound("inbox", [held], token=ONE.token) == 0

    def test_in_chunks(self, store: Store) -> None:
        came(store, 2001)
        store.ack_inbound("inbox", claim(store, 1500), token=ONE.token)
        assert store.prune(START + timedelta(seconds=1)).inbound == 2001

    def test_a_claim_and_a_prune_at_once(self, store: Store) -> None:
        came(store, 1)
        later = START + timedelta(seconds=1)
        with ThreadPoolExecutor(1) as pool:
            with held_before_commit(store, lambda: claim(store)) as claiming:
                pruning: Future[object] = pool.submit(lambda: store.prune(later).inbound)
                wait_until_blocked(store, pruning)
            assert len(claiming.result(60)) == 1  # type: ignore[arg-type]
            assert pruning.result(60) == 0
            with held_before_commit(store, lambda: store._prune_inbound(later, unfinished=True)):
                again: Future[object] = pool.submit(lambda: claim(store, holder=Holder(name="one", token="one 2")))
                wait_until_blocked(store, again)
            assert again.result(60) == []


class TestConcurrency:
    def test_threads_share_without_overlap(self, store: Store) -> None:
        came(store, 200)
        filters = (ANY, InboundFilter(keyword="yes"), InboundFilter(has_media=True), InboundFilter(linked_id="l1"))

        def drain(number: int) -> list[int]:
            got: list[int] = []
            holder = Holder(name=f"h{number}", token=f"t{number}")
            while ids := claim(store, 7, holder=holder, wanted=filters[number]):
                got += ids
                store.ack_inbound("inbox", ids, token=holder.token)
            return got

        lots = cast(list[list[int]], together(*[partial(drain, number) for number in range(4)]))
        got = [one for lot in lots for one in lot]
        assert sorted(got) == [one.id for one in store.inbound(1000)]

    def test_processes_share_without_overlap(self, store: Store, either_ledger_url: str) -> None:
        came(store, 100)
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(3, mp_context=context) as pool:
            barrier = manager.Barrier(3)
            futures = [pool.submit(consume_in_process, either_ledger_url, barrier) for _ in range(3)]
            got = [one for future in futures for one in future.result(120)]
        assert sorted(got) == [one.id for one in store.inbound(1000)]

    def test_messages_that_come_while_others_are_claimed(self, store: Store) -> None:
        """The cursor passes over nothing that commits later."""
        over = threading.Event()

        def post(start: int) -> list[int]:
            for n in range(30):
                came(store, 2, first=start + 2 * n)
            return []

        def drain(token: str) -> list[int]:
            got: list[int] = []
            while True:
                last = over.is_set()
                ids = claim(store, 5, holder=Holder(name=token, token=token))
                got += ids
                if last and not ids:
                    return got

        with ThreadPoolExecutor(4) as pool:
            drains = [pool.submit(drain, token) for token in "ab"]
            posts = [pool.submit(post, 1000 * n) for n in range(2)]
            for future in posts:
                future.result(60)
            over.set()
            got = [one for future in drains for one in future.result(60)]
        assert sorted(got) == [one.id for one in store.inbound(1000)]
        assert len(got) == 120


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (ANY, "mm7_inbound"),
        (InboundFilter(keyword="yes", short_code="111122"), "mm7_inbound"),
        (InboundFilter(linked_id="l1"), "ix_mm7_inbound_linked_id_id"),
        (InboundFilter(sender="6421"), "ix_mm7_inbound_sender_key_id"),
    ],
    ids=["any", "words", "linked", "sender"],
)
def test_no_table_is_read_whole(store: Store, wanted: InboundFilter, index: str) -> None:
    came(store, 50)
    ids = claim(store, 20)
    store.release_inbound("inbox", ids[:10], token=ONE.token)

    def work() -> None:
        store.waiting_inbound("inbox", wanted)
        more = claim(store, 40, wanted=wanted)
        store.extend_inbound("inbox", more, token=ONE.token, lease_s=1)
        store.release_inbound("inbox", more[:1], token=ONE.token)
        store.ack_inbound("inbox", more, token=ONE.token)
        store.inbound_claims("inbox", more)

    heard = [(text, values) for text, values in statements_of(store, work) if "pg_advisory" not in text]
    plans = [plan_of(store, text, values) for text, values in heard]
    few = {"mm7_inbound_cursor"}
    assert [line for plan in plans for line in scans(plan) if not few & set(line.split())] == []
    assert any("ix_mm7_inbound_claim_open" in plan for plan in plans)
    assert any(index in plan for plan in plans)
