from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading
import traceback
from collections.abc import Collection, Iterator
from dataclasses import replace

import pytest

from airflow_provider_mm7.exceptions import StoreNotMigrated, StoreUnavailable
from airflow_provider_mm7.hooks.delivery import Question
from airflow_provider_mm7.store.types import DeliverySummary
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.poll import MAX_BACKOFF_S, MAX_FAILED_POLLS, Poll, Watch

PATIENCE_S = 20


class ManualClock:
    """Time that passes when a test says so. :meth:`pass_time` returns when the poll has done what was due."""

    def __init__(self) -> None:
        self.time = 10_000.0
        self._idle = asyncio.Event()
        self._wake: asyncio.Event | None = None
        self.until = 0.0

    def now(self) -> float:
        return self.time

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        self._wake, self.until = wake, until
        self._idle.set()
        if until > self.time:
            await wake.wait()
        self._idle.clear()

    async def settle(self) -> None:
        """Wait until the poll waits, and with nothing to wake it."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._idle.is_set() or self.until <= self.time or (self._wake and self._wake.is_set()):
                await asyncio.sleep(0)

    def jump(self, seconds: float) -> None:
        self.time += seconds
        if self._wake is not None and self.until <= self.time:
            self._wake.set()

    async def pass_time(self, seconds: float) -> None:
        """Go from due time to due time, until all seconds have passed."""
        end = self.time + seconds
        while self.time < end:
            await self.settle()
            self.jump(min(self.until, end) - self.time)
        await self.settle()


class Asked:
    """A reader that keeps what it was asked, and answers or raises what it is told to."""

    def __init__(self) -> None:
        self.questions: list[set[Question]] = []
        self.errors: Iterator[Exception | None] = itertools.repeat(None)
        self.answer: DeliverySummary | None = None

    def __call__(self, questions: Collection[Question]) -> dict[Question, DeliverySummary | None]:
        self.questions.append(set(questions))
        if (error := next(self.errors, None)) is not None:
            raise error
        return dict.fromkeys(questions, self.answer)


def batch(number: int) -> Question:
    return Question(batch_id=f"b{number}")


SUMMARY = DeliverySummary(batch_id="b", total=1, accepted=1, unsent=0, by_status={})


async def test_one_read_an_interval_for_2000_triggers() -> None:
    clock, asked = ManualClock(), Asked()
    one_poll = Poll(asked, clock=clock)
    answers: list[DeliverySummary | None] = []

    async def trigger(number: int) -> None:
        with one_poll.joined(batch(number), 60) as watch:
            while (answer := await watch.answer()) is None:
                pass
            answers.append(answer)

    tasks = [asyncio.create_task(trigger(number)) for number in range(1000)]
    await asyncio.sleep(0)
    clock.jump(17)  # The others come later: they fall in with the first.
    tasks += [asyncio.create_task(trigger(number)) for number in range(1000, 2000)]
    await asyncio.sleep(0)

    await clock.pass_time(3 * 60)
    assert [len(questions) for questions in asked.questions] == [2000, 2000, 2000]
    assert not answers

    asked.answer = SUMMARY
    clock.jump(60)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
    assert answers == [SUMMARY] * 2000
    assert len(asked.questions) == 4
    assert len(one_poll) == 0


async def test_each_interval_is_kept_and_what_is_due_together_is_one_read() -> None:
    clock, asked = ManualClock(), Asked()
    one_poll = Poll(asked, clock=clock)
    with one_poll.joined(batch(60), 60), one_poll.joined(batch(30), 30), one_poll.joined(batch(45), 45):
        clock.time = 10_800.5  # just after a point that all three share
        await clock.settle()
        asked.questions.clear()
        await clock.pass_time(180)

    due = [sorted(str(question.batch_id) for question in questions) for questions in asked.questions]
    assert due == [
        ["b30"],
        ["b45"],
        ["b30", "b60"],
        ["b30", "b45"],
        ["b30", "b60"],
        ["b45"],
        ["b30"],
        ["b30", "b45", "b60"],
    ]


async def test_a_newcomer_does_not_wait_for_a_longer_interval() -> None:
    clock, asked = ManualClock(), Asked()
    one_poll = Poll(asked, clock=clock)
    with one_poll.joined(batch(1), 3600):
        await clock.settle()
        with one_poll.joined(batch(2), 10):
            await clock.pass_time(10)
            assert asked.questions == [{batch(2)}]


async def test_an_interval_of_zero_does_not_spin() -> None:
    clock, asked = ManualClock(), Asked()
    with Poll(asked, clock=clock).joined(batch(1), 0):
        await clock.pass_time(1)
    assert len(asked.questions) in (10, 11)


async def test_the_last_that_leaves_ends_the_poll() -> None:
    asked = Asked()
    before = asyncio.all_tasks()
    with poll.joined("sqlite:///a.db", asked, batch(1), 60):
        with poll.joined("sqlite:///a.db", asked, batch(2), 60):
            assert set(poll._polls) == {("sqlite:///a.db", Question)}
        assert set(poll._polls) == {("sqlite:///a.db", Question)}
        (task,) = asyncio.all_tasks() - before
    assert not poll._polls
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.done()


async def test_each_store_has_its_own_poll_and_errors() -> None:
    good, bad = Asked(), Asked()
    good.answer = SUMMARY
    bad.errors = iter([StoreNotMigrated("b.db is old")])
    with (
        poll.joined("sqlite:///a.db", good, batch(1), 0.1) as well,
        poll.joined("sqlite:///b.db", bad, batch(2), 0.1) as ill,
    ):
        with pytest.raises(StoreNotMigrated, match=r"b\.db is old"):
            await asyncio.wait_for(ill.answer(), PATIENCE_S)
        assert await asyncio.wait_for(well.answer(), PATIENCE_S) == SUMMARY
        assert set(poll._polls) == {("sqlite:///a.db", Question)}
        assert (good.questions[0], bad.questions) == ({batch(1)}, [{batch(2)}])


async def test_each_kind_of_question_has_its_own_poll_and_errors() -> None:
    deliveries, other = Asked(), itertools.count(17)

    def count(questions: Collection[str]) -> dict[str, int]:
        return {question: next(other) for question in questions}

    deliveries.errors = iter([StoreNotMigrated("old")])
    with (
        poll.joined("sqlite:///a.db", deliveries, batch(1), 0.1) as ill,
        poll.joined("sqlite:///a.db", count, "how many", 0.1) as well,
    ):
        with pytest.raises(StoreNotMigrated):
            await asyncio.wait_for(ill.answer(), PATIENCE_S)
        assert await asyncio.wait_for(well.answer(), PATIENCE_S) >= 17
    assert not poll._polls


async def test_a_cancelled_trigger_leaves_and_the_others_go_on() -> None:
    clock, asked = ManualClock(), Asked()
    one_poll = Poll(asked, clock=clock)

    async def trigger(number: int) -> DeliverySummary | None:
        with one_poll.joined(batch(number), 60) as watch:
            return await watch.answer()

    stays, goes = (asyncio.create_task(trigger(number)) for number in (1, 2))
    await clock.settle()
    goes.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goes
    await clock.pass_time(60)
    assert asked.questions == [{batch(1)}]
    assert await stays is None


async def test_a_store_that_is_away_is_polled_ever_slower_until_it_is_back() -> None:
    clock, asked = ManualClock(), Asked()
    asked.answer = SUMMARY
    failures = MAX_FAILED_POLLS - 1
    # Twice the number of failures that would end it, with one answer between: only failures in a row count.
    asked.errors = iter([*[StoreUnavailable("away")] * failures, None, *[StoreUnavailable("away")] * failures, None])
    one_poll = Poll(asked, clock=clock)
    times: list[float] = []
    with one_poll.joined(batch(1), 60) as watch:
        for _ in range(2 * failures + 2):
            await clock.settle()
            clock.jump(clock.until - clock.time)
            times.append(clock.time)
        await clock.settle()
        assert await asyncio.wait_for(watch.answer(), PATIENCE_S) == SUMMARY
    waits = [after - before for before, after in itertools.pairwise(times[: failures + 1])]
    assert waits == [60, 120, 240, *[MAX_BACKOFF_S] * (failures - 3)]


async def test_a_store_that_stays_away_fails_all_who_wait() -> None:
    clock, asked = ManualClock(), Asked()
    asked.errors = (StoreUnavailable("away for good") for _ in itertools.count())
    one_poll = Poll(asked, clock=clock)
    with contextlib.ExitStack() as stack:
        watches = [stack.enter_context(one_poll.joined(batch(number), 60 + number)) for number in range(50)]
        waiting = [asyncio.create_task(watch.answer()) for watch in watches]
        async with asyncio.timeout(PATIENCE_S):
            while not all(task.done() for task in waiting):
                if clock._idle.is_set():
                    clock.jump(max(clock.until - clock.time, 0))
                await asyncio.sleep(0)
        errors = [task.exception() for task in waiting]
    assert len(asked.questions) == MAX_FAILED_POLLS
    assert all(isinstance(error, StoreUnavailable) for error in errors)
    # Fifty raises of one error must not make one traceback of fifty.
    assert len(traceback.extract_tb(errors[-1].__traceback__ if errors[-1] else None)) < 12


async def test_an_unexpected_error_reaches_all_who_wait_at_once_with_its_type() -> None:
    class UnexpectedError(Exception):
        pass

    clock, asked = ManualClock(), Asked()
    asked.errors = iter([UnexpectedError("a bug")])
    one_poll = Poll(asked, clock=clock)
    with one_poll.joined(batch(1), 60) as due, one_poll.joined(batch(2), 3600) as not_due:
        await clock.settle()
        clock.jump(60)
        for watch in (due, not_due):
            with pytest.raises(UnexpectedError, match="a bug"):
                await asyncio.wait_for(watch.answer(), PATIENCE_S)


async def test_after_a_death_the_next_trigger_gets_a_new_poll() -> None:
    dies, lives = Asked(), Asked()
    dies.errors = itertools.repeat(RuntimeError("dead"))
    lives.answer = SUMMARY
    with poll.joined("sqlite:///a.db", dies, batch(1), 0.1) as first:
        with pytest.raises(RuntimeError, match="dead"):
            await asyncio.wait_for(first.answer(), PATIENCE_S)
        with poll.joined("sqlite:///a.db", lives, batch(2), 0.1) as second:
            assert await asyncio.wait_for(second.answer(), PATIENCE_S) == SUMMARY
    assert not poll._polls


async def test_a_poll_that_is_cancelled_lets_nobody_wait_for_ever() -> None:
    clock, asked = ManualClock(), Asked()
    before = asyncio.all_tasks()
    one_poll = Poll(asked, clock=clock)
    with one_poll.joined(batch(1), 60) as watch:
        await clock.settle()
        (task,) = asyncio.all_tasks() - before
        task.cancel()
        with pytest.raises(RuntimeError, match="cancelled"):
            await asyncio.wait_for(watch.answer(), PATIENCE_S)


def test_event_loops_come_and_go() -> None:
    asked = Asked()
    asked.answer = SUMMARY

    async def wait_once() -> DeliverySummary | None:
        with poll.joined("sqlite:///a.db", asked, batch(1), 0.1) as watch:
            return await asyncio.wait_for(watch.answer(), PATIENCE_S)

    async def shut_down() -> None:
        """As a triggerer does: the loop ends with triggers that wait."""

        async def trigger() -> None:
            with poll.joined("sqlite:///a.db", asked, batch(1), 3600) as watch:
                await watch.answer()

        waiting = asyncio.create_task(trigger())
        await asyncio.sleep(0)
        assert not waiting.done()

    assert asyncio.run(wait_once()) == SUMMARY
    asyncio.run(shut_down())
    assert not poll._polls
    assert asyncio.run(wait_once()) == SUMMARY


async def test_a_loop_that_was_dropped_does_not_take_its_poll_along() -> None:
    asked = Asked()
    asked.answer = SUMMARY
    dropped = asyncio.new_event_loop()
    stack = contextlib.ExitStack()

    async def join() -> Watch[Question, DeliverySummary | None]:
        return stack.enter_context(poll.joined("sqlite:///a.db", asked, batch(1), 3600))

    await asyncio.to_thread(dropped.run_until_complete, join())
    with poll.joined("sqlite:///a.db", asked, batch(2), 0.1) as watch:
        assert await asyncio.wait_for(watch.answer(), PATIENCE_S) == SUMMARY
        stack.close()
        assert set(poll._polls) == {("sqlite:///a.db", Question)}
    for task in asyncio.all_tasks(dropped):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.to_thread(dropped.run_until_complete, task)
    dropped.close()


async def test_a_slow_read_does_not_hold_the_loop_up() -> None:
    reading, release = threading.Event(), threading.Event()
    threads = []

    def slow(questions: Collection[Question]) -> dict[Question, DeliverySummary | None]:
        threads.append(threading.current_thread())
        reading.set()
        assert release.wait(PATIENCE_S)
        return dict.fromkeys(questions, SUMMARY)

    with Poll(slow).joined(batch(1), 0.1) as watch:
        async with asyncio.timeout(PATIENCE_S):
            while not reading.is_set():
                await asyncio.sleep(0.01)
            release.set()
            assert await watch.answer() == SUMMARY
    assert threads[0] is not threading.main_thread()


async def test_leaving_while_the_store_is_asked_is_harmless() -> None:
    reading, release = threading.Event(), threading.Event()

    def slow(questions: Collection[Question]) -> dict[Question, DeliverySummary | None]:
        reading.set()
        assert release.wait(PATIENCE_S)
        return dict.fromkeys(questions, SUMMARY)

    with poll.joined("sqlite:///a.db", slow, batch(1), 0.1):
        async with asyncio.timeout(PATIENCE_S):
            while not reading.is_set():
                await asyncio.sleep(0.01)
    assert not poll._polls
    with poll.joined("sqlite:///a.db", slow, batch(2), 0.1) as next_one:
        release.set()
        assert await asyncio.wait_for(next_one.answer(), PATIENCE_S) == SUMMARY


async def test_the_poll_does_not_speak_in_the_first_triggers_name() -> None:
    log_context: contextvars.ContextVar[str] = contextvars.ContextVar("log_context", default="nobody")
    seen = []

    def read(questions: Collection[Question]) -> dict[Question, DeliverySummary | None]:
        seen.append(log_context.get())
        return dict.fromkeys(questions, replace(SUMMARY, batch_id="b1"))

    log_context.set("the first trigger")
    with Poll(read).joined(batch(1), 0.1) as watch:
        await asyncio.wait_for(watch.answer(), PATIENCE_S)
    assert seen[0] == "nobody"
