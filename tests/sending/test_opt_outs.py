"""Who opted out gets nothing: before a run, during it, in groups, in retries, and while the store is away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import RecipientError, StoreUnavailable
from airflow_provider_mm7.protocol import Payload, mask
from airflow_provider_mm7.sending import (
    Draft,
    Engine,
    FailOn,
    OnUnknown,
    Profile,
    SendResult,
    Work,
    engine,
    find_failure,
    prepare,
    send,
)
from airflow_provider_mm7.sending import opt_outs as module
from airflow_provider_mm7.sending.halt import Halt
from airflow_provider_mm7.sending.opt_outs import FRESH_S, SOON_S, Watch
from airflow_provider_mm7.sending.progress import Progress
from airflow_provider_mm7.store import (
    NewSubmission,
    OptOutChange,
    Source,
    State,
    Store,
    Submission,
    connection_scope,
    open_store,
    short_code_scope,
)
from tests.store.make import claim
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.sending import NOW, NoMedia, client, message, numbers, run, states

pytestmark = pytest.mark.long

HERE = connection_scope("mm7_default")
CODE = short_code_scope("111122")


def says(store: Store, *said: str, opted_out: bool = True, scope: str = HERE) -> None:
    store.record_opt_outs(OptOutChange(scope=scope, number=one, opted_out=opted_out, source=Source.CLI) for one in said)


@pytest.fixture(autouse=True)
def _always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is fresh: what a test says between two requests counts for the second."""
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    monkeypatch.setattr(module, "SOON_S", 0.0)


def after(count: int, say: Callable[[], None]) -> Callable[[Received], Answer]:
    """Accept everything; say something when so many requests have come, before that one is answered."""
    lock, seen = threading.Lock(), [0]

    def answer(received: Received) -> Answer:
        with lock:
            seen[0] += 1
            if seen[0] == count:
                say()
        return accept(received)

    return answer


def by_number(result: SendResult) -> dict[str, str]:
    return {item.recipient: str(item.state) for item in result.messages}


def test_who_opted_out_before_gets_nothing_and_is_no_failure(store: Store) -> None:
    one, two, three = numbers(3)
    says(store, "64" + one[3:])
    with mmsc() as centre:
        result = run(store, centre.url, (one, two, three))
    assert sorted(centre.numbers) == [two, three]
    assert by_number(result) == {one: "suppressed", two: "accepted", three: "accepted"}
    contract = result.as_xcom()
    assert (contract["suppressed"], contract["accepted"], contract["planned"], contract["total"]) == (1, 2, 0, 3)
    assert contract["messages"][0]["status_text"] == "opted out"
    for fail_on in FailOn:
        assert find_failure(result, fail_on=fail_on, on_unknown=OnUnknown.HOLD) is None


def test_a_batch_of_nobody_succeeds_without_a_request(store: Store) -> None:
    says(store, *numbers(3))
    with mmsc() as centre:
        result = run(store, centre.url, numbers(3))
    assert (centre.posts, states(result)) == (0, {"suppressed": 3})
    for fail_on in FailOn:
        assert find_failure(result, fail_on=fail_on, on_unknown=OnUnknown.HOLD) is None


def test_what_was_refused_besides_fails_as_ever(store: Store) -> None:
    says(store, numbers(1)[0])
    with mmsc(status(2002)) as centre:
        result = run(store, centre.url, numbers(2))
    assert states(result) == {"suppressed": 1, "refused": 1}
    assert find_failure(result, fail_on=FailOn.ALL, on_unknown=OnUnknown.HOLD) is not None


def test_who_opts_out_while_it_runs_gets_nothing(store: Store) -> None:
    last = numbers(40)[-1]
    with mmsc(after(3, lambda: says(store, last))) as centre:
        result = run(store, centre.url, numbers(40), max_connections=1)
    assert last not in centre.numbers
    assert states(result) == {"accepted": 39, "suppressed": 1}


def test_coming_back_counts_for_what_is_not_decided_yet_and_revives_nothing(store: Store) -> None:
    one, *_, last = numbers(40)
    says(store, one)

    def say() -> None:
        says(store, last)
        says(store, last, one, opted_out=False)

    with mmsc(after(3, say)) as centre:
        result = run(store, centre.url, numbers(40), max_connections=1)
        again = run(store, centre.url, numbers(40), max_connections=1)
    assert by_number(result)[last] == "accepted"
    assert by_number(again)[one] == "suppressed"
    assert one not in centre.numbers
    assert len(centre.numbers) == 39


