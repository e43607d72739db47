"""Special recipients: numbers that make the sandbox misbehave, as payment gateways have test cards.

The number is ``+1 500 XXX NNNN``. NPA 500 is a valid area code behind which no handset is; the last four digits say
what happens and ``XXX`` (200 to 999; 555 in the examples) is free, so that a large batch can hold many of a kind.
Every other number is an ordinary handset: the message is accepted and, where a report was asked for, Retrieved.

:data:`SCENARIOS` is the one source: the server acts by it, ``GET /_sandbox/scenarios`` shows it, docs/sandbox.rst
prints it, and the tests go through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from airflow_provider_mm7.protocol import STATUS_CODES, number_key, status_text

#: E.164 digits of a special recipient: NANP area code 500, any exchange, four digits that choose the scenario.
SPECIAL_NUMBER = re.compile(r"1500[2-9]\d\d(?P<code>\d{4})")
#: The same, found in a body that is still arriving.
SPECIAL_IN_BYTES = re.compile(rb">\s*(?P<number>\+?1500[2-9]\d\d(?P<code>\d{4}))\s*(?:/TYPE=[^<]*)?<")


class Behaviour(StrEnum):
    """What happens to the HTTP exchange."""

    ANSWER = "answer"
    FAULT = "fault"
    HTTP_STATUS = "http-status"
    RESET_BEFORE_BODY = "reset-before-body"
    RESET_AFTER_BODY = "reset-after-body"
    NEVER_ANSWERS = "never-answers"
    GARBAGE = "garbage"
    NOT_HTTP = "not-http"
    HALF_AN_ANSWER = "half-an-answer"
    NO_MESSAGE_ID = "no-message-id"
    SLOW = "slow"


#: The MMSC took the message, whether or not the client can know it.
ACCEPTING = frozenset(
    {
        Behaviour.RESET_AFTER_BODY,
        Behaviour.NEVER_ANSWERS,
        Behaviour.HALF_AN_ANSWER,
        Behaviour.NO_MESSAGE_ID,
        Behaviour.SLOW,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStep:
    """One callback about one recipient.

    :ivar mm_status: MMStatus as it is spelled on the wire.
    :ivar turn: how many report delays after the answer it is posted; 0 is before the answer.
    :ivar date_offset_s: seconds added to its Date, so that the order of dates and of arrival can differ.
    :ivar late: posted after ``--late-seconds`` more.
    :ivar swapped: Recipient and Sender exchanged, as one real MMSC does.
    :ivar type_suffix: the address carries ``/TYPE=PLMN``.
    :ivar read_reply: a ReadReplyReq, sent only where ReadReply was asked for.
    """

    mm_status: str
    turn: int = 1
    date_offset_s: int = 0
    late: bool = False
    swapped: bool = False
    type_suffix: bool = False
    read_reply: bool = False


_READ = ReportStep(mm_status="Read", turn=2, read_reply=True)
RETRIEVED = (ReportStep(mm_status="Retrieved"), _READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the table.

    :ivar code: the last four digits.
    :ivar name: readable; scripts may use it in place of the code.
    :ivar meaning: the sentence in the documentation.
    :ivar status_code: MM7 status of the answer.
    :ivar http_status: HTTP status of the answer.
    :ivar retry_after: value of Retry-After, if any.
    :ivar details: text of Details.
    :ivar times: only so many requests in a row misbehave, then one is accepted, and so on; 0 means each one.
    :ivar delay_s: seconds before the answer.
    :ivar reports: callbacks per recipient when a report was asked for.
    """

    code: str
    name: str
    meaning: str
    behaviour: Behaviour = Behaviour.ANSWER
    status_code: int = 1000
    http_status: int = 200
    retry_after: str | None = None
    details: str | None = None
    times: int = 0
    delay_s: float = 0.0
    reports: tuple[ReportStep, ...] = RETRIEVED

    @property
    def accepts(self) -> bool:
        """A MessageID is assigned: from here on a second try is a doubled message."""
        return self.behaviour in ACCEPTING or (self.behaviour is Behaviour.ANSWER and 1000 <= self.status_code < 2000)

    @property
    def example(self) -> str:
        """A recipient that plays this scenario."""
        return f"+1500555{self.code}"


ORDINARY = Scenario(code="0000", name="ordinary", meaning="Accepted, Retrieved; the same as any ordinary number.")

#: Status codes that get a row of their own; every other number from 1000 to 4999 answers its own code as well.
DOCUMENTED_STATUS_CODES = (
    *(1000, 1100),
    *(2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008, 2009, 2569),
    *(3000, 3001, 3002, 3003, 3004, 3500, 3510),
    *(4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008),
)


