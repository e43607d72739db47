"""A connection's rate as the MMSC sees it: over several processes, and when the machine holds one of them up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.sending import FailOn, OnUnknown, find_failure
from airflow_provider_mm7.sending.halt import Halt, never
from airflow_provider_mm7.sending.pacer import (
    AHEAD_S,
    HEADROOM,
    LATE_S,
    SLICE_S,
    Pace,
    Pacer,
    moments_per_s,
    within_rate,
)
from airflow_provider_mm7.store import Store, open_store, tables
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.sending import numbers, run, states

#: Messages a second.
RATE = 50.0
#: Seconds for which a process is held up.
STALL_S = 0.4
#: Seconds between looks at how late this process is.
TICK_S = 0.002


def send_in_a_process(url: str, store_url: str, key: str, count: int) -> None:
    run(open_store(store_url), url, numbers(count), key=key, rate_per_s=RATE)


class Arrivals:
    """When requests came in, and how late this process may have been to see it."""

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.late_s = 0.0

    def answer(self, received: Received) -> Answer:
        self.moments.append(time.monotonic())
        return accept(received)

    @contextmanager
    def watched(self) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            before = time.monotonic()
            while not ended.wait(TICK_S):
                now = time.monotonic()
                self.late_s = max(self.late_s, now - before - TICK_S)
                before = now

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def most_in(self, seconds: float) -> int:
        """Count the fullest stretch of that length, wherever it begins."""
        moments = sorted(self.moments)
        most = first = 0
        for last, moment in enumerate(moments):
            while moment - moments[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many moments were taken from the store, each time."""
    noted: list[int] = []
    real = Store.reserve

    def reserve(*arguments: Any, **named: Any) -> float:
        noted.append(named["slots"])
        return real(*arguments, **named)

    monkeypatch.setattr(Store, "reserve", reserve)
    return noted


