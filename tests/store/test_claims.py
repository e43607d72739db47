from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import NewSubmission, Owner, Settlement, State, Store, Submission, moves
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.tables import batch_count, batch_minute, submission
from tests.store.conftest import START, Clock, let_pass
from tests.store.make import claim, numbers, owner, planned, report, settled, transaction
from tests.support.mmsc import mmsc
from tests.support.sending import run


def state_of(store: Store, item: Submission) -> State:
    return next(one for one in store.submissions(item.batch_id) if one.id == item.id).state


class TestClaiming:
    def test_rows_are_got_once_in_order_each_with_a_transaction(self, store: Store) -> None:
        batch = planned(store, 5)
        first, rest = claim(store, batch, 2), claim(store, batch, 10)
        assert [item.recipient for item in first + rest] == numbers(5)
        assert claim(store, batch) == []
        assert len({item.transaction_id for item in first + rest}) == 5
        assert {(item.state, item.attempts) for item in first + rest} == {(State.SENDING, 1)}

    def test_what_is_returned_is_committed(self, store: Store, either_ledger_url: str) -> None:
        batch = planned(store, 2)
        items = claim(store, batch)
        other = Store(either_ledger_url)
        assert other.submissions(batch.batch_id) == items
        other.close()

    def test_a_group_shares_its_transaction(self, store: Store) -> None:
        batch = planned(store, 5)
        ids = [item.transaction_id for item in claim(store, batch, group=2)]
        assert ids[0] == ids[1] != ids[2] == ids[3] != ids[4]

    def test_other_batches_are_left_alone(self, store: Store) -> None:
        one, two = planned(store, 2, key="1"), planned(store, 2, key="2")
        assert {item.batch_id for item in claim(store, one)} == {one.batch_id}
        assert store.summary(two.batch_id).planned == 2

    def test_a_failing_transaction_id_claims_nothing(self, store: Store) -> None:
        batch = planned(store, 2)

        def broken() -> str:
            raise RuntimeError("no entropy")

        with pytest.raises(RuntimeError):
            store.claim(batch.batch_id, owner(), limit=1, lease_s=1, transaction_id=broken)
        assert store.summary(batch.batch_id).planned == 2


class TestRetries:
    def test_a_retry_is_claimed_when_it_is_due_after_what_is_planned(self, store: Store, clock: Clock) -> None:
        batch = planned(store, 3)
        first, second = claim(store, batch, 2)
        store.settle(batch.batch_id, settled([first], State.RETRY), retry_after_s=30)
        store.settle(batch.batch_id, [Settlement(submission_id=second.id, state=State.RETRY, retry_after_s=10)])
        assert store.next_due(batch.batch_id) is not None
        assert [item.attempts for item in claim(store, batch)] == [1]
        assert store.next_due(batch.batch_id) == START + timedelta(seconds=10)
        clock.advance(9.9)
        assert claim(store, batch) == []
        clock.advance(20.1)
        again = claim(store, batch)
        assert [(item.id, item.attempts) for item in again] == [(second.id, 2), (first.id, 2)]
        assert not {item.transaction_id for item in again} & {first.transaction_id, second.transaction_id}
        assert store.next_due(batch.batch_id) is None

    def test_a_retry_without_a_time_waits_until_somebody_asks(self, store: Store, clock: Clock) -> None:
        batch = planned(store, 2)
        items = claim(store, batch, 1)
        store.settle(batch.batch_id, settled(items, State.RETRY))
        claim(store, batch)
        clock.advance(1e9)
        assert claim(store, batch) == []
        assert store.next_due(batch.batch_id) is None
        assert store.submissions(batch.batch_id, states=[State.RETRY])[0].not_before is None
        assert store.requeue_retries(batch.batch_id) == 1
        assert [item.id for item in claim(store, batch)] == [items[0].id]


