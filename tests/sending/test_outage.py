"""An MMSC that takes nothing for a while: nothing is lost, doubled or hammered, and whoever waits can be stopped."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType

import pytest

from airflow_provider_mm7.exceptions import MediaUnavailable, ThrottledOrDown
from airflow_provider_mm7.protocol import Payload
from airflow_provider_mm7.sending import OnUnknown, SendResult, find_failure, patience
from airflow_provider_mm7.sending import engine as engine_module
from airflow_provider_mm7.sending.halt import STOP_POLL_S, Halt
from airflow_provider_mm7.sending.patience import PROBES, UNREACHED_LIMIT, Patience
from airflow_provider_mm7.sending.result import FailOn
from airflow_provider_mm7.store import NewSubmission, State, Store, Submission
from tests.support.inside import inside
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.scripted import Exchange, free_port
from tests.support.sending import client, message, numbers, run, states

DOWN: Answer = ("503 Service Unavailable", b"", {})
#: Never gives up within a test.
ENDLESS = Patience(first_pause_s=0.02, longest_pause_s=0.1, tries=1000, probes=1000, enough_s=1000)
#: Waits for longer than any test: what ends such a wait is not its end.
SLOW = Patience(first_pause_s=60, longest_pause_s=60)


@contextmanager
def patient(chosen: Patience) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(patience, "PATIENCE", chosen)
        yield


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not happen")


def rows_of(store: Store) -> list[Submission]:
    return store.submissions(store.open_batch("k", conn_id="mm7_default").batch_id)


class TestABatchSitsItOut:
    def test_an_mmsc_that_starts_late(self, store: Store) -> None:
        """While nothing listens, each connection is refused; once it does, the same run sends everything."""
        port, results = free_port(), []

        def send() -> None:
            results.append(run(store, f"http://127.0.0.1:{port}/mm7", numbers(200)))

        with patient(ENDLESS):
            sender = threading.Thread(target=send)
            sender.start()
            wait_for(lambda: any(row.state is State.RETRY for row in rows_of(store)))
            with mmsc(port=port) as centre:
                sender.join()
        (result,) = results
        assert sorted(centre.numbers) == list(numbers(200))
        assert (states(result), result.halted_by) == ({"accepted": 200}, None)

    @pytest.mark.parametrize("down", [DOWN, "4006"])
    def test_an_mmsc_that_goes_down_in_the_middle(self, store: Store, down: Answer | str) -> None:
        probes = 4
        refused: list[str] = []
        lock = threading.Lock()

        def answer(received: Received) -> Answer:
            with lock:
                if len(centre.received) > 50 and len(refused) < 16 + probes:
                    refused.extend(received.recipients)
                    return status(4006)(received) if isinstance(down, str) else down
            return accept(received)

        with patient(ENDLESS), mmsc(answer) as centre:
            result = run(store, centre.url, numbers(200))
        assert (states(result), result.halted_by) == ({"accepted": 200}, None)
        # What was accepted, once; what was refused, once more for each time.
        assert Counter(centre.numbers) == Counter(numbers(200)) + Counter(refused)

    def test_faults_at_random_double_nothing(self, store: Store) -> None:
        chance = random.Random(7)
        accepted: list[str] = []
        lock = threading.Lock()

        def answer(received: Received) -> Answer:
            with lock:
                fault = chance.random()
                if fault < 0.1:
                    return status(4006)(received)
                if fault < 0.2:
                    return DOWN
                if fault < 0.25:
                    return lambda peer: peer.reset()
                accepted.extend(received.recipients)
                return accept(received)

        with patient(ENDLESS), mmsc(answer) as centre:
            result = run(store, centre.url, numbers(300), on_unknown=OnUnknown.RESEND)
        assert len(accepted) == len(set(accepted))
        assert {item.recipient for item in result.messages if item.state is State.ACCEPTED} == set(accepted)
        # What is in doubt is not sent again by the run that put it there, whatever the next one may do.
        assert set(states(result)) == {"accepted", "unknown"}
        in_doubt = {item.recipient for item in result.messages if item.state is State.UNKNOWN}
        assert in_doubt == set(numbers(300)) - set(accepted)


class TestTheCircuit:
    def test_one_probe_after_each_pause_and_then_the_rest_stays_planned(self, store: Store) -> None:
        arrived: list[float] = []

        def answer(received: Received) -> Answer:
            arrived.append(time.monotonic())
            return DOWN

        chosen = Patience(first_pause_s=0.05, longest_pause_s=0.2, jitter=0.0)
        with patient(chosen), mmsc(answer) as centre:
            result = run(store, centre.url, numbers(100), max_connections=8)
        assert isinstance(result.halted_by, ThrottledOrDown)
        assert result.summary.planned == 100
        # The failures that opened it, those in flight then, and the probes.
        assert PROBES + UNREACHED_LIMIT <= len(arrived) < PROBES + UNREACHED_LIMIT + 8
        # What left just before the circuit opened may arrive just after: the pauses are told by the probes.
        probes = sorted(arrived)[-PROBES:]
        for place, (before, after) in enumerate(pairwise(probes), 1):
            assert after - before >= chosen.pause_s(place) - 0.01
        failure = find_failure(result, fail_on=FailOn.ALL, on_unknown=OnUnknown.HOLD)
        assert failure is not None
        assert failure.retryable
        assert "100 of 100 not sent yet: HTTP 503" in failure.text

    def test_a_probe_that_takes_its_time_is_alone(self, store: Store) -> None:
        """Longer than the run waits before it looks whether something else is due."""
        lock, probes = threading.Lock(), [0]
        at_once: list[int] = []

        def answer(received: Received) -> Answer:
            if len(centre.received) == 1:
                return DOWN
            with lock:
                probes[0] += 1
                at_once.append(probes[0])
            time.sleep(1.5 * engine_module.DUE_POLL_S)
            with lock:
                probes[0] -= 1
            return DOWN

        chosen = Patience(first_pause_s=0.1, longest_pause_s=0.1, unreached_limit=1, probes=2)
        with patient(chosen), mmsc(answer) as centre:
            # So slow that the first answer opens the circuit before another message leaves.
            run(store, centre.url, numbers(100), rate_per_s=3)
        assert at_once == [1, 1]

    def test_a_retry_that_is_due_does_not_wait_for_a_slow_answer(self, store: Store) -> None:
        first, second = numbers(2)
        again, waited = threading.Event(), []

        def answer(received: Received) -> Answer:
            if second in received.recipients:
                waited.append(again.wait(10))
            elif Counter(centre.numbers)[first] == 1:
                return DOWN
            else:
                again.set()
            return accept(received)

        with mmsc(answer) as centre:
            assert states(run(store, centre.url, numbers(2), read_timeout_s=20)) == {"accepted": 2}
        assert waited == [True]

    def test_a_retry_after_holds_all_connections(self, store: Store) -> None:
        arrived: list[float] = []

        def answer(received: Received) -> Answer:
            arrived.append(time.monotonic())
            return ("429 Too Many Requests", b"", {"Retry-After": "1"}) if len(arrived) == 1 else accept(received)

        with mmsc(answer) as centre:
            result = run(store, centre.url, numbers(20), max_connections=1)
        assert (states(result), result.halted_by) == ({"accepted": 20}, None)
        assert min(arrived[1:]) - arrived[0] >= 1

    def test_refusals_open_nothing(self, store: Store) -> None:
        with mmsc(status(2002)) as centre:
            result = run(store, centre.url, numbers(50), max_connections=1)
        assert (len(centre.received), states(result)) == (50, {"refused": 50})

    def test_a_message_that_is_never_taken_ends_after_its_tries_and_the_others_are_sent(self, store: Store) -> None:
        cursed = numbers(20)[3]

        def answer(received: Received) -> Answer:
            return DOWN if cursed in received.recipients else accept(received)

        with mmsc(answer) as centre:
            result = run(store, centre.url, numbers(20))
        assert states(result) == {"accepted": 19, "retry": 1}
        assert Counter(centre.numbers)[cursed] <= patience.TRIES


class Terminated(BaseException):
    """What Airflow raises in the main thread when a task takes too long is no Exception either."""


class TestWhoeverWaitsCanBeStopped:
    """Nothing is claimed while a retry is waited for, so nothing can be left in doubt."""

    @pytest.fixture
    def waits(self) -> Iterator[Callable[[], bool]]:
        """Whether the test's own thread is in the engine, with nothing in flight."""
        with inside(Halt, "wait_until") as waits:
            yield waits

    @pytest.mark.parametrize("answer", [DOWN, ("429 No", b"", {"Retry-After": "60"})])
    def test_by_a_flag(self, store: Store, answer: Answer, waits: Callable[[], bool]) -> None:
        stopped: list[float] = []

        def stop() -> None:
            wait_for(waits)
            stopped.append(time.monotonic())

        with patient(SLOW), mmsc(lambda received: answer) as centre:
            stopper = threading.Thread(target=stop)
            stopper.start()
            result = run(store, centre.url, numbers(10), max_connections=1, stopped=lambda: bool(stopped))
            ended = time.monotonic()
            stopper.join()
        # It looks at least so often; the rest is the machine's.
        assert ended - stopped[0] < STOP_POLL_S + 2
        assert result.halted_by is None
        assert (result.summary.planned, result.summary.sending) == (10, 0)
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(10))) == {"accepted": 10}

    def test_by_a_signal_that_raises(self, store: Store, waits: Callable[[], bool]) -> None:
        def terminate(number: int, frame: FrameType | None) -> None:
            raise Terminated

        def stop() -> None:
            wait_for(waits)
            os.kill(os.getpid(), signal.SIGUSR1)

        before = signal.signal(signal.SIGUSR1, terminate)
        try:
            with patient(SLOW), mmsc(lambda received: DOWN) as centre:
                stopper = threading.Thread(target=stop)
                stopper.start()
                with pytest.raises(Terminated):
                    run(store, centre.url, numbers(10), max_connections=1)
                stopper.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert {row.state for row in rows_of(store)} == {State.PLANNED, State.RETRY}
        with mmsc() as centre:
            assert states(run(store, centre.url, numbers(10))) == {"accepted": 10}