def _status_scenario(code: int) -> Scenario:
    text = status_text(code)
    if code == 1100:
        meaning = "Accepted for the other recipients; Details name this one, which gets no report."
        return Scenario(
            code="1100", name="status-1100", meaning=f"Status 1100, {text}. {meaning}", status_code=1100, reports=()
        )
    meaning = f"Status {code}, {text}." if code in STATUS_CODES else f"Status {code}, a vendor's own."
    reports = RETRIEVED if 1000 <= code < 2000 else ()
    return Scenario(code=f"{code:04d}", name=f"status-{code}", meaning=meaning, status_code=code, reports=reports)


def _http(code: str, http_status: int, meaning: str, retry_after: str | None = None, times: int = 0) -> Scenario:
    name = f"http-{http_status}" + (f"-{times}-times" if times else "")
    return Scenario(
        code=code,
        name=name,
        meaning=meaning,
        behaviour=Behaviour.HTTP_STATUS,
        http_status=http_status,
        retry_after=retry_after,
        times=times,
        reports=RETRIEVED if times else (),
    )


def _broken(code: str, behaviour: Behaviour, meaning: str, times: int = 0) -> Scenario:
    name = str(behaviour) + (f"-{times}-times" if times else "")
    reports = RETRIEVED if behaviour in ACCEPTING or times else ()
    return Scenario(code=code, name=name, meaning=meaning, behaviour=behaviour, times=times, reports=reports)


def _fault(code: str, name: str, status: int, http_status: int, meaning: str) -> Scenario:
    return Scenario(
        code=code,
        name=name,
        meaning=meaning,
        behaviour=Behaviour.FAULT,
        status_code=status,
        http_status=http_status,
        reports=(),
    )


def _report(code: str, mm_status: str, meaning: str, **changes: bool) -> Scenario:
    step = ReportStep(mm_status=mm_status, **changes)
    reads = (replace(_READ, late=step.late),) if mm_status in {"Retrieved", "Delivered"} else ()
    return Scenario(
        code=code,
        name=f"report-{re.sub('[^a-z]+', '-', mm_status.lower())}",
        meaning=meaning,
        reports=(step, *reads),
    )


_ANSWERS = (
    _fault("0201", "fault-2007", 2007, 500, "SOAP Fault with RSErrorRsp 2007 in HTTP 500."),
    _fault("0202", "fault-4006", 4006, 200, "SOAP Fault with RSErrorRsp 4006 in HTTP 200."),
    _http("0401", 401, "HTTP 401, whatever the credentials."),
    _http("0403", 403, "HTTP 403, as for an address outside the allow list."),
    _http("0409", 409, "HTTP 409, one MMSC's throttle answer."),
    _http("0429", 429, "HTTP 429 with Retry-After: 1.", "1"),
    _http("0500", 500, "HTTP 500 without an MM7 answer."),
    _http("0503", 503, "HTTP 503 with Retry-After: 1.", "1"),
    _http("0601", 429, "HTTP 429 (Retry-After: 1) twice, then accepted.", "1", times=2),
    _http("0602", 503, "HTTP 503 (Retry-After: 1) once, then accepted.", "1", times=1),
    Scenario(
        code="0603", name="status-4006-1-times", meaning="Status 4006 once, then accepted.", status_code=4006, times=1
    ),
    Scenario(
        code="0604", name="status-3000-2-times", meaning="Status 3000 twice, then accepted.", status_code=3000, times=2
    ),
    _broken("0605", Behaviour.RESET_BEFORE_BODY, "As 0901 once, then accepted.", times=1),
    _broken("0606", Behaviour.RESET_AFTER_BODY, "As 0902 once (accepted!), then accepted again.", times=1),
    _broken("0901", Behaviour.RESET_BEFORE_BODY, "Connection reset as soon as the recipient is read. Not accepted."),
    _broken("0902", Behaviour.RESET_AFTER_BODY, "Accepted, then the connection is reset without an answer."),
    _broken("0903", Behaviour.NEVER_ANSWERS, "Accepted, and never answered: a read time-out."),
    _broken("0904", Behaviour.GARBAGE, "HTTP 200 with a proxy's HTML page. Not accepted."),
    _broken("0905", Behaviour.HALF_AN_ANSWER, "Accepted; the connection closes in the middle of the answer."),
    _broken("0906", Behaviour.NO_MESSAGE_ID, "Accepted with status 1000, but the SubmitRsp has no MessageID."),
    _broken("0907", Behaviour.SLOW, "Accepted, answered after --slow-seconds."),
    _broken("0908", Behaviour.NOT_HTTP, "Bytes that are not HTTP, then the connection closes. Not accepted."),
)