def test_another_key_is_another_batch(store: Store) -> None:
    with mmsc() as centre:
        says(store, *numbers(1))
        run(store, centre.url, numbers(1))
        says(store, *numbers(1), opted_out=False)
        assert states(run(store, centre.url, numbers(1), key="next")) == {"accepted": 1}


def test_what_was_accepted_stays_so(store: Store) -> None:
    with mmsc() as centre:
        run(store, centre.url, numbers(2))
        says(store, *numbers(2))
        result = run(store, centre.url, numbers(3))
    assert states(result) == {"accepted": 3}
    assert len(centre.numbers) == 3


def test_of_a_group_the_others_still_get_theirs(store: Store) -> None:
    to = numbers(12)
    with mmsc(after(1, lambda: says(store, to[6], to[9]))) as centre:
        result = run(store, centre.url, to, per_request=5, max_connections=1)
    assert [received.recipients for received in centre.received] == [to[:5], (to[5], to[7], to[8]), to[10:]]
    assert states(result) == {"accepted": 10, "suppressed": 2}


def test_a_group_of_which_nobody_is_left_is_not_sent(store: Store) -> None:
    to = numbers(9)
    with mmsc(after(1, lambda: says(store, *to[3:6]))) as centre:
        result = run(store, centre.url, to, per_request=3, max_connections=1)
    assert [received.recipients for received in centre.received] == [to[:3], to[6:]]
    assert states(result) == {"accepted": 6, "suppressed": 3}


def test_a_group_that_is_split_is_asked_for_again_one_by_one(store: Store) -> None:
    to = numbers(4)
    said: list[int] = []

    def answer(received: Received) -> Answer:
        if len(received.recipients) > 1:
            says(store, to[2])
            return status(3003)(received)
        said.append(1)
        return accept(received)

    says(store, to[0])
    with mmsc(answer) as centre:
        # The first is out before the run, the third while its group is refused.
        result = run(store, centre.url, to, per_request=4, max_connections=1)
    assert [received.recipients for received in centre.received] == [(to[1], to[2], to[3]), (to[1],), (to[3],)]
    assert by_number(result) == {to[0]: "suppressed", to[1]: "accepted", to[2]: "suppressed", to[3]: "accepted"}


def test_a_group_that_is_split_after_somebody_left_it(store: Store) -> None:
    to = numbers(6)

    def answer(received: Received) -> Answer:
        if received.recipients == to[:3]:
            says(store, to[4])
        return (
            accept(received)
            if to[3] not in received.recipients or len(received.recipients) == 1
            else status(3003)(received)
        )

    with mmsc(answer) as centre:
        result = run(store, centre.url, to, per_request=3, max_connections=1)
    assert [received.recipients for received in centre.received] == [to[:3], (to[3], to[5]), (to[3],), (to[5],)]
    assert states(result) == {"accepted": 5, "suppressed": 1}


def test_copies_too(store: Store) -> None:
    to, cc, bcc = numbers(3)
    says(store, cc, bcc)

    draft = Draft(to=(to,), cc=(cc,), bcc=(bcc,), text=("hello",))
    prepared = prepare(draft, Profile(recipients_per_request=3), NoMedia(), now=NOW)  # type: ignore[arg-type]
    with mmsc() as centre, client(centre.url) as opened:
        result = send(prepared, store=store, client=opened, key="k", conn_id="mm7_default")
    assert (centre.numbers, states(result)) == ([to], {"accepted": 1, "suppressed": 2})


def test_what_is_tried_again_is_asked_for_again(store: Store) -> None:
    (one,) = numbers(1)

    def answer(received: Received) -> Answer:
        says(store, one)
        return status(4006)(received)

    with mmsc(answer) as centre:
        result = run(store, centre.url, (one,))
    assert (centre.posts, states(result)) == (1, {"suppressed": 1})


def test_what_a_former_run_left_is_asked_for_again(store: Store) -> None:
    with mmsc(status(4006)) as centre:
        run(store, centre.url, numbers(2))
    says(store, numbers(2)[0])
    with mmsc() as centre:
        result = run(store, centre.url, numbers(2))
    assert (centre.numbers, states(result)) == ([numbers(2)[1]], {"accepted": 1, "suppressed": 1})


