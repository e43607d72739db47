"""What became of a send: the XCom contract, and whether it is a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_mm7.exceptions import (
    AnswerMismatch,
    MediaUnavailable,
    MM7Error,
    NotSent,
    OutcomeUnknown,
    RetryableStatusError,
    StoreUnavailable,
)
from airflow_provider_mm7.protocol import mask
from airflow_provider_mm7.sending.outcome import quote
from airflow_provider_mm7.store import BatchSummary, State, Submission

#: Messages listed in a result; more would make XCom a data store.
MAX_LISTED_MESSAGES = 1_000
#: Masked numbers named in an error.
MAX_NAMED_NUMBERS = 5
#: States that a failure is about.
PROBLEM_STATES = (State.UNKNOWN, State.SENDING, State.REFUSED, State.RETRY)
#: Errors that ended a run, and need not end the next one.
_PASSING = (NotSent, OutcomeUnknown, RetryableStatusError, MediaUnavailable, StoreUnavailable)


class FailOn(StrEnum):
    """Which refusals make the task fail."""

    ANY = "any"
    ALL = "all"
    NEVER = "never"


class OnUnknown(StrEnum):
    """What a retry does with messages whose outcome is unknown."""

    HOLD = "hold"
    RESEND = "resend"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What became of a batch.

    :ivar messages: its submissions, up to :data:`MAX_LISTED_MESSAGES`.
    :ivar problems: those that are not accepted, up to as many.
    :ivar halted_by: the error for which sending stopped before the end, or for which some were set aside, if one did.
    :ivar missing: recipients that another task took out of the batch before they were sent.
    """

    summary: BatchSummary
    messages: tuple[Submission, ...] = ()
    problems: tuple[Submission, ...] = ()
    halted_by: MM7Error | None = None
    missing: int = 0

    def as_xcom(self, *, messages: bool = True) -> dict[str, Any]:
        """Return the XCom contract; a message that another process is sending counts as unknown."""
        counts = self.summary
        contract: dict[str, Any] = {
            "batch_id": counts.batch_id,
            "total": counts.total,
            "accepted": counts.accepted,
            "refused": counts.refused,
            "unknown": counts.unknown + counts.sending,
            "suppressed": counts.suppressed,
            "planned": counts.planned,
        }
        if messages:
            contract["messages"] = [
                {
                    "recipient": message.recipient,
                    "message_id": message.message_id,
                    "transaction_id": message.transaction_id,
                    "state": str(message.state),
                    "status_code": message.status_code,
                    "status_text": message.status_text,
                }
                for message in self.messages[:MAX_LISTED_MESSAGES]
            ]
        return contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a send is not a success.

    :ivar retryable: whether running it again under the same key can help.
    :ivar text: for a person; numbers masked.
    """

    retryable: bool
    text: str


def find_failure(result: SendResult, *, fail_on: FailOn, on_unknown: OnUnknown) -> Failure | None:
    """Judge a result.

    Unsent messages come first: a run that can still send something is worth repeating, whatever else went wrong.
    """
    counts, where = result.summary, f"batch {result.summary.batch_id}"
    unknown = counts.unknown + counts.sending
    if result.missing:
        # To try again would take out the other task's.
        return Failure(
            retryable=False,
            text=f"{where}: {result.missing} recipients were not sent to: another task sends to others under this "
            "idempotency_key and took them out. Give each task a key of its own",
        )
    if counts.planned and result.halted_by is not None and not _worth_repeating(result.halted_by):
        return Failure(
            retryable=False, text=f"{where}: {counts.planned} of {counts.total} not sent: {result.halted_by}"
        )
    if counts.planned:
        why = f": {result.halted_by}" if result.halted_by else _told(result.problems, State.RETRY)
        return Failure(retryable=True, text=f"{where}: {counts.planned} of {counts.total} not sent yet{why}")
    if unknown:
        held = on_unknown is OnUnknown.HOLD
        remedy = (
            "They are held: look them up at the MMSC, or run again with on_unknown='resend'"
            if held
            else "They are sent again by the next try"
        )
        return Failure(
            retryable=not held,
            text=f"{where}: the outcome of {unknown} of {counts.total} is unknown, they may have been accepted "
            f"({_numbers(result.problems, State.UNKNOWN, State.SENDING)}). {remedy}",
        )
    too_many = (
        counts.refused if fail_on is FailOn.ANY else fail_on is FailOn.ALL and counts.refused and not counts.accepted
    )
    if too_many:
        return Failure(
            retryable=False,
            text=f"{where}: {counts.refused} of {counts.total} refused{_told(result.problems, State.REFUSED)}",
        )
    return None


def _worth_repeating(error: MM7Error) -> bool:
    return isinstance(error, _PASSING) and not isinstance(error, AnswerMismatch)


def _numbers(messages: Iterable[Submission], *states: State) -> str:
    numbers = [mask(message.recipient) for message in messages if message.state in states]
    more = len(numbers) - MAX_NAMED_NUMBERS
    return ", ".join(numbers[:MAX_NAMED_NUMBERS]) + (f" and {more} more" if more > 0 else "")


def _told(messages: Sequence[Submission], state: State) -> str:
    """Say what the MMSC answered: code and text with the masked numbers it answered so for."""
    answers = Counter(
        (message.status_code, message.status_text) for message in messages if message.state is state
    ).most_common(3)
    told = [
        f"{' '.join(str(item) for item in (code, quote(text)) if item is not None) or 'no answer'}: "
        + _numbers((m for m in messages if (m.status_code, m.status_text) == (code, text)), state)
        for (code, text), _ in answers
    ]
    return f" ({'; '.join(told)})" if told else ""