def test_a_retry_that_ends_in_doubt_is_held_and_sent_again_only_on_demand(store: Store) -> None:
    def answer(received: Received) -> Answer:
        return DOWN if len(centre.received) == 1 else Exchange.reset

    with mmsc(answer) as centre:
        assert states(run(store, centre.url, numbers(1))) == {"unknown": 1}
        assert len(centre.received) == 2
    with mmsc() as centre:
        assert states(run(store, centre.url, numbers(1))) == {"unknown": 1}
        assert states(run(store, centre.url, numbers(1), on_unknown=OnUnknown.RESEND)) == {"accepted": 1}
        assert len(centre.received) == 1


def test_what_waits_for_its_retry_is_not_claimed_and_what_is_in_flight_is_renewed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_s = 1.0
    monkeypatch.setattr(engine_module.Engine, "lease_s", lease_s)
    batch_id = store.open_batch("k", conn_id="mm7_default").batch_id
    first, second = numbers(2)
    seen: list[tuple[State, ...]] = []

    def answer(received: Received) -> Answer:
        if first in received.recipients and len(centre.received) <= 2:
            return DOWN
        if second in received.recipients:
            time.sleep(2 * lease_s)
            # Another machine, which cannot ask whether the owner lives, looks at the claims.
            assert store.settle_abandoned(batch_id, is_alive=lambda owner: None) == 0
            seen.append(tuple(row.state for row in store.submissions(batch_id)))
        return accept(received)

    with patient(Patience(first_pause_s=60, longest_pause_s=60)), mmsc(answer) as centre:
        result = run(store, centre.url, numbers(2), stopped=lambda: bool(seen))
    assert seen == [(State.RETRY, State.SENDING)]
    assert states(result) == {"retry": 1, "accepted": 1}


