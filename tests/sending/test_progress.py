"""How far a run is, as the log tells it."""

from __future__ import annotations

from airflow_provider_mm7.sending.progress import Progress
from airflow_provider_mm7.store import BatchSummary, Settlement, State


def summary(total: int, **counts: int) -> BatchSummary:
    states = {"accepted": 0, "refused": 0, "unknown": 0, "suppressed": 0, "sending": 0, **counts}
    return BatchSummary(batch_id="b", total=total, planned=total - sum(states.values()), **states)


def settle(state: State, count: int) -> list[Settlement]:
    return [Settlement(submission_id=number, state=state) for number in range(count)]


def test_rate_and_what_is_left_are_of_this_run() -> None:
    told: list[str] = []
    now = [100.0]
    progress = Progress(tell=told.append, clock=lambda: now[0])
    progress.begin(summary(10_000, accepted=4_000, refused=10))
    for second, state, count in (
        (4, State.ACCEPTED, 100), (9.9, State.REFUSED, 3), (10, State.UNKNOWN, 2), (11, State.RETRY, 50),
        (19.9, State.ACCEPTED, 1), (21, State.ACCEPTED, 945),
    ):  # fmt: skip
        now[0] = 100.0 + second
        progress.settled(settle(state, count))
    assert told == [
        "4115 of 10000 done, 10.5 messages/s, 0:09:20 left: 4100 accepted, 13 refused, 2 unknown",
        "5061 of 10000 done, 50.0 messages/s, 0:01:39 left: 5046 accepted, 13 refused, 2 unknown",
    ]


def test_nothing_settled_yet() -> None:
    told: list[str] = []
    now = [0.0]
    progress = Progress(tell=told.append, clock=lambda: now[0])
    progress.begin(summary(5))
    now[0] = 10.0
    progress.settled(settle(State.RETRY, 5))
    assert told == ["0 of 5 done, 0.0 messages/s, unknown left: 0 accepted, 0 refused, 0 unknown"]
