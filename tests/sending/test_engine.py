"""The engine over a real store and a loopback MMSC: each message once, and every state recorded."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import (
    AccessDenied,
    AnswerMismatch,
    InputError,
    NotAnMM7Server,
    NotSent,
    OutcomeUnknown,
    RecipientError,
    StoreUnavailable,
)
from airflow_provider_mm7.protocol import Payload, Verdict, dump
from airflow_provider_mm7.sending import FailOn, OnUnknown, SendResult, claim_bound, find_failure, settling
from airflow_provider_mm7.sending import engine as engine_module
from airflow_provider_mm7.sending.owner import this_process
from airflow_provider_mm7.sending.patience import PROBES, TRIES, UNREACHED_LIMIT
from airflow_provider_mm7.sending.workers import Workers
from airflow_provider_mm7.store import (
    BatchSummary,
    NewSubmission,
    Owner,
    Settlement,
    State,
    Store,
    Submission,
    claims,
    moves,
    open_store,
)
from airflow_provider_mm7.transport.client import _AS_OURS
from tests.sending.test_outage import wait_for
from tests.support.inside import inside
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.scripted import free_port
from tests.support.sending import client, hold, message, numbers, run, states

pytestmark = pytest.mark.long

NOW = datetime(2026, 1, 2, 9, 30, 47, tzinfo=UTC)


def test_each_recipient_gets_one_message_and_its_message_id_is_recorded(store: Store) -> None:
    with mmsc() as centre:
        result = run(store, centre.url, numbers(50))
    assert sorted(centre.numbers) == list(numbers(50))
    assert states(result) == {"accepted": 50}
    by_number = {item.recipients[0]: item.transaction_id for item in centre.received}
    for sent in result.messages:
        assert sent.transaction_id == by_number[sent.recipient]
        assert sent.message_id == f"m-{sent.transaction_id}"
        assert (sent.status_code, sent.status_text) == (1000, "Success")


def test_the_batch_is_named_before_the_first_request(store: Store) -> None:
    seen: list[int] = []
    with mmsc() as centre:
        run(store, centre.url, numbers(1), on_batch=lambda batch_id: seen.append(len(centre.received)))
    assert seen == [0]


def test_what_was_accepted_is_never_sent_again_under_the_same_key(store: Store) -> None:
    with mmsc() as centre:
        first = run(store, centre.url, numbers(5))
        again = run(store, centre.url, numbers(5))
        assert len(centre.received) == 5
        assert again.messages == first.messages
        run(store, centre.url, numbers(5), key="another")
        assert len(centre.received) == 10


def test_recipients_added_later_are_sent_and_those_taken_away_are_not(store: Store) -> None:
    with mmsc(status(4006)) as centre:
        run(store, centre.url, numbers(3))
    with mmsc() as centre:
        result = run(store, centre.url, (*numbers(2), "+64219999999"))
    assert sorted(centre.numbers) == [*numbers(2), "+64219999999"]
    assert result.summary.total == 3


def test_two_tasks_under_one_key_with_other_recipients_do_not_lose_one_in_silence(store: Store) -> None:
    one, other = numbers(2)
    with mmsc() as centre:

        def meanwhile(_: str) -> None:
            run(store, centre.url, (other,))

        lost = run(store, centre.url, (one,), on_batch=meanwhile)
    assert centre.numbers == [other]
    assert lost.missing == 1
    failure = find_failure(lost, fail_on=FailOn.ANY, on_unknown=OnUnknown.HOLD)
    assert failure is not None
    assert not failure.retryable
    assert "idempotency_key" in failure.text


def test_two_tasks_under_one_key_with_the_same_recipients_miss_nobody(store: Store) -> None:
    with mmsc() as centre:

        def meanwhile(_: str) -> None:
            run(store, centre.url, numbers(3))

        second = run(store, centre.url, numbers(3), on_batch=meanwhile)
    assert sorted(centre.numbers) == list(numbers(3))
    assert (second.missing, second.summary.accepted) == (0, 3)


def test_the_same_people_in_another_number_format_are_not_written_to_again(store: Store) -> None:
    with mmsc() as centre:
        run(store, centre.url, numbers(3))
        result = run(store, centre.url, (*numbers(3), "+64219999999"), number_format="digits")
    assert centre.numbers[3:] == ["64219999999"]
    assert (result.summary.total, result.summary.accepted) == (4, 4)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (1000, "accepted"),
        (1100, "accepted"),
        (2000, "refused"),
        (2002, "refused"),
        (2999, "refused"),
        (3000, "retry"),
        (3001, "refused"),
        (3003, "refused"),
        (4000, "retry"),
        (4001, "refused"),
        (4006, "retry"),
        (7777, "retry"),
    ],
)
def test_the_status_decides(store: Store, code: int, state: str) -> None:
    with mmsc(status(code, "told so")) as centre:
        result = run(store, centre.url, numbers(1))
    (sent,) = result.messages
    assert (sent.state, sent.status_code, sent.status_text) == (state, code, "told so")
    assert len(centre.received) == (TRIES if state == "retry" else 1)


def test_the_connection_overrides_the_verdict(store: Store) -> None:
    with mmsc(status(2569)) as centre:
        result = run(store, centre.url, numbers(1), overrides={2569: Verdict.RETRY})
    assert states(result) == {"retry": 1}


def test_a_retry_sends_only_what_may_be_sent(store: Store) -> None:
    first, second, third = numbers(3)

    def mixed(received: Received) -> Answer:
        code = {first: 1000, second: 2002, third: 4006}[received.recipients[0]]
        return accept(received) if code == 1000 else status(code)(received)

    with mmsc(mixed) as centre:
        assert states(run(store, centre.url, numbers(3))) == {"accepted": 1, "refused": 1, "retry": 1}
    with mmsc() as centre:
        result = run(store, centre.url, numbers(3))
    assert centre.numbers == [third]
    assert states(result) == {"accepted": 2, "refused": 1}
    assert {item.recipient: item.attempts for item in result.messages} == {first: 1, second: 1, third: TRIES + 1}


class TestGroups:
    def test_one_request_carries_as_many_as_the_mmsc_takes(self, store: Store) -> None:
        with mmsc() as centre:
            result = run(store, centre.url, numbers(7), per_request=3)
        assert sorted(len(item.recipients) for item in centre.received) == [1, 3, 3]
        assert states(result) == {"accepted": 7}
        assert len({item.message_id for item in result.messages}) == 3

    def test_3003_is_resubmitted_one_at_a_time_with_new_transaction_ids(self, store: Store) -> None:
        def singles_only(received: Received) -> Answer:
            return accept(received) if len(received.recipients) == 1 else status(3003)(received)

        with mmsc(singles_only) as centre:
            result = run(store, centre.url, numbers(4), per_request=4, max_connections=1)
        assert [len(item.recipients) for item in centre.received] == [4, 1, 1, 1, 1]
        assert states(result) == {"accepted": 4}
        transactions = [item.transaction_id for item in centre.received]
        assert len(set(transactions)) == 5
        assert {item.transaction_id for item in result.messages} == set(transactions[1:])

    def test_3003_is_learnt_from(self, store: Store) -> None:
        """Who takes no groups is not asked again: at most what was claimed by then is refused."""

        def singles_only(received: Received) -> Answer:
            return accept(received) if len(received.recipients) == 1 else status(3003)(received)

        with mmsc(singles_only) as centre:
            result = run(store, centre.url, numbers(200), per_request=4, max_connections=1)
        assert states(result) == {"accepted": 200}
        assert sum(len(item.recipients) == 4 for item in centre.received) <= claim_bound(1)

    def test_partial_success_refuses_those_named_and_never_resends_the_others(self, store: Store) -> None:
        bad = numbers(3)[1]
        with mmsc(status(1100, "Partial success", details=f"Number: {bad.lstrip('+')}")) as centre:
            result = run(store, centre.url, numbers(3), per_request=3)
            run(store, centre.url, numbers(3), per_request=3)
        assert len(centre.received) == 1
        assert {item.recipient for item in result.messages if item.state is State.REFUSED} == {bad}
        assert states(result) == {"accepted": 2, "refused": 1}


class TestDoubt:
    @staticmethod
    def lost(received: Received) -> Answer:
        return lambda peer: peer.reset()

    def test_an_answer_that_is_lost_is_held(self, store: Store) -> None:
        with mmsc(self.lost) as centre:
            assert states(run(store, centre.url, numbers(1))) == {"unknown": 1}
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(1))) == {"unknown": 1}
            assert centre.received == []

    def test_or_sent_again_when_the_user_says_so(self, store: Store) -> None:
        with mmsc(self.lost) as centre:
            run(store, centre.url, numbers(1), on_unknown=OnUnknown.RESEND)
            assert len(centre.received) == 1
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(1), on_unknown=OnUnknown.RESEND)) == {"accepted": 1}

    def test_but_not_by_the_run_that_is_in_doubt(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine_module, "OTHERS_POLL_S", 0.01)
        batch_id = store.open_batch("k", conn_id="mm7_default").batch_id
        store.plan(batch_id, [NewSubmission(recipient=number) for number in numbers(2)])
        # Another run of this process, which lives, has one of the two, and keeps it.
        store.claim(batch_id, this_process(), limit=1, lease_s=60, transaction_id=lambda: "t")
        looks: list[str] = []
        summary = store.summary

        def counted(batch_id: str) -> BatchSummary:
            looks.append(batch_id)
            return summary(batch_id)

        monkeypatch.setattr(store, "summary", counted)
        with mmsc(self.lost) as centre:
            run(store, centre.url, numbers(2), on_unknown=OnUnknown.RESEND, stopped=lambda: len(looks) > 5)
            assert centre.numbers == [numbers(2)[1]]

    def test_a_silent_mmsc_leaves_doubt(self, store: Store) -> None:
        def silent(received: Received) -> Answer:
            return hold

        with mmsc(silent) as centre:
            assert states(run(store, centre.url, numbers(1), read_timeout_s=0.3)) == {"unknown": 1}


class TestHalting:
    def test_a_dead_mmsc_is_not_hammered_and_the_rest_stays_planned(self, store: Store) -> None:
        result = run(store, f"http://127.0.0.1:{free_port()}/", numbers(500), max_connections=1)
        assert isinstance(result.halted_by, NotSent)
        assert result.summary.planned == 500
        assert sum(item.attempts for item in store.submissions(result.summary.batch_id)) == UNREACHED_LIMIT + PROBES
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(500))) == {"accepted": 500}

    @pytest.mark.parametrize(("http", "error"), [("401 Unauthorized", AccessDenied), ("404 Not Found", NotAnMM7Server)])
    def test_a_closed_door_stops_at_once_and_nothing_is_lost(
        self, store: Store, http: str, error: type[Exception]
    ) -> None:
        with mmsc(lambda received: (http, b"<html/>", {})) as centre:
            result = run(store, centre.url, numbers(100), max_connections=1)
            assert len(centre.received) == 1
        assert isinstance(result.halted_by, error)
        assert result.summary.planned == 100
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(100))) == {"accepted": 100}

    def test_a_server_that_is_no_mmsc_at_all_does_not_put_everyone_in_doubt(self, store: Store) -> None:
        with mmsc(lambda received: ("200 OK", b"<html/>", {"Content-Type": "text/html"})) as centre:
            result = run(store, centre.url, numbers(100), max_connections=1)
            assert len(centre.received) == claim_bound(1)
        assert isinstance(result.halted_by, OutcomeUnknown)
        assert (result.summary.unknown, result.summary.planned) == (claim_bound(1), 100 - claim_bound(1))

    def test_doubt_among_answers_does_not_stop_them(self, store: Store) -> None:
        def every_other(received: Received) -> Answer:
            return ("200 OK", b"", {}) if len(centre.received) % 2 else accept(received)

        with mmsc(every_other) as centre:
            result = run(store, centre.url, numbers(100), max_connections=1)
        assert states(result) == {"accepted": 50, "unknown": 50}
        assert result.halted_by is None

    def test_answers_that_are_mixed_up_stop_at_once(self, store: Store) -> None:
        def of_the_one_before(received: Received) -> Answer:
            asked = centre.received[max(len(centre.received) - 2, 0)].transaction_id
            return "200 OK", dump(accept(received), transaction_id=asked).body, {}

        with mmsc(of_the_one_before) as centre:
            result = run(store, centre.url, numbers(100), max_connections=1)
            assert len(centre.received) == 2
        assert isinstance(result.halted_by, AnswerMismatch)
        assert (result.summary.unknown, result.summary.planned, result.summary.accepted) == (1, 98, 1)

    def test_an_mmsc_that_always_says_the_same_is_believed(self, store: Store) -> None:
        """As a stand-in does that answers with the vendor's example."""

        def canned(received: Received) -> Answer:
            return "200 OK", dump(accept(received), transaction_id="vas00001-sub").body, {}

        with mmsc(canned) as centre:
            assert states(run(store, centre.url, numbers(30), max_connections=2)) == {"accepted": 30}

    def test_transaction_ids_have_the_form_by_which_another_tasks_are_known(self, store: Store) -> None:
        with mmsc() as centre:
            run(store, centre.url, numbers(3), per_request=2)
        assert len(centre.received) == 2
        assert all(_AS_OURS.fullmatch(received.transaction_id) for received in centre.received)


