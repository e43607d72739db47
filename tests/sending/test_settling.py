"""Answers that wait for a ledger that is away, on a clock that goes when it is waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import pytest

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.sending import settling
from airflow_provider_mm7.sending.halt import Halt, never
from airflow_provider_mm7.sending.settling import RECORD_LONGEST_PAUSE_S, RECORD_PAUSE_S, Settler
from airflow_provider_mm7.store import Settlement, State, Store

LEASE_S = 240.0
ANSWERED = (Settlement(submission_id=1, state=State.ACCEPTED, message_id="m-1"),)


class Time(Halt):
    """A clock, and the way to wait for it.

    :ivar told_at: when somebody wants the run to end.
    """

    def __init__(self, told_after_s: float = float("inf")) -> None:
        super().__init__()
        self.now = 1000.0
        self.told_at = self.now + told_after_s

    def __call__(self) -> float:
        return self.now

    def wait_until(self, moment: float, *, unless: Callable[[], bool] = never) -> bool:
        if moment >= self.told_at:
            self.set()
        self.now = max(self.now, min(moment, self.told_at))
        return not self


class Ledger:
    """A ledger that is away until a moment."""

    def __init__(self, time: Time, *, back_after_s: float) -> None:
        self.time = time
        self.back_at = time.now + back_after_s
        self.asked: list[float] = []
        self.settled = 0

    def settle(self, _: str, settlements: Sequence[Settlement]) -> int:
        self.asked.append(self.time.now)
        if self.time.now < self.back_at:
            raise StoreUnavailable("connection refused")
        self.settled += len(settlements)
        return len(settlements)


def settler(ledger: Ledger, time: Time) -> Settler:
    return Settler(cast(Store, ledger), lease_s=LEASE_S, told=time, clock=time)


@pytest.mark.parametrize("away_s", [0.0, 1.0, 15.0, 230.0])
def test_an_outage_shorter_than_a_lease_is_outlasted(away_s: float) -> None:
    time = Time()
    ledger = Ledger(time, back_after_s=away_s)
    chosen = settler(ledger, time)
    chosen.settle("b", ANSWERED)
    assert (ledger.settled, chosen.away) == (1, False)
    pauses = [after - before for before, after in pairwise(ledger.asked)]
    assert pauses == sorted(pauses)
    assert all(RECORD_PAUSE_S <= pause + 0.001 <= RECORD_LONGEST_PAUSE_S + 0.002 for pause in pauses)


def test_one_span_of_time_for_however_many_answers(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    began, ledger = time.now, Ledger(time, back_after_s=10 * LEASE_S)
    chosen = settler(ledger, time)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            chosen.settle("b", ANSWERED)
    assert (time.now, chosen.away) == (began + LEASE_S, True)
    # At its end, and once for each of the others.
    assert ledger.asked.count(time.now) == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING, *[logging.ERROR] * 3]
    assert "m-1" in caplog.text

    # The next outage has its own.
    time.now = ledger.back_at
    chosen.settle("b", ANSWERED)
    ledger.back_at = time.now + LEASE_S / 2
    chosen.settle("b", ANSWERED)
    assert ledger.settled == 2


def test_a_lease_that_is_longer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "RECORD_FOR_S", 60.0)
    time = Time()
    began, ledger = time.now, Ledger(time, back_after_s=61.0)
    with pytest.raises(StoreUnavailable):
        settler(ledger, time).settle("b", ANSWERED)
    assert time.now == began + 60.0


def test_whoever_wants_the_run_to_end_waits_for_one_more_attempt() -> None:
    time = Time(told_after_s=17.0)
    ledger = Ledger(time, back_after_s=LEASE_S)
    chosen = settler(ledger, time)
    with pytest.raises(StoreUnavailable):
        chosen.settle("b", ANSWERED)
    assert ledger.asked[-1] == time.now == time.told_at
    ledger.back_at = time.now
    chosen.settle("b", ANSWERED)
    assert ledger.settled == 1


def test_a_refusal_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    ledger = Ledger(time, back_after_s=0)

    def refuse(batch_id: str, settlements: Sequence[Settlement]) -> int:
        ledger.asked.append(time.now)
        raise StoreError("refused")

    monkeypatch.setattr(ledger, "settle", refuse)
    chosen = settler(ledger, time)
    with pytest.raises(StoreError):
        chosen.settle("b", ANSWERED)
    assert (len(ledger.asked), chosen.away) == (1, False)