def test_what_is_in_doubt_is_held_and_never_sent_again_to_who_opted_out(store: Store) -> None:
    with mmsc(lambda _: lambda peer: peer.reset()) as centre:
        run(store, centre.url, numbers(2))
    says(store, numbers(2)[0])
    with mmsc() as centre:
        assert states(run(store, centre.url, numbers(2))) == {"unknown": 2}
        result = run(store, centre.url, numbers(2), on_unknown=OnUnknown.RESEND)
    assert (centre.numbers, states(result)) == ([numbers(2)[1]], {"accepted": 1, "suppressed": 1})


def test_what_a_dead_process_left_is_not_sent_again_to_who_opted_out(store: Store) -> None:
    """Its rows are in doubt only once the run has begun, after the batch was freed of others."""

    batch = store.open_batch("k", conn_id="mm7_default")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(2)])
    claim(store, batch)
    says(store, numbers(2)[0])

    with mmsc() as centre, pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "is_alive", lambda _: False)
        result = run(store, centre.url, numbers(2), on_unknown=OnUnknown.RESEND)
    assert (centre.numbers, states(result)) == ([numbers(2)[1]], {"accepted": 1, "suppressed": 1})


def test_rows_that_another_process_adds_are_asked_for_too(store: Store) -> None:
    """Planned while this run is under way, for somebody who opted out long ago."""
    to, old = numbers(40), "+64219999999"
    says(store, old)

    def plan() -> None:
        batch_id = store.open_batch("k", conn_id="mm7_default").batch_id
        store.plan(batch_id, [NewSubmission(recipient=old)])

    with mmsc(after(3, plan)) as centre:
        result = run(store, centre.url, to, max_connections=1)
    assert old not in centre.numbers
    assert states(result) == {"accepted": 40, "suppressed": 1}


def test_a_row_whose_message_cannot_be_made_is_nobodys_fault_once_they_opted_out(store: Store) -> None:
    def compose(group: object, transaction_id: str) -> Payload:
        raise RecipientError("media", "is not there", "Put it there")

    batch = store.open_batch("k", conn_id="mm7_default")
    says(store, *numbers(1))
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(1)])

    with mmsc() as centre, client(centre.url) as opened:
        # The engine alone, as it meets rows that were planned after the batch was freed.
        alone = Engine(store=store, client=opened, compose=compose, opt_out_scope=HERE)
        assert alone.run(batch.batch_id) is None
    assert store.summary(batch.batch_id).suppressed == 1


def test_scopes(store: Store) -> None:
    one, two = numbers(2)
    says(store, one)
    says(store, two, scope=CODE)
    with mmsc() as centre, client(centre.url) as opened:
        for scope, honour in ((None, True), (CODE, True), (CODE, False)):
            send(
                message((one, two)),
                store=store,
                client=opened,
                key=f"{scope} {honour}",
                conn_id="mm7_default",
                opt_out_scope=scope,
                honour_opt_outs=honour,
            )
    assert centre.numbers[:2] == [two, one]
    assert sorted(centre.numbers[2:]) == [one, two]


def test_a_probe_that_was_not_sent_says_nothing_of_the_mmsc(store: Store) -> None:
    """It must not close the circuit: the others would be thrown at an MMSC that is down."""
    to = numbers(10)
    posts: list[str] = []

    def answer(received: Received) -> Answer:
        posts.extend(received.recipients)
        if len(posts) == 3:
            says(store, *to[:8])
        return ("503 no", b"", {})

    with mmsc(answer) as centre:
        result = run(store, centre.url, to, max_connections=1)
    assert result.halted_by is not None
    assert states(result) == {"suppressed": 8, "retry": 2}
    # Three failures open the circuit; after that there are probes, one at a time, to those who are left.
    assert len(posts) <= 3 + 6


def test_progress_and_settled_count_them(store: Store) -> None:
    to = numbers(20)
    told: list[str] = []
    says(store, *to[:5])
    progress = Progress(tell=told.append)
    with mmsc(after(1, lambda: says(store, *to[17:]))) as centre, client(centre.url, max_connections=1) as opened:
        send(
            message(to),
            store=store,
            client=opened,
            key="k",
            conn_id="mm7_default",
            on_batch=lambda batch_id: progress.begin(store.summary(batch_id)),
            settled=progress.settled,
        )
    assert progress.describe(time.monotonic()).startswith("20 of 20 done")
    assert progress.describe(time.monotonic()).endswith("12 accepted, 0 refused, 0 unknown, 8 suppressed")


