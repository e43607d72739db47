"""One exchange with the MMSC as settlements of the ledger: FACTS turned into states in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from airflow_provider_mm7.exceptions import (
    AnswerMismatch,
    MediaAccessDenied,
    MediaUnavailable,
    MM7Error,
    NotAnMM7Server,
    NotSent,
    OutcomeUnknown,
    RecipientError,
    RetryableStatusError,
)
from airflow_provider_mm7.protocol import (
    Envelope,
    Fault,
    Response,
    Status,
    SubmitRsp,
    Verdict,
    mask,
    number_key,
    status_text,
    verdict,
)
from airflow_provider_mm7.store import Settlement, State, Submission

#: A SOAP Fault without MM7 status counts as the class error of its side (SOAP 1.1 clause 4.4.1).
_FAULT_STATUS = {"client": 2000, "server": 3000, "versionmismatch": 4002, "mustunderstand": 4001}
_BETWEEN_WORDS = re.compile(r"[\s,;]+")
_DIGITS = re.compile(r"[0-9]+")
#: Errors that pass by themselves.
_PASSING = (NotSent, MediaUnavailable)
#: Errors after which the next message may fare better.
_GOING_ON = (*_PASSING, OutcomeUnknown, RecipientError)
#: HTTP statuses that may be about one message alone, as they are about what it holds (RFC 9110 clause 15.5).
_OF_ITS_CONTENT = frozenset({400, 413, 415, 422})
#: Text columns of the ledger hold what a person needs, not a peer's essay.
MAX_STATUS_TEXT = 500
#: Characters of a peer's text in an error.
MAX_QUOTED = 200
#: What looks like a phone number, blanks and dashes between its digits too.
_NUMBER = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){6,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one exchange means for its group.

    :ivar settlements: one a submission; none of those that must be split or were not tried.
    :ivar untried: whether there was no request: those that are not settled are given back.
    :ivar split: whether to submit the group's recipients one at a time (status 3003).
    :ivar failure: why the group is neither accepted nor refused by the MMSC, or may have been accepted; None when the
        MMSC took it or refused it for good.
    :ivar passing: whether the failure passes by itself: the same group may be sent later.
    :ivar halts: whether every other message would fail in the same way, so that sending stops.
    """

    settlements: tuple[Settlement, ...] = ()
    untried: bool = False
    split: bool = False
    failure: MM7Error | None = None
    passing: bool = False
    halts: bool = False


def read_outcome(
    group: Sequence[Submission],
    envelope: Envelope,
    overrides: Mapping[int, Verdict],
    *,
    retry_after_s: float | None = None,
) -> Outcome:
    """Settle a group by the MMSC's answer (TS 23.140 clause 8.7.8.3).

    :param retry_after_s: seconds that the MMSC asks to wait before what it refused for now is sent again.
    """
    message = envelope.message
    name = type(message).__name__
    status = find_status(message)
    if status is None:
        return failed(group, OutcomeUnknown(f"the MMSC answered with a {name}"))
    match verdict(status.status_code, overrides):
        case Verdict.ACCEPTED if isinstance(message, SubmitRsp):
            return _all(group, State.ACCEPTED, status, message_id=message.message_id)
        case Verdict.PARTIAL if isinstance(message, SubmitRsp):
            return _partial(group, status, message.message_id)
        case Verdict.ACCEPTED | Verdict.PARTIAL:
            return failed(group, OutcomeUnknown(f"the MMSC answered with a {name} of status {status.status_code}"))
        case Verdict.SPLIT if len(group) > 1:
            return Outcome(split=True)
        case Verdict.RETRY:
            return replace(_all(group, State.RETRY, status), failure=_not_now(status, retry_after_s), passing=True)
        case Verdict.PERMANENT | Verdict.SPLIT:
            return _all(group, State.REFUSED, status)


def find_status(message: object) -> Status | None:
    """Return the MM7 status of an answer; a bare SOAP Fault has one by its fault code."""
    if isinstance(message, Response):
        return message.status
    if isinstance(message, Fault):
        side = (message.fault_code or "").rpartition(":")[2].partition(".")[0].lower()
        return Status(
            status_code=_FAULT_STATUS.get(side, 3000), status_text=message.fault_string, details=message.detail
        )
    return None


def failed(group: Sequence[Submission], error: MM7Error) -> Outcome:
    """Settle a group for which composing or the exchange raised.

    What was surely not accepted may be sent again, later or once the connection is mended; the rest is unknown. A
    recipient whose message cannot be made is refused by us. What may be of one message alone sets that one aside.
    """
    state = State.RETRY
    if isinstance(error, OutcomeUnknown):
        state = State.UNKNOWN
    elif isinstance(error, RecipientError):
        state = State.REFUSED
    return replace(
        _all(group, state, text=str(error)),
        failure=error,
        passing=isinstance(error, _PASSING),
        # A closed door, a message that cannot be composed, answers that are mixed up: the next one fares no better.
        halts=isinstance(error, AnswerMismatch) or not (isinstance(error, _GOING_ON) or may_be_its_own(error)),
    )


def may_be_its_own(error: MM7Error | None) -> bool:
    """Tell whether an error that does not pass may be of one message alone, so that others are still worth a try.

    A store that lets nobody list what it holds says of a picture that is not there what it says of one that is secret.
    """
    if isinstance(error, NotAnMM7Server):
        return error.http_status in _OF_ITS_CONTENT
    return isinstance(error, MediaAccessDenied)


def quote(text: str | None) -> str | None:
    """Make a peer's text fit for one line of a log: some quote the recipient, and a line break could forge a line."""
    if not text:
        return None
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return _NUMBER.sub(lambda match: mask(match[0]), line)[:MAX_QUOTED]


def _not_now(status: Status, retry_after_s: float | None) -> RetryableStatusError:
    told = quote(status.status_text) or status_text(status.status_code)
    return RetryableStatusError(
        f"the MMSC takes nothing now: status {status.status_code} {told}",
        status_code=status.status_code,
        status_text=told,
        retry_after_s=retry_after_s,
    )


def _partial(group: Sequence[Submission], status: Status, message_id: str | None) -> Outcome:
    """Status 1100: Details name the addresses that failed; the others were accepted and are never sent again."""
    details = status.details or ""
    # As words, whose dashes and dots are left aside, and as runs of digits whatever stands around them.
    failed_keys = {number_key(word) for word in _BETWEEN_WORDS.split(details)} | set(_DIGITS.findall(details))
    settlements = [
        _settlement(item, State.REFUSED, status)
        if number_key(item.recipient) in failed_keys
        else _settlement(item, State.ACCEPTED, status, message_id=message_id)
        for item in group
    ]
    return Outcome(settlements=tuple(settlements))


def _all(
    group: Sequence[Submission],
    state: State,
    status: Status | None = None,
    *,
    message_id: str | None = None,
    text: str | None = None,
) -> Outcome:
    return Outcome(
        settlements=tuple(_settlement(item, state, status, message_id=message_id, text=text) for item in group)
    )


def _settlement(
    item: Submission, state: State, status: Status | None, *, message_id: str | None = None, text: str | None = None
) -> Settlement:
    if status is not None:
        text = status.status_text or status_text(status.status_code)
    return Settlement(
        submission_id=item.id,
        transaction_id=item.transaction_id,
        state=state,
        message_id=message_id,
        status_code=status.status_code if status else None,
        status_text=text[:MAX_STATUS_TEXT] if text else None,
    )