class TestSettingAside:
    """What may be one message's own fault does not keep the others from leaving, in this run or the next."""

    TOO_LARGE: Answer = ("413 Content Too Large", b"<html/>", {})

    def test_the_others_are_sent_and_the_error_is_told(self, store: Store) -> None:
        to = numbers(100)
        large = {to[0], to[50]}

        def answer(received: Received) -> Answer:
            return self.TOO_LARGE if large & {*received.recipients} else accept(received)

        with mmsc(answer) as centre:
            result = run(store, centre.url, to, max_connections=1)
            assert len(centre.received) == 100
        assert states(result) == {"accepted": 98, "retry": 2}
        assert isinstance(result.halted_by, NotAnMM7Server)
        failure = find_failure(result, fail_on=FailOn.ANY, on_unknown=OnUnknown.HOLD)
        assert failure is not None
        assert not failure.retryable
        assert "2 of 100 not sent: HTTP 413" in failure.text

    @pytest.mark.parametrize("how", ["stopped", "last tries"])
    def test_what_another_try_may_send_is_worth_it(self, store: Store, how: str) -> None:
        to = numbers(100)
        came: list[Received] = []

        def answer(received: Received) -> Answer:
            came.append(received)
            if to[0] in received.recipients:
                return self.TOO_LARGE
            return status(4006)(received) if how == "last tries" and to[50] in received.recipients else accept(received)

        with mmsc(answer) as centre:
            result = run(store, centre.url, to, max_connections=1, stopped=lambda: how == "stopped" and len(came) >= 40)
        assert result.summary.accepted > 30
        failure = find_failure(result, fail_on=FailOn.ANY, on_unknown=OnUnknown.HOLD)
        assert failure is not None
        assert failure.retryable

    def test_many_one_after_another_stop_it(self, store: Store) -> None:
        with mmsc(lambda _: self.TOO_LARGE) as centre:
            result = run(store, centre.url, numbers(100), max_connections=1)
            assert len(centre.received) == claim_bound(1)
        assert result.summary.planned == 100
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(100))) == {"accepted": 100}

    def test_they_do_not_go_first_in_the_next_run(self, store: Store) -> None:
        to = numbers(100)
        large = {*to[:40]}

        def answer(received: Received) -> Answer:
            return self.TOO_LARGE if large & {*received.recipients} else accept(received)

        with mmsc(answer) as centre:
            assert run(store, centre.url, to, max_connections=1).summary.accepted == 0
            runs = 0
            while run(store, centre.url, to, max_connections=1).summary.accepted < 60:
                runs += 1
                assert runs < 4