class TestSettling:
    def test_records_the_answer(self, store: Store) -> None:
        batch = planned(store)
        (item,) = claim(store, batch)
        answer = Settlement(submission_id=item.id, state=State.REFUSED, status_code=2002, status_text="Address\0Error")
        assert store.settle(batch.batch_id, [answer]) == 1
        (found,) = store.submissions(batch.batch_id)
        assert (found.state, found.status_code, found.status_text) == (State.REFUSED, 2002, "Address\ufffdError")
        assert found.transaction_id == item.transaction_id

    def test_accepted_is_never_left(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items))
        for state in State:
            assert store.settle(batch.batch_id, settled(items, state, message_id="other")) == 0
        (found,) = store.submissions(batch.batch_id)
        assert (found.state, found.message_id) == (State.ACCEPTED, f"m-{found.recipient}")

    @pytest.mark.parametrize("state", [State.ACCEPTED, State.REFUSED, State.RETRY])
    def test_a_late_answer_ends_the_doubt(self, store: Store, state: State) -> None:
        batch = planned(store)
        items = claim(store, batch)
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: False) == 1
        assert store.settle(batch.batch_id, settled(items, state)) == 1
        assert state_of(store, items[0]) is state

    @pytest.mark.parametrize("state", [State.REFUSED, State.RETRY, State.UNKNOWN])
    def test_an_answer_settles_what_is_planned_or_final_only_once(self, store: Store, state: State) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items, state))
        if state is not State.UNKNOWN:
            # One that names its request is another matter: see below.
            nameless = [replace(answer, transaction_id=None) for answer in settled(items)]
            assert store.settle(batch.batch_id, nameless) == 0
        assert store.settle(batch.batch_id, settled(items, state)) == 0
        assert state_of(store, items[0]) is state

    def test_an_answer_to_an_earlier_request_changes_nothing(self, store: Store) -> None:
        batch = planned(store)
        (first,) = claim(store, batch)
        store.settle_abandoned(batch.batch_id, is_alive=lambda _: False)
        store.requeue_unknown(batch.batch_id)
        claim(store, batch, token="two")
        late = Settlement(submission_id=first.id, state=State.REFUSED, transaction_id=first.transaction_id)
        assert store.settle(batch.batch_id, [late]) == 0
        assert state_of(store, first) is State.SENDING

    def test_a_late_acceptance_stops_a_planned_second_request(self, store: Store) -> None:
        batch = planned(store)
        (first,) = claim(store, batch)
        store.settle_abandoned(batch.batch_id, is_alive=lambda _: False)
        store.requeue_unknown(batch.batch_id)
        late = Settlement(
            submission_id=first.id, state=State.ACCEPTED, message_id="m-1", transaction_id=first.transaction_id
        )
        assert store.settle(batch.batch_id, [late]) == 1
        assert claim(store, batch) == []

    def test_one_commit_for_a_group(self, store: Store) -> None:
        batch = planned(store, 3)
        items = claim(store, batch)
        bad = Settlement(submission_id=items[1].id, state=State.ACCEPTED, message_id="m", status_code=10**30)
        with pytest.raises(Exception, match=r"."):
            store.settle(batch.batch_id, [*settled(items[:1]), bad])
        assert store.summary(batch.batch_id).sending == 3

    def test_rows_of_other_batches_and_unknown_rows_do_not_move(self, store: Store) -> None:
        one, two = planned(store, key="1"), planned(store, key="2")
        items = claim(store, one)
        assert store.settle(two.batch_id, settled(items)) == 0
        assert store.settle(one.batch_id, [Settlement(submission_id=10**9, state=State.ACCEPTED)]) == 0
        assert store.settle(one.batch_id, []) == 0

    def test_an_empty_message_id_matches_nothing(self, store: Store) -> None:
        batch = planned(store)
        items = claim(store, batch)
        store.settle(batch.batch_id, [Settlement(submission_id=items[0].id, state=State.ACCEPTED, message_id="")])
        assert store.add_reports([report("", recipient=items[0].recipient)]) == [True]
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].by_status == {}


