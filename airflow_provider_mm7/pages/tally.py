"""Counts as people read them: what became of messages, and how a single one is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_provider_mm7.protocol import MMStatus, Outcome, status_text
from airflow_provider_mm7.store import State, Submission
from airflow_provider_mm7.store.overview import Counts

#: What a label is coloured by.
GOOD: Final = "good"
BAD: Final = "bad"
DOUBT: Final = "doubt"
WAITS: Final = "waits"
QUIET: Final = "quiet"

_UNSENT = (State.PLANNED, State.RETRY, State.SENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A word for what became of a message.

    :ivar tone: one of :data:`GOOD`, :data:`BAD`, :data:`DOUBT`, :data:`WAITS`, :data:`QUIET`.
    """

    text: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Messages by what became of them. ``total`` is the sum of the others but ``accepted``."""

    total: int
    #: by the MMSC; the sum of delivered, failed, ambiguous and waiting.
    accepted: int
    delivered: int
    failed: int
    ambiguous: int
    #: accepted, and nothing final heard of yet.
    waiting: int
    refused: int
    unknown: int
    suppressed: int
    #: planned, to be tried again, or under way.
    unsent: int

    @classmethod
    def of(cls, counts: Counts) -> Tally:
        """Sum up counts by state and delivery status."""
        outcomes = dict.fromkeys((*Outcome, None), 0)
        states = dict.fromkeys(State, 0)
        for (state, delivery), n in counts.items():
            states[State(state)] += n
            if state == State.ACCEPTED:
                outcomes[outcome_of(delivery)] += n
        return cls(
            total=sum(states.values()),
            accepted=states[State.ACCEPTED],
            delivered=outcomes[Outcome.DELIVERED],
            failed=outcomes[Outcome.FAILED],
            ambiguous=outcomes[Outcome.AMBIGUOUS],
            waiting=outcomes[Outcome.INTERIM] + outcomes[None],
            refused=states[State.REFUSED],
            unknown=states[State.UNKNOWN],
            suppressed=states[State.SUPPRESSED],
            unsent=sum(states[state] for state in _UNSENT),
        )

    def share(self, n: int) -> str:
        """Say how much of the accepted ones something is."""
        return percent(n, self.accepted)

    @property
    def bar(self) -> list[tuple[str, float, float]]:
        """The tone, place and width of each piece of a bar of 100."""
        pieces, at = [], 0.0
        for tone, n in (
            (GOOD, self.delivered),
            (DOUBT, self.ambiguous + self.unknown),
            (BAD, self.failed + self.refused),
            (WAITS, self.waiting),
            (QUIET, self.suppressed),
        ):
            if n and self.total:
                width = 100 * n / self.total
                pieces.append((tone, round(at, 3), round(width, 3)))
                at += width
        return pieces


def outcome_of(delivery: str) -> Outcome | None:
    """Return what a delivery status says; None where there is no report."""
    return MMStatus.parse(delivery).outcome if delivery else None


def percent(part: int, whole: int) -> str:
    """Write a share so that not all is never 100 %, and something is never 0 %."""
    if not whole:
        return "0\u00a0%"
    value = 100 * part / whole
    if 0 < value < 0.1:
        return "<\u00a00.1\u00a0%"
    if 99.9 < value < 100:
        return ">\u00a099.9\u00a0%"
    return f"{value:.1f}".removesuffix(".0") + "\u00a0%"


def tone_of(delivery: str) -> str:
    """Return the colour of a delivery status."""
    tones = {Outcome.DELIVERED: GOOD, Outcome.FAILED: BAD, Outcome.AMBIGUOUS: DOUBT, Outcome.INTERIM: WAITS}
    outcome = outcome_of(delivery)
    return WAITS if outcome is None else tones[outcome]


def label_of(message: Submission) -> Label:
    """Say what became of a message."""
    match message.state:
        case State.ACCEPTED:
            return Label(text=message.delivery or "no report yet", tone=tone_of(message.delivery or ""))
        case State.REFUSED:
            return Label(text=refusal(message.status_code), tone=BAD)
        case State.UNKNOWN:
            return Label(text="unknown whether accepted", tone=DOUBT)
        case State.SUPPRESSED:
            return Label(text="suppressed", tone=QUIET)
        case State.RETRY:
            return Label(text="to be tried again", tone=WAITS)
        case State.SENDING:
            return Label(text="being sent", tone=WAITS)
        case _:
            return Label(text="not sent yet", tone=QUIET)


def refusal(code: int | None) -> str:
    """Say why something was refused."""
    return "refused" if code is None else f"refused: {code} {status_text(code)}"