class Terminated(BaseException):
    """What Airflow raises in the main thread when a task takes too long is no Exception either."""


class TestBrokenOff:
    """The run ends in the middle: nothing that waits may leave, and what is answered counts."""

    @pytest.fixture(autouse=True)
    def _waits(self) -> Iterator[None]:
        # A signal handler's exception is lost where Python ignores exceptions, as in the callback of a weak reference.
        with inside(Workers, "wait") as self.main_thread_waits:
            yield

    def in_the_middle(self, act: Callable[[], None]) -> Callable[[Received], Answer]:
        """Let something happen while the 20th and other requests are in flight, and answer them all."""
        lock, acted, seen = threading.Lock(), threading.Event(), []

        def answer(received: Received) -> Answer:
            with lock:
                seen.append(received)
                number = len(seen)
            if number == 20:
                wait_for(self.main_thread_waits)
                act()
                acted.set()
            elif number > 20:
                acted.wait(20)
            return accept(received)

        return answer

    def check(self, store: Store, received: list[Received]) -> None:
        """Everything that left is accepted, the rest is planned, and the next run sends just that."""
        sent = {number for item in received for number in item.recipients}
        assert 20 <= len(received) < 40
        batch_id = store.open_batch("k", conn_id="mm7_default").batch_id
        rows = store.submissions(batch_id)
        assert {row.recipient for row in rows if row.state is State.ACCEPTED} == sent
        assert {str(row.state) for row in rows} == {"accepted", "planned"}
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(100))) == {"accepted": 100}
        assert sorted(centre.numbers) == sorted(set(numbers(100)) - sent)

    @pytest.mark.parametrize("per_request", [1, 2])
    def test_by_a_signal_that_raises(self, store: Store, per_request: int) -> None:
        def terminate(number: int, frame: FrameType | None) -> None:
            raise Terminated

        before = signal.signal(signal.SIGUSR1, terminate)
        try:
            with mmsc(self.in_the_middle(lambda: os.kill(os.getpid(), signal.SIGUSR1))) as centre:
                with pytest.raises(Terminated):
                    run(store, centre.url, numbers(100 * per_request), per_request=per_request, max_connections=4)
                received = centre.received[:]
        finally:
            signal.signal(signal.SIGUSR1, before)
        if per_request == 1:
            self.check(store, received)
        summary = store.summary(store.open_batch("k", conn_id="mm7_default").batch_id)
        assert (summary.sending, summary.unknown) == (0, 0)

    def test_by_someone_who_asks_it_to_stop(self, store: Store) -> None:
        stopped: list[bool] = []
        with mmsc(self.in_the_middle(lambda: stopped.append(True))) as centre:
            result = run(store, centre.url, numbers(100), max_connections=4, stopped=lambda: bool(stopped))
            received = centre.received[:]
        assert result.halted_by is None
        self.check(store, received)

    def test_by_an_error_of_the_store(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        broken: list[bool] = []
        real = Store.turn

        def turn(self: Store, *arguments: Any, **named: Any) -> list[Submission]:
            taken = real(self, *arguments, **named)
            if broken:
                # Committed, and the answer of the database was lost.
                raise StoreUnavailable("connection lost")
            return taken

        with monkeypatch.context() as patched, mmsc(self.in_the_middle(lambda: broken.append(True))) as centre:
            patched.setattr(Store, "turn", turn)
            with pytest.raises(StoreUnavailable):
                run(store, centre.url, numbers(100), max_connections=4)
            received = centre.received[:]
        self.check(store, received)


def test_a_claim_is_renewed_for_as_long_as_its_owner_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease_s = 2.0
    monkeypatch.setattr(engine_module.Engine, "lease_s", lease_s)
    batch_id = store.open_batch("k", conn_id="mm7_default").batch_id
    abandoned: list[int] = []

    def slow(received: Received) -> Answer:
        time.sleep(1.5 * lease_s)
        # Another machine, which cannot ask whether the owner lives, looks at the claims.
        abandoned.append(store.settle_abandoned(batch_id, is_alive=lambda owner: None))
        return accept(received)

    with mmsc(slow) as centre:
        assert states(run(store, centre.url, numbers(1))) == {"accepted": 1}
    assert abandoned == [0]


class TestTheLedgerFails:
    def test_an_answer_that_cannot_be_recorded_leaves_doubt_and_nothing_else_is_sent(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise StoreUnavailable("disk full")

        monkeypatch.setattr(settling, "RECORD_FOR_S", 0.0)
        with mmsc() as centre:
            with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
                broken.setattr("airflow_provider_mm7.store.claims.record", full)
                with pytest.raises(StoreUnavailable):
                    run(store, centre.url, numbers(100), max_connections=1)
            taken = len(centre.received)
            assert 0 < taken <= claim_bound(1)
            assert f"m-{centre.received[0].transaction_id}" in caplog.text
            assert "+6421" not in caplog.text
            # The process lives, so its claims do not end before their lease; a dead one's would at once.
            monkeypatch.setattr("airflow_provider_mm7.sending.engine.is_alive", lambda owner: False)
            result = run(store, centre.url, numbers(100))
        assert len(centre.numbers) == len(set(centre.numbers))
        # What was claimed and not tried was given back.
        assert states(result) == {"unknown": taken, "accepted": 100 - taken}

    def test_a_commit_whose_answer_was_lost_takes_nothing_away(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was claimed by it, unknown to anyone, is given back and sent."""
        real = Store.turn
        lost: list[int] = []

        def turn(self: Store, *arguments: Any, **named: Any) -> list[Submission]:
            taken = real(self, *arguments, **named)
            if named["settlements"] and len(lost) < 3:
                lost.append(len(taken))
                raise StoreUnavailable("connection lost")
            return taken

        monkeypatch.setattr(Store, "turn", turn)
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(100), max_connections=4)) == {"accepted": 100}
        assert sum(lost) > 0
        assert sorted(centre.numbers) == sorted(numbers(100))

    def test_a_moment_without_store_is_waited_out(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        real, failures = moves.record, [1, 2]

        def flaky(*arguments: Any, **named: Any) -> int:
            if failures:
                failures.pop()
                raise StoreUnavailable("locked")
            return int(real(*arguments, **named))

        monkeypatch.setattr(settling, "RECORD_PAUSE_S", 0.0)
        monkeypatch.setattr(claims, "record", flaky)
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(3))) == {"accepted": 3}

    def test_nothing_leaves_while_answers_wait_for_the_store(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is claimed and has not left is given back, and sent when the store is there again."""
        real = moves.record
        threads: list[Workers] = []
        sent: list[int] = []
        others = threading.Event()

        def answer(received: Received) -> Answer:
            # The first is answered, the second is under way when the store goes.
            assert len(centre.received) == 1 or others.wait(10)
            return accept(received)

        def workers(*arguments: Any, **named: Any) -> Workers:
            threads.append(Workers(*arguments, **named))
            return threads[-1]

        def away(*arguments: Any, **named: Any) -> int:
            # It is asked with the next claim, then alone: from then on nothing may leave.
            if len(sent) < 4:
                if len(sent) == 2:
                    others.set()
                    wait_for(lambda: all(job.outcome for job in threads[0].jobs))
                sent.append(len(centre.received))
                raise StoreUnavailable("locked")
            return int(real(*arguments, **named))

        monkeypatch.setattr(settling, "RECORD_PAUSE_S", 0.0)
        monkeypatch.setattr(engine_module, "Workers", workers)
        monkeypatch.setattr(claims, "record", away)
        with mmsc(answer) as centre:
            assert states(run(store, centre.url, numbers(40), max_connections=1)) == {"accepted": 40}
        assert sorted(centre.numbers) == sorted(numbers(40))
        assert sent[2:] == [2, 2]

    def test_a_run_that_is_told_to_stop_does_not_wait_for_the_store(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def away(*_: object, **__: object) -> int:
            asked.append(1)
            raise StoreUnavailable("locked")

        monkeypatch.setattr(settling, "RECORD_PAUSE_S", 0.01)
        monkeypatch.setattr(claims, "record", away)
        with mmsc() as centre, pytest.raises(StoreUnavailable):
            run(store, centre.url, numbers(1), stopped=lambda: len(asked) >= 5)
        # With the claim, alone until it was told, once more, and when the run was wound up.
        assert 5 <= len(asked) <= 8


def test_recipients_of_another_task_under_the_same_key_are_not_sent_this_tasks_message(store: Store) -> None:
    def another_task_plans(batch_id: str) -> None:
        store.plan(batch_id, [NewSubmission(recipient="+64219999999")])

    with mmsc() as centre:
        result = run(store, centre.url, numbers(1), on_batch=another_task_plans)
    assert centre.numbers == list(numbers(1))
    assert isinstance(result.halted_by, InputError)
    assert result.halted_by.field == "idempotency_key"
    assert (result.summary.accepted, result.summary.planned) == (1, 1)


def send_in_a_process(url: str, store_url: str, count: int) -> None:
    run(open_store(store_url), url, numbers(count), max_connections=4)


@pytest.mark.parametrize("on_unknown", OnUnknown)
def test_what_a_dead_chunk_was_sending_is_in_doubt_for_the_chunk_that_has_the_number_now(
    store: Store, on_unknown: OnUnknown
) -> None:
    dead = Owner(token="dead", host=this_process().host, pid=os.getpid(), started=1.0)
    chunk = store.open_batch("chunk", conn_id="mm7_default").batch_id
    store.plan(chunk, [NewSubmission(recipient=number) for number in numbers(5)], family="campaign")
    assert len(store.claim(chunk, dead, limit=2, lease_s=60, transaction_id=lambda: "t")) == 2
    with mmsc() as centre:
        result = run(store, centre.url, numbers(4), key="another chunk", family="campaign", on_unknown=on_unknown)
    if on_unknown is OnUnknown.HOLD:
        assert states(result) == {"accepted": 2, "unknown": 2}
        assert sorted(centre.numbers) == list(numbers(4)[2:])
    else:
        assert states(result) == {"accepted": 4}
    assert [item.recipient for item in store.submissions(chunk)] == [numbers(5)[4]]


class TestTwoProcesses:
    def test_two_runs_with_one_key_share_the_work(self, store: Store) -> None:
        results: list[SendResult] = []
        with mmsc() as centre:
            threads = [
                threading.Thread(target=lambda: results.append(run(store, centre.url, numbers(200)))) for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(centre.numbers) == list(numbers(200))
        assert [states(result) for result in results] == [{"accepted": 200}, {"accepted": 200}]

    def test_a_killed_process_leaves_doubt_for_what_it_had_claimed_and_the_rest_is_sent_once(
        self, store: Store, either_ledger_url: str
    ) -> None:
        enough = threading.Event()

        def answer(received: Received) -> Answer:
            if len(centre.received) < 20:
                return accept(received)
            enough.set()
            return hold

        context = multiprocessing.get_context("spawn")
        with mmsc(answer) as centre:
            process = context.Process(target=send_in_a_process, args=(centre.url, either_ledger_url, 100))
            process.start()
            assert enough.wait(60)
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            first = centre.received[:]
        with mmsc() as second:
            result = run(store, second.url, numbers(100))
        sent_before = {number for item in first for number in item.recipients}
        in_doubt = {item.recipient for item in result.messages if item.state is State.UNKNOWN}
        assert not sent_before & set(second.numbers)
        assert sorted(second.numbers) == sorted(set(numbers(100)) - sent_before - (in_doubt - sent_before))
        assert len(in_doubt) <= claim_bound(4)
        assert result.summary.accepted + result.summary.unknown == 100


def test_an_unforeseen_error_in_composing_halts_and_leaves_nothing_in_doubt(store: Store) -> None:
    def broken(*_: object) -> Payload:
        raise RuntimeError("boom")

    batch = store.open_batch("k", conn_id="c")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(3)])
    with mmsc() as centre, client(centre.url) as mmsc_client:
        halted = engine_module.Engine(store=store, client=mmsc_client, compose=broken).run(batch.batch_id)
        assert centre.received == []
    assert "RuntimeError" in str(halted)
    assert "boom" not in str(halted)
    assert store.summary(batch.batch_id).planned == 3


def test_an_unforeseen_error_of_the_rate_halts_and_leaves_nothing_in_doubt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> datetime:
        raise OverflowError("boom")

    monkeypatch.setattr(store, "reserve", broken)
    results: list[SendResult] = []
    with mmsc() as centre:
        sending = threading.Thread(
            target=lambda: results.append(run(store, centre.url, numbers(3), rate_per_s=1.0)), daemon=True
        )
        sending.start()
        sending.join(20)
        assert centre.received == []
    (result,) = results
    assert "OverflowError" in str(result.halted_by)
    assert result.summary.planned == 3


def test_a_message_that_cannot_be_made_is_refused_and_the_others_are_sent(store: Store) -> None:
    prepared = message(numbers(3))
    settled: list[Settlement] = []

    def compose(group: Sequence[Submission], transaction_id: str) -> Payload:
        if group[0].recipient == numbers(3)[1]:
            raise RecipientError("media", "pictures/2.gif is not there", "Put it there")
        (recipient,) = (item for item in prepared.recipients if item.number == group[0].recipient)
        return prepared.payload([recipient], transaction_id)

    batch = store.open_batch("k", conn_id="c")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(3)])
    with mmsc() as centre, client(centre.url) as mmsc_client:
        engine = engine_module.Engine(store=store, client=mmsc_client, compose=compose, settled=settled.extend)
        assert engine.run(batch.batch_id) is None
    assert sorted(centre.numbers) == [numbers(3)[0], numbers(3)[2]]
    rows = store.submissions(batch.batch_id)
    assert [row.state for row in rows] == ["accepted", "refused", "accepted"]
    assert (rows[1].status_code, rows[1].status_text) == (None, "media: pictures/2.gif is not there. Put it there")
    assert sorted((item.submission_id, str(item.state)) for item in settled) == [
        (row.id, str(row.state)) for row in rows
    ]