_REPORTS = (
    _report("5001", "Retrieved", "Report Retrieved."),
    _report("5002", "Expired", "Report Expired."),
    _report("5003", "Rejected", "Report Rejected."),
    _report("5004", "Indeterminate", "Report Indeterminate."),
    _report("5005", "Forwarded", "Report Forwarded."),
    _report("5006", "Unrecognised", "Report Unrecognised (Rel-6)."),
    _report("5007", "Deferred", "Report Deferred and nothing after it (Rel-6, interim)."),
    _report("5008", "DeliveryConditionNotMet", "Report DeliveryConditionNotMet (Rel-6)."),
    _report("5009", "Processing", "Report Processing and nothing after it (Rel-6, interim)."),
    _report("5010", "Cancelled", "Report Cancelled (Rel-6)."),
    _report("5011", "Replaced", "Report Replaced (Rel-6)."),
    _report("5012", "Delivered", "Report Delivered (Rel-6)."),
    _report("5021", "Unrecognized", "Report in another spelling: Unrecognized."),
    _report("5022", "Unreachable", "Report with a status of no standard: Unreachable."),
    _report("5023", "NotSupported", "Report with a status of no standard: NotSupported."),
    _report("5024", "Third:User Retrieved", "Report with a status of no standard: Third:User Retrieved."),
    replace(_report("5025", "RETRIEVED", "Report Retrieved in capitals."), name="report-capitals"),
    Scenario(code="5100", name="no-report", meaning="Accepted, and no report ever.", reports=()),
    Scenario(
        code="5101",
        name="report-before-answer",
        meaning="Report Retrieved posted, and its answer awaited, before the SubmitRsp is sent.",
        reports=(ReportStep(mm_status="Retrieved", turn=0), _READ),
    ),
    Scenario(
        code="5102",
        name="reports-out-of-order",
        meaning="Retrieved, then an older Deferred, then the same Retrieved again.",
        reports=(
            ReportStep(mm_status="Retrieved", turn=1),
            ReportStep(mm_status="Deferred", turn=2, date_offset_s=-60),
            ReportStep(mm_status="Retrieved", turn=3),
        ),
    ),
    replace(_report("5103", "Retrieved", "Recipient and Sender exchanged.", swapped=True), name="report-swapped"),
    Scenario(
        code="5104",
        name="report-deferred-then-retrieved",
        meaning="Interim Deferred, then Retrieved.",
        reports=(
            ReportStep(mm_status="Deferred", turn=1, date_offset_s=-60),
            ReportStep(mm_status="Retrieved", turn=2),
            replace(_READ, turn=3),
        ),
    ),
    replace(_report("5105", "Retrieved", "Address with /TYPE=PLMN.", type_suffix=True), name="report-type-suffix"),
    replace(_report("5106", "Retrieved", "Report after --late-seconds.", late=True), name="report-late"),
    Scenario(
        code="5107",
        name="report-three-times",
        meaning="The same report Retrieved three times, the first before the SubmitRsp.",
        reports=(
            ReportStep(mm_status="Retrieved", turn=0),
            ReportStep(mm_status="Retrieved", turn=1),
            ReportStep(mm_status="Retrieved", turn=2),
        ),
    ),
    Scenario(
        code="5201",
        name="deleted-unread",
        meaning="Retrieved; a read reply, where asked for, says Deleted.",
        reports=(ReportStep(mm_status="Retrieved"), replace(_READ, mm_status="Deleted")),
    ),
    Scenario(
        code="5202",
        name="no-read-reply",
        meaning="Retrieved; no read reply is sent even where asked for.",
        reports=(ReportStep(mm_status="Retrieved"),),
    ),
)

#: The whole table by its four digits.
SCENARIOS: dict[str, Scenario] = {
    one.code: one
    for one in sorted(
        (ORDINARY, *_ANSWERS, *map(_status_scenario, DOCUMENTED_STATUS_CODES), *_REPORTS), key=lambda one: one.code
    )
}
_BY_NAME = {one.name: one for one in SCENARIOS.values()}


def scenario_of_code(code: str) -> Scenario:
    """The scenario of four digits; those without a meaning are ordinary.

    :param code: four digits.
    """
    known = SCENARIOS.get(code)
    if known is not None:
        return known
    if code.isdigit() and 1000 <= int(code) <= 4999:
        return _status_scenario(int(code))
    return ORDINARY


def scenario_of_name(name: str) -> Scenario | None:
    """The scenario of a name of the table, or of its four digits; None when there is none."""
    return _BY_NAME.get(name) or (scenario_of_code(name) if re.fullmatch(r"\d{4}", name) else None)


def scenario_of_number(number: str) -> Scenario:
    """What a recipient plays.

    :param number: an address as it stands on the wire.
    """
    match = SPECIAL_NUMBER.fullmatch(number_key(number))
    return scenario_of_code(match["code"]) if match else ORDINARY


def table_rows() -> Iterator[tuple[str, str, str]]:
    """(example recipient, name, meaning) of each row of the documented table."""
    for one in SCENARIOS.values():
        yield one.example, one.name, one.meaning