class TestMediaThatAreAway:
    @staticmethod
    def send(store: Store, url: str, compose: Callable[[Sequence[Submission], str], Payload]) -> SendResult:
        batch = store.open_batch("k", conn_id="c")
        store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(20)])
        with client(url, max_connections=1) as mmsc_client:
            engine = engine_module.Engine(store=store, client=mmsc_client, compose=compose)
            halted = engine.run(batch.batch_id)
        return SendResult(summary=store.summary(batch.batch_id), halted_by=halted)

    def test_are_asked_for_again_in_the_same_run(self, store: Store) -> None:
        prepared, asked = message(numbers(20)), []

        def compose(group: Sequence[Submission], transaction_id: str) -> Payload:
            asked.append(group)
            if len(asked) < 6:
                raise MediaUnavailable("s3://b/k: no answer", source="s3://b/k")
            recipients = {item.number: item for item in prepared.recipients}
            return prepared.payload([recipients[item.recipient] for item in group], transaction_id)

        with mmsc() as centre:
            result = self.send(store, centre.url, compose)
        assert result.halted_by is None
        assert sorted(centre.numbers) == list(numbers(20))

    def test_end_the_run_in_time_and_another_one_is_worth_it(self, store: Store) -> None:
        asked = []

        def compose(group: Sequence[Submission], transaction_id: str) -> Payload:
            asked.append(group)
            raise MediaUnavailable("s3://b/k: no answer", source="s3://b/k")

        with mmsc() as centre:
            result = self.send(store, centre.url, compose)
            assert centre.received == []
        assert isinstance(result.halted_by, MediaUnavailable)
        assert len(asked) == UNREACHED_LIMIT + PROBES
        failure = find_failure(result, fail_on=FailOn.ALL, on_unknown=OnUnknown.HOLD)
        assert failure is not None
        assert failure.retryable
