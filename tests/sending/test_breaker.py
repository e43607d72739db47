"""The circuit breaker by itself, on a clock of the test."""

from __future__ import annotations

import pytest

from airflow_provider_mm7.exceptions import (
    AccessDenied,
    MediaUnavailable,
    MM7Error,
    NotSent,
    OutcomeUnknown,
    RecipientError,
    RetryableStatusError,
    ThrottledOrDown,
)
from airflow_provider_mm7.sending.breaker import Circuit
from airflow_provider_mm7.sending.outcome import Outcome, failed
from airflow_provider_mm7.sending.patience import Patience

ANSWER = Outcome()
SPLIT = Outcome(split=True)
UNTRIED = Outcome(untried=True)
DOWN = failed((), NotSent("refused"))
NOT_NOW = Outcome(failure=RetryableStatusError("4006", status_code=4006, status_text="no"), passing=True)
NO_MEDIA = failed((), MediaUnavailable("no answer", source="s3://b/k"))
DOUBT = failed((), OutcomeUnknown("lost"))
UNMADE = failed((), RecipientError("media", "not there", "Put it there"))
DENIED = failed((), AccessDenied("401", http_status=401))

PATIENCE = Patience(jitter=0.0)
#: Seconds from the first failure to each probe.
PROBES_AT = [1, 3, 7, 14, 21]


def asking(seconds: float) -> Outcome:
    return failed((), ThrottledOrDown("HTTP 429", http_status=429, retry_after_s=seconds))


class Time:
    """A clock that stands until it is told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A circuit and its clock."""

    def __init__(self, patience: Patience = PATIENCE, doubt_limit: int = 16) -> None:
        self.time = Time()
        self.circuit = Circuit(patience, doubt_limit=doubt_limit, clock=self.time)

    def told(self, *outcomes: Outcome) -> bool:
        """Learn of requests that left while the circuit was closed."""
        for outcome in outcomes:
            halted = self.circuit.learn(outcome, probe=False)
        return halted

    def closed(self) -> bool:
        return self.circuit.closed

    def wants_probe(self) -> bool:
        return self.circuit.wants_probe

    def probe(self, outcome: Outcome, *, lasting_s: float = 0.0) -> bool:
        """Send a probe as soon as one is wanted."""
        assert self.circuit.probe_at is not None
        self.time.now = max(self.time.now, self.circuit.probe_at)
        assert self.circuit.wants_probe
        self.circuit.begin_probe()
        self.time.now += lasting_s
        return self.circuit.learn(outcome, probe=True)

    @property
    def halted_by(self) -> MM7Error | None:
        return self.circuit.halted_by


@pytest.mark.parametrize("failure", [DOWN, NOT_NOW, NO_MEDIA, asking(0)])
def test_it_opens_after_the_limit_in_a_row(failure: Outcome) -> None:
    run = Run()
    run.told(failure, failure, ANSWER, failure, failure)
    assert run.closed()
    run.told(failure)
    assert not run.closed()
    assert not run.wants_probe()


@pytest.mark.parametrize("neutral", [UNTRIED, UNMADE, DOUBT])
def test_what_says_nothing_about_the_mmsc_counts_for_nothing(neutral: Outcome) -> None:
    run = Run()
    run.told(neutral, DOWN, neutral, DOWN, neutral)
    assert run.closed()
    run.told(DOWN)
    assert not run.closed()
    run.told(neutral)
    assert not run.closed()


def test_one_probe_after_each_pause_and_then_it_is_enough() -> None:
    run = Run()
    began = run.time.now
    run.told(DOWN, NOT_NOW, DOWN)
    left = []
    while run.halted_by is None:
        assert not run.wants_probe()
        run.probe(DOWN)
        left.append(run.time.now - began)
    assert left == PROBES_AT
    assert run.halted_by is DOWN.failure


def test_while_a_probe_is_under_way_there_is_no_other() -> None:
    run = Run()
    run.told(DOWN, DOWN, DOWN)
    run.time.now += 1
    assert run.wants_probe()
    run.circuit.begin_probe()
    run.time.now += 100
    assert not run.wants_probe()
    run.circuit.learn(UNTRIED, probe=True)
    assert run.wants_probe()