class TestTheUsualWay:
    """Rows that are accepted as they were claimed are settled together, by one statement."""

    #: What may have happened to a row since it was claimed.
    FATES = ("kept", "kept", "kept", "early", "lost", "given back", "taken again", "accepted", "odd")

    def settle_all(self, store: Store, key: str, seed: int) -> tuple[int, list[tuple[object, ...]]]:
        """Settle rows of all fates by all kinds of answers; tell how many changed and what stands there now."""
        draw = random.Random(seed)
        batch_id = planned(store, 24, key=key).batch_id
        items: dict[int, tuple[str, Submission]] = {}
        for n in range(24):
            # With a report that waits for its submission, each row is looked at.
            fate = draw.choice([fate for fate in self.FATES if seed % 2 or fate != "early"])
            (item,) = claim(store, batch_id, 1, token=f"{key} {fate}")
            items[n] = fate, item
        of = {fate: [item for had, item in items.values() if had == fate] for fate in self.FATES}
        store.settle(batch_id, settled(of["accepted"]))
        store.settle_abandoned(batch_id, is_alive=lambda one: one.token != f"{key} lost")
        for fate in ("taken again", "given back"):
            store.release([item.id for item in of[fate]], owner(f"{key} {fate}"))
            if fate == "taken again":
                claim(store, batch_id, len(of[fate]), token=f"{key} again")
        # No row that is being sent has one. Were there such a row, the counts would still be right.
        odd, counts = [item.id for item in of["odd"]], Counts()
        counts.remove(batch_id, State.SENDING, n=len(odd))
        counts.add(batch_id, State.SENDING, "Deferred", n=len(odd))

        def make_odd(connection: sa.Connection) -> None:
            connection.execute(sa.update(submission).where(submission.c.id.in_(odd)).values(delivery="Deferred"))
            counts.apply(connection)

        store._db.write(make_odd)
        store.add_reports(
            [report(f"{key} {n}", recipient=item.recipient) for n, (fate, item) in items.items() if fate == "early"]
        )
        wanted = [
            Settlement(
                submission_id=item.id,
                state=draw.choice([*[State.ACCEPTED] * 5, State.REFUSED, State.UNKNOWN]),
                message_id=draw.choice([f"{key} {n}"] * 5 + ["", None]),
                status_code=draw.choice([1000, 1000, 1100]),
                status_text="Suc\0cess",
                transaction_id=draw.choice([item.transaction_id] * 5 + ["of another request", None]),
            )
            for n, (_, item) in items.items()
        ]
        changed = store.settle(batch_id, wanted)

        def look(connection: sa.Connection) -> list[tuple[object, ...]]:
            columns = ("state", "delivery", "message_id", "status_code", "status_text", "attempts", "not_before")
            held = submission.c.lease_until.is_not(None), submission.c.owner_token
            chosen = sa.select(*(submission.c[name] for name in columns), *held)
            rows = connection.execute(chosen.where(submission.c.batch_id == batch_id).order_by(submission.c.id)).all()
            counted = sa.select(batch_count).where(batch_count.c.batch_id == batch_id, batch_count.c.n != 0)
            told = {(row.state, row.delivery): row.n for row in connection.execute(counted)}
            assert told == Counter((row.state, row.delivery) for row in rows)
            what = batch_minute.c.what
            minutes = sa.select(what, sa.func.sum(batch_minute.c.n)).where(batch_minute.c.batch_id == batch_id)
            news = connection.execute(minutes.group_by(what).order_by(what)).all()
            return [tuple(str(value).replace(key, "") for value in row) for row in (*rows, *news)]

        return changed, store._db.read(look)

    @pytest.mark.parametrize("seed", range(16))
    def test_comes_to_the_same_as_to_look_at_each_row(
        self, store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usual = self.settle_all(store, "k1", seed)
        monkeypatch.setattr(moves, "_accept", lambda *_, **__: 0)
        assert self.settle_all(store, "k2", seed) == usual

    def test_is_taken_by_what_the_engine_says(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Though there are reports that no message was sent for, as there are in every ledger in use."""
        store.add_reports([report(f"elsewhere {n}") for n in range(3)])
        monkeypatch.setattr(moves, "_move", lambda *_, **__: pytest.fail("looked at each row"))
        with mmsc() as centre:
            result = run(store, centre.url, tuple(numbers(3)))
        assert result.summary.accepted == 3

    def test_is_not_taken_by_messages_that_are_reported_on(self, store: Store) -> None:
        batch = planned(store, 3)
        store.add_reports([report("m-+6421100001")])
        assert store.settle(batch.batch_id, settled(claim(store, batch))) == 3
        assert store.delivery_of_batches([batch.batch_id])[batch.batch_id].by_status == {"Retrieved": 1}

    def test_leaves_rows_of_other_batches_alone(self, store: Store) -> None:
        one, two = planned(store, key="1"), planned(store, key="2")
        assert store.settle(two.batch_id, settled(claim(store, one))) == 0
        assert store.summary(one.batch_id).sending == 1


class TestGivingBack:
    def test_released_rows_are_planned_and_the_attempt_does_not_count(self, store: Store) -> None:
        batch = planned(store, 3)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items[2:]))
        assert store.release([item.id for item in items], owner("somebody else")) == 0
        assert store.release([item.id for item in items], owner()) == 2
        assert [(item.id, item.attempts) for item in claim(store, batch)] == [(item.id, 1) for item in items[:2]]

    def test_a_split_group_gets_transactions_of_its_own(self, store: Store) -> None:
        batch = planned(store, 3)
        group = claim(store, batch, group=3)
        store.settle(batch.batch_id, settled(group[:1]))
        singles = store.split(batch.batch_id, group, transaction_id=transaction)
        assert [item.id for item in singles] == [item.id for item in group[1:]]
        assert len({group[0].transaction_id, *(item.transaction_id for item in singles)}) == 3
        assert store.submissions(batch.batch_id, states=[State.SENDING]) == singles
        assert store.split(batch.batch_id, group, transaction_id=transaction) == []


class TestAbandoned:
    def test_the_dead_leave_doubt_the_living_keep_their_rows(self, store: Store) -> None:
        batch = planned(store, 3)
        claim(store, batch, 1, token="dead"), claim(store, batch, 1, token="alive")
        asked: list[Owner] = []

        def alive(who: Owner) -> bool:
            asked.append(who)
            return who.token == "alive"

        assert store.settle_abandoned(batch.batch_id, is_alive=alive) == 1
        assert sorted(asked, key=lambda who: who.token) == [owner("alive"), owner("dead")]
        states = [item.state for item in store.submissions(batch.batch_id)]
        assert states == [State.UNKNOWN, State.SENDING, State.PLANNED]

    def test_of_whom_nothing_is_known_the_lease_decides(self, store: Store, clock: Clock) -> None:
        batch = planned(store)
        claim(store, batch)
        let_pass(store, clock, 50)
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: None) == 0
        assert store.extend_lease(batch.batch_id, owner(), lease_s=60) == 1
        let_pass(store, clock, 50)
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: None) == 0
        let_pass(store, clock, 10.1)
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: True) == 0
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: None) == 1

    @pytest.mark.postgres
    @pytest.mark.parametrize("hours", [-1, 1])
    def test_a_machine_whose_clock_is_wrong_gives_nobody_up(
        self, postgres_store: Store, clock: Clock, hours: int
    ) -> None:
        """What it claims is not over at once elsewhere, and what others claim is not over for it."""
        batch = planned(postgres_store, 2)
        url = postgres_store._db.url.render_as_string(hide_password=False)
        wrong = Store(url, clock=lambda: clock() + timedelta(hours=hours))
        claim(postgres_store, batch, 1, token="right")
        claim(wrong, batch, 1, token="wrong")
        assert wrong.extend_lease(batch.batch_id, owner("wrong"), lease_s=60) == 1
        for store in (postgres_store, wrong):
            assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: None) == 0
        let_pass(postgres_store, clock, 61)
        assert wrong.settle_abandoned(batch.batch_id, is_alive=lambda _: None) == 2
        wrong.close()

    def test_unknown_rows_are_sent_again_only_when_told(self, store: Store) -> None:
        batch = planned(store, 1200)
        claim(store, batch, 1200)
        assert store.settle_abandoned(batch.batch_id, is_alive=lambda _: False) == 1200
        assert claim(store, batch) == []
        assert store.requeue_unknown(batch.batch_id) == 1200
        assert len(claim(store, batch, 2000)) == 1200

    def test_planning_between_changes_nothing(self, store: Store) -> None:
        batch = planned(store, 2)
        claim(store, batch)
        store.settle_abandoned(batch.batch_id, is_alive=lambda _: False)
        assert store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(2)]) == 0
        assert store.summary(batch.batch_id).unknown == 2