class TestSeveralProcesses:
    def test_no_second_holds_more_than_the_rate_though_one_is_held_up(
        self, store: Store, either_ledger_url: str
    ) -> None:
        arrivals = Arrivals()
        context = multiprocessing.get_context("spawn")
        with mmsc(arrivals.answer) as centre:
            processes = [
                context.Process(target=send_in_a_process, args=(centre.url, either_ledger_url, key, 100))
                for key in ("one", "two")
            ]
            with arrivals.watched():
                for process in processes:
                    process.start()
                victim = processes[0].pid
                assert victim is not None
                while len(arrivals.moments) < RATE:
                    time.sleep(TICK_S)
                os.kill(victim, signal.SIGSTOP)
                time.sleep(STALL_S)
                os.kill(victim, signal.SIGCONT)
                for process in processes:
                    process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert len(arrivals.moments) == 200
        # What is seen late may be seen in a heap: what came in a stretch that is shorter by that came within a second.
        assert arrivals.most_in(1 - arrivals.late_s) <= RATE

    def test_the_rate_is_used_and_no_more_is(self, store: Store) -> None:
        arrivals = Arrivals()
        with mmsc(arrivals.answer) as centre:
            started = time.monotonic()
            threads = [
                threading.Thread(
                    target=run, args=(store, centre.url, numbers(50)), kwargs={"key": key, "rate_per_s": RATE}
                )
                for key in ("one", "two")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(arrivals.moments) == 100
        # None before its moment, however late a busy machine is with some of them. The two clocks may differ a little.
        for place, moment in enumerate(sorted(arrivals.moments)):
            assert moment - started >= place / RATE - 0.01
        # A machine that is busy with other things loses moments, but there are always more.
        assert max(arrivals.moments) - min(arrivals.moments) <= 100 / (0.2 * RATE)


class TestWhatTakesMoments:
    def test_each_recipient_of_a_group(self, store: Store) -> None:
        with mmsc() as centre:
            started = time.monotonic()
            result = run(store, centre.url, numbers(12), per_request=4, rate_per_s=RATE)
        assert time.monotonic() - started >= 8 / RATE
        assert states(result) == {"accepted": 12}

    def test_no_request_holds_more_recipients_than_a_second_may(self, store: Store) -> None:
        with mmsc() as centre:
            result = run(store, centre.url, numbers(12), per_request=100, rate_per_s=7.5)
        assert states(result) == {"accepted": 12}
        assert sorted(len(received.recipients) for received in centre.received) == [5, 7]

    def test_each_part_of_a_group_that_is_split(self, store: Store) -> None:
        def singles_only(received: Received) -> Answer:
            return accept(received) if len(received.recipients) == 1 else status(3003)(received)

        with mmsc(singles_only) as centre:
            started = time.monotonic()
            result = run(store, centre.url, numbers(10), per_request=10, rate_per_s=RATE)
        assert states(result) == {"accepted": 10}
        assert time.monotonic() - started >= 19 / RATE

    def test_each_further_try(self, store: Store) -> None:
        def answer(received: Received) -> Answer:
            return status(4006)(received) if len(centre.received) % 2 else accept(received)

        with mmsc(answer) as centre:
            started = time.monotonic()
            result = run(store, centre.url, numbers(10), rate_per_s=RATE, max_connections=1)
        assert states(result) == {"accepted": 10}
        assert time.monotonic() - started >= (len(centre.received) - 1) / RATE

    def test_nothing_else(self, store: Store, taken: list[int]) -> None:
        """A task that sends one message takes one moment, so that the next task need not wait for more."""
        with mmsc() as centre:
            for key in range(3):
                run(store, centre.url, numbers(1), key=str(key), rate_per_s=RATE)
        assert set(taken) == {1}


def test_what_waits_for_its_moment_does_not_leave_once_it_is_stopped(store: Store) -> None:
    with mmsc() as centre:
        result = run(store, centre.url, numbers(5), rate_per_s=0.001, stopped=lambda: bool(centre.received))
        assert len(centre.received) == 1
    assert (result.summary.accepted, result.summary.planned) == (1, 4)


def test_a_store_without_moments_ends_the_run_and_another_one_is_worth_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> float:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(Store, "reserve", away)
    with mmsc() as centre:
        result = run(store, centre.url, numbers(5), rate_per_s=RATE)
        assert centre.received == []
    assert isinstance(result.halted_by, StoreUnavailable)
    assert result.summary.planned == 5
    failure = find_failure(result, fail_on=FailOn.ALL, on_unknown=OnUnknown.HOLD)
    assert failure is not None
    assert failure.retryable


class Dozing(Halt):
    """Wakes up too late, as often as it is told to; notes by how many seconds."""

    def __init__(self, times: int, late_s: float) -> None:
        super().__init__()
        self.woken: list[float] = []
        self._times = times
        self._late_s = late_s

    def wait_until(self, moment: float, *, unless: Callable[[], bool] = never) -> bool:
        # Not of moments that are long over.
        ahead = moment > time.monotonic()
        came = super().wait_until(moment, unless=unless)
        if ahead and len(self.woken) < self._times:
            time.sleep(self._late_s)
        self.woken.append(time.monotonic() - moment)
        return came


class TestMomentsThatAreMissed:
    def test_are_not_made_up_for(self, store: Store) -> None:
        halt = Dozing(times=5, late_s=2 * LATE_S)
        pacer = Pacer(store, Pace(conn_id="c", rate_per_s=RATE), group_size=1, halt=halt)
        assert pacer.wait(1, unless=never)
        assert len(halt.woken) > 5
        assert halt.woken[-1] <= LATE_S

    def test_a_store_that_is_slow_delays_and_does_not_starve(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Store.reserve

        def slow(*arguments: Any, **named: Any) -> float:
            taken = real(*arguments, **named)
            time.sleep(0.2)
            return taken

        monkeypatch.setattr(Store, "reserve", slow)
        pacer = Pacer(store, Pace(conn_id="c", rate_per_s=RATE), group_size=1, halt=Halt())
        started = time.monotonic()
        assert pacer.wait(1, unless=never)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("group_size", [1, 5])
def test_a_clock_that_is_set_back_stops_nobody(store: Store, group_size: int) -> None:
    pace = Pace(conn_id="c", rate_per_s=RATE)
    assert Pacer(store, pace, group_size=group_size, halt=Halt()).wait(group_size, unless=never)
    ahead = sa.update(tables.rate).values(next_at=datetime.now(UTC) + timedelta(hours=1))
    store._db.write(lambda connection: connection.execute(ahead))
    started = time.monotonic()
    assert Pacer(store, pace, group_size=group_size, halt=Halt()).wait(group_size, unless=lambda: over(started))


def over(started: float) -> bool:
    return time.monotonic() > started + 30


def test_moments_are_not_taken_far_ahead(store: Store, taken: list[int]) -> None:
    stop = threading.Event()
    pacer = Pacer(store, Pace(conn_id="c", rate_per_s=10), group_size=1, halt=Halt(stop.is_set))
    threads = [threading.Thread(target=pacer.wait, args=(1,), kwargs={"unless": never}) for _ in range(50)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    # So many are asked for at once that they would all be taken, did nothing hold them.
    while sum(taken) <= 10 * AHEAD_S / 2 and not over(started):
        threads[0].join(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert 10 * AHEAD_S / 2 < sum(taken) <= 10 * (time.monotonic() - started + AHEAD_S) + 1
    assert max(taken) <= 10 * SLICE_S


@pytest.mark.parametrize(
    ("rate_per_s", "group_size", "used"),
    [(50, 1, 50), (2.5, 1, 2.5), (50, 4, 48), (50, 50, 50), (50, 100, 50), (0.5, 4, 0.5)],
)
def test_a_second_holds_whole_requests(rate_per_s: float, group_size: int, used: float) -> None:
    assert moments_per_s(rate_per_s, group_size) == pytest.approx(used * (1 - HEADROOM))


@pytest.mark.parametrize(
    ("group_size", "rate_per_s", "held"),
    [(1, 50, 1), (4, 50, 4), (50, 50, 50), (51, 50, 50), (100, 2.9, 2), (100, 0.5, 1), (1, 0.5, 1), (100, None, 100)],
)
def test_a_request_holds_no_more_than_a_second(group_size: int, rate_per_s: float | None, held: int) -> None:
    assert within_rate(group_size, rate_per_s) == held


def test_lateness_and_headroom_go_together() -> None:
    """With every moment up to LATE_S late and as much again on the way, a second holds no more than the rate."""
    for rate in (1, 10, 50, 500):
        apart = 1 / moments_per_s(rate, 1)
        assert (1 + LATE_S + HEADROOM / 4) / apart <= rate