def test_a_family_sends_to_nobody_twice_and_to_no_one_who_opted_out(store: Store) -> None:
    to = numbers(4)
    says(store, to[0])
    with mmsc() as centre:
        run(store, centre.url, to[:2], key="a", family="f")
        says(store, to[0], opted_out=False)
        result = run(store, centre.url, to, key="b", family="f")
    assert (sorted(centre.numbers), result.summary.total) == (list(to[1:]), 2)


@contextmanager
def store_away(monkeypatch: pytest.MonkeyPatch, times: int | None = None) -> Iterator[list[int]]:
    """Let looking opt-outs up fail, for some times or for good."""
    asked: list[int] = []
    real = Store.opt_out_news

    def fail(self: Store, *args: Any) -> object:
        asked.append(1)
        if times is None or len(asked) <= times:
            raise StoreUnavailable("away")
        return real(self, *args)

    monkeypatch.setattr(module, "ASK_PAUSE_S", 0.001)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "opt_out_news", fail)
        yield asked


def test_nothing_is_sent_while_the_store_cannot_say(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre, store_away(monkeypatch) as asked:
        result = run(store, centre.url, numbers(50))
    assert centre.posts == 0
    assert isinstance(result.halted_by, StoreUnavailable)
    assert states(result) == {"planned": 50}
    failure = find_failure(result, fail_on=FailOn.ALL, on_unknown=OnUnknown.HOLD)
    assert failure is not None
    assert failure.retryable
    assert len(asked) >= module.ASK_ATTEMPTS
    with mmsc() as centre:
        assert states(run(store, centre.url, numbers(50))) == {"accepted": 50}


def test_a_store_that_is_away_for_a_moment_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre, store_away(monkeypatch, times=3):
        result = run(store, centre.url, numbers(10))
    assert states(result) == {"accepted": 10}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestWatch:
    """Fresh enough, and no more questions than that takes."""

    @pytest.fixture(autouse=True)
    def _as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FRESH_S", FRESH_S)
        monkeypatch.setattr(module, "SOON_S", SOON_S)

    def item(self, store: Store) -> tuple[str, Submission]:
        batch_id = store.open_batch("k", conn_id="c").batch_id
        store.plan(batch_id, [NewSubmission(recipient=numbers(1)[0])])
        return batch_id, store.submissions(batch_id)[0]

    def asked(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        asked: list[int] = []
        real = store.opt_out_news

        def ask(*args: Any) -> object:
            asked.append(1)
            return real(*args)

        monkeypatch.setattr(store, "opt_out_news", ask)
        return asked

    def test_half_a_second_is_the_most(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        batch_id, item = self.item(store)
        clock = Clock()
        watch = Watch(store, HERE, batch_id, halt=Halt(), clock=clock)
        asked = self.asked(store, monkeypatch)
        says(store, item.recipient)
        clock.now += SOON_S - 0.01
        assert (watch.ask([item]), len(asked)) == ([], 0)
        clock.now += 0.02
        assert (watch.ask([item]), len(asked)) == ([item], 1)
        says(store, item.recipient, opted_out=False)
        clock.now += FRESH_S + 0.01
        assert (watch.ask([item]), len(asked)) == ([], 2)
        assert watch.ask([item] * 100) == []
        assert len(asked) == 2

    def test_one_asks_for_all(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        batch_id, item = self.item(store)
        clock = Clock()
        watch = Watch(store, HERE, batch_id, halt=Halt(), clock=clock)
        says(store, item.recipient)
        entered, go, asked = threading.Event(), threading.Event(), self.asked(store, monkeypatch)
        real = store.opt_out_news

        def slow(*args: Any) -> object:
            entered.set()
            assert go.wait(30)
            return real(*args)

        monkeypatch.setattr(store, "opt_out_news", slow)
        clock.now += FRESH_S
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(watch.ask([item]))) for _ in range(30)]
        for thread in threads:
            thread.start()
        assert entered.wait(30)
        # None of them goes by the old answer.
        assert found == []
        go.set()
        for thread in threads:
            thread.join(30)
        assert (found, len(asked)) == ([[item]] * 30, 1)

    def test_others_go_by_the_last_answer_while_one_asks_early(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_id, item = self.item(store)
        clock = Clock()
        watch = Watch(store, HERE, batch_id, halt=Halt(), clock=clock)
        entered, go = threading.Event(), threading.Event()
        real = store.opt_out_news

        def slow(*args: Any) -> object:
            entered.set()
            assert go.wait(30)
            return real(*args)

        monkeypatch.setattr(store, "opt_out_news", slow)
        clock.now += SOON_S
        early = threading.Thread(target=watch.ask, args=([item],))
        early.start()
        assert entered.wait(30)
        assert watch.ask([item]) == []
        go.set()
        early.join(30)

    def test_a_run_that_ends_waits_for_no_store(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        batch_id, item = self.item(store)
        clock, halt = Clock(), Halt()
        watch = Watch(store, HERE, batch_id, halt=halt, clock=clock)
        halt.set()
        clock.now += FRESH_S
        with watch._turn:
            assert watch.ask([item]) is None
        assert watch.ask([item]) is None

    def test_an_early_question_that_fails_is_asked_again_in_time(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_id, item = self.item(store)
        clock = Clock()
        watch = Watch(store, HERE, batch_id, halt=Halt(), clock=clock)
        says(store, item.recipient)
        with store_away(monkeypatch) as asked:
            clock.now += SOON_S
            assert watch.ask([item]) == []
            clock.now += FRESH_S
            with pytest.raises(StoreUnavailable):
                watch.ask([item])
        assert len(asked) == 1 + module.ASK_ATTEMPTS
        assert watch.ask([item]) == [item]


def send_in_process(store_url: str, url: str, count: int) -> None:
    """Send the batch, as another task instance with the same key."""
    with client(url, max_connections=4) as opened:
        send(message(numbers(count)), store=open_store(store_url), client=opened, key="k", conn_id="mm7_default")


def test_two_processes_heed_it_alike(store: Store, either_ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    to, spoken = numbers(300), threading.Event()

    def answer(received: Received) -> Answer:
        if received.recipients[0] == to[20]:
            says(store, *to[-100:])
            spoken.set()
        # Long enough for the batch to outlast an answer that was fresh.
        time.sleep(0.03)
        return accept(received)

    context = multiprocessing.get_context("spawn")
    with mmsc(answer) as centre:
        both = [context.Process(target=send_in_process, args=(either_ledger_url, centre.url, 300)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join(90)
        assert [process.exitcode for process in both] == [0, 0]
    assert spoken.is_set()
    assert sorted(set(centre.numbers)) == sorted(centre.numbers)
    summary = store.summary(store.open_batch("k", conn_id="mm7_default").batch_id)
    assert (summary.accepted + summary.suppressed, summary.accepted) == (300, len(centre.numbers))
    assert summary.suppressed > 0


def test_a_process_that_is_killed_leaves_nothing_that_is_sent_to_them(store: Store, either_ledger_url: str) -> None:
    to, killed, chosen = numbers(200), threading.Event(), threading.Lock()
    context = multiprocessing.get_context("spawn")

    def answer(received: Received) -> Answer:
        if len(centre.received) >= 30:
            if chosen.acquire(blocking=False):
                says(store, *to[50:])
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                killed.set()
            # The others' answers wait: however long that took, no more leaves meanwhile.
            killed.wait(60)
        return accept(received)

    with mmsc(answer) as centre:
        process = context.Process(target=send_in_process, args=(either_ledger_url, centre.url, 200))
        process.start()
        process.join(60)
        assert killed.is_set()
        sent = list(centre.numbers)
        result = run(store, centre.url, to, on_unknown=OnUnknown.RESEND)
        later = centre.numbers[len(sent) :]
    assert not set(later) & set(to[50:])
    assert result.summary.planned == result.summary.unknown == result.summary.sending == 0
    assert result.summary.suppressed >= 100


def test_no_number_is_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    says(store, *numbers(2))
    with mmsc() as centre:
        run(store, centre.url, numbers(3))
    for number in numbers(3):
        assert number[1:] not in caplog.text.replace(mask(number), "")


def test_work_of_ones_own_is_freed_too(store: Store) -> None:
    prepared = message(numbers(2))
    by_key = {item.number: item for item in prepared.recipients}
    work = Work(
        submissions=lambda: (NewSubmission(recipient=number) for number in numbers(2)),
        compose=lambda group, tid: prepared.payload([by_key[item.recipient] for item in group], tid),
    )
    says(store, numbers(2)[1])
    with mmsc() as centre, client(centre.url) as opened:
        result = send(work, store=store, client=opened, key="k", conn_id="mm7_default")
    assert centre.numbers == [numbers(2)[0]]
    assert [item.state for item in result.messages] == [State.ACCEPTED, State.SUPPRESSED]