@pytest.mark.parametrize("answer", [ANSWER, SPLIT])
def test_a_probe_that_is_answered_closes_it_and_everything_counts_anew(answer: Outcome) -> None:
    run = Run()
    run.told(DOWN, DOWN, DOWN)
    run.probe(DOWN)
    run.probe(answer)
    assert run.closed()
    run.told(DOWN, DOWN)
    assert run.closed()
    began = run.time.now
    run.told(DOWN)
    run.probe(DOWN)
    assert run.time.now - began == PROBES_AT[0]


def test_an_answer_to_what_left_before_closes_it_too() -> None:
    run = Run()
    run.told(DOWN, DOWN, DOWN, ANSWER)
    assert run.closed()


def test_a_probe_that_ends_after_another_answer_does_not_stand_in_the_way_of_the_next() -> None:
    run = Run()
    run.told(DOWN, DOWN, DOWN)
    run.time.now += 1
    run.circuit.begin_probe()
    run.told(ANSWER)
    run.circuit.learn(DOWN, probe=True)
    assert run.closed()
    run.told(DOWN, DOWN)
    run.time.now += 1
    assert run.wants_probe()


def test_failures_of_what_left_before_prolong_nothing() -> None:
    run = Run()
    run.told(*[DOWN] * 3)
    due = run.circuit.probe_at
    run.time.now += 0.5
    run.told(*[DOWN] * 60)
    assert run.circuit.probe_at == due


def test_slow_failures_are_enough_earlier() -> None:
    run = Run()
    run.told(DOWN, DOWN, DOWN)
    probes = 0
    while run.halted_by is None:
        run.probe(DOWN, lasting_s=10)
        probes += 1
    assert probes == 2


class TestRetryAfter:
    def test_one_is_enough_to_hold_everything_for_as_long_as_was_asked(self) -> None:
        run = Run()
        run.told(asking(5))
        assert not run.closed()
        run.time.now += 4.9
        assert not run.wants_probe()
        run.time.now += 0.1
        assert run.wants_probe()

    def test_answers_to_what_left_before_do_not_cut_it_short(self) -> None:
        run = Run()
        run.told(asking(5), ANSWER)
        assert not run.closed()
        run.probe(ANSWER)
        assert run.closed()

    def test_the_longest_counts(self) -> None:
        run = Run()
        began = run.time.now
        run.told(asking(5), asking(9), asking(2), DOWN, DOWN, DOWN)
        run.probe(ANSWER)
        assert run.time.now - began == 9

    def test_a_shorter_one_than_our_own_pause_does_not_shorten_it(self) -> None:
        run = Run()
        run.told(asking(0.5))
        run.probe(asking(0.5))
        began = run.time.now
        run.probe(asking(0.5))
        assert run.time.now - began == 2

    def test_asking_on_and_on_is_enough_after_all_probes(self) -> None:
        run = Run()
        run.told(asking(60))
        for probe in range(len(PROBES_AT)):
            assert run.probe(asking(60)) == (probe == len(PROBES_AT) - 1)
        assert isinstance(run.halted_by, ThrottledOrDown)

    def test_time_that_was_asked_for_is_no_time_of_failing(self) -> None:
        run = Run()
        run.told(asking(100))
        assert not run.probe(DOWN)

    def test_longer_than_a_task_waits_ends_the_run_and_says_so(self) -> None:
        run = Run()
        assert run.told(asking(3600))
        assert isinstance(run.halted_by, ThrottledOrDown)
        assert (run.halted_by.http_status, run.halted_by.retry_after_s) == (429, 3600)
        assert "HTTP 429; it asks to wait 3600 s, until 20" in str(run.halted_by)


class TestHalting:
    def test_what_cannot_go_on_ends_the_run_at_once(self) -> None:
        run = Run()
        assert run.told(DENIED)
        assert run.halted_by is DENIED.failure

    def test_the_first_reason_counts(self) -> None:
        run = Run()
        assert run.told(DENIED, asking(3600), DOUBT)
        assert run.halted_by is DENIED.failure

    def test_doubt_in_a_row_ends_it_at_its_limit(self) -> None:
        run = Run(doubt_limit=3)
        assert not run.told(DOUBT, DOUBT, ANSWER, DOUBT, DOUBT, DOWN, DOUBT, DOUBT)
        assert run.told(DOUBT)
        assert run.halted_by is DOUBT.failure

    def test_a_probe_in_doubt_is_no_answer(self) -> None:
        run = Run(doubt_limit=100)
        run.told(DOWN, DOWN, DOWN)
        for probe in range(len(PROBES_AT)):
            assert run.probe(DOUBT) == (probe == len(PROBES_AT) - 1)
        assert run.halted_by is DOUBT.failure
