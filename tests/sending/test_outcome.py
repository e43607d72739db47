"""Every answer an MMSC can give, as a table: what becomes of the messages (TS 23.140 clause 8.7.8.3)."""

from __future__ import annotations

import pytest

from airflow_provider_mm7.exceptions import (
    AccessDenied,
    AnswerMismatch,
    ConnectFailed,
    ConnectionConfigError,
    InputError,
    MediaAccessDenied,
    MediaUnavailable,
    MM7Error,
    NotAnMM7Server,
    OutcomeUnknown,
    RecipientError,
    RetryableStatusError,
    ThrottledOrDown,
)
from airflow_provider_mm7.protocol import (
    CancelRsp,
    DeliverReq,
    Envelope,
    Fault,
    Message,
    RSErrorRsp,
    Status,
    SubmitRsp,
    VASPErrorRsp,
    Verdict,
)
from airflow_provider_mm7.sending.outcome import MAX_STATUS_TEXT, Outcome, failed, read_outcome
from airflow_provider_mm7.store import State, Submission

NUMBERS = ("+64211234567", "+64211234568", "+64211234569")

PERMANENT = [*range(2000, 2010), 3001, 3002, 3004, *range(4001, 4006), 4007, 4008]
RETRY = [3000, 4000, 4006]
#: x000 of their class, and 3000 outside of them.
OTHERS = {1999: "accepted", 2500: "refused", 2999: "refused", 3500: "retry", 3999: "retry", 4500: "retry"}
OUTSIDE = {-1: "retry", 0: "retry", 999: "retry", 5000: "retry", 99999: "retry"}
TABLE = {
    1000: "accepted",
    1100: "accepted",
    3003: "refused",
    **dict.fromkeys(PERMANENT, "refused"),
    **dict.fromkeys(RETRY, "retry"),
    **OTHERS,
    **OUTSIDE,
}


def group(count: int = 1) -> list[Submission]:
    return [
        Submission(
            id=index + 1, batch_id="b", row=0, recipient=NUMBERS[index], state=State.SENDING, transaction_id="t1"
        )
        for index in range(count)
    ]


def judge(message: Message, count: int = 1, overrides: dict[int, Verdict] | None = None) -> Outcome:
    return read_outcome(group(count), Envelope(message=message, transaction_id="t1"), overrides or {})


def states(outcome: Outcome) -> list[str]:
    return [str(item.state) for item in outcome.settlements]


@pytest.mark.parametrize(("code", "state"), TABLE.items())
def test_each_code_of_a_submit_rsp(code: int, state: str) -> None:
    outcome = judge(SubmitRsp(status=Status(status_code=code, status_text="said"), message_id="m1"))
    (settled,) = outcome.settlements
    assert (settled.state, settled.status_code, settled.status_text) == (state, code, "said")
    assert settled.transaction_id == "t1"
    assert settled.message_id == ("m1" if state == "accepted" else None)
    assert (outcome.halts, outcome.split, outcome.passing) == (False, False, state == "retry")
    assert (outcome.failure is None) == (state != "retry")


@pytest.mark.parametrize("code", [code for code, state in TABLE.items() if state != "accepted"])
def test_each_error_counts_the_same_in_a_fault(code: int) -> None:
    assert states(judge(RSErrorRsp(status=Status(status_code=code)))) == [TABLE[code]]


@pytest.mark.parametrize("kind", [RSErrorRsp, VASPErrorRsp, CancelRsp])
@pytest.mark.parametrize("code", [1000, 1100, 1999])
def test_a_success_in_another_operations_answer_is_doubt(kind: type[RSErrorRsp | CancelRsp], code: int) -> None:
    outcome = judge(kind(status=Status(status_code=code)), count=2)
    assert states(outcome) == ["unknown", "unknown"]
    assert isinstance(outcome.failure, OutcomeUnknown)


def test_what_is_no_answer_is_doubt() -> None:
    outcome = judge(DeliverReq())
    assert states(outcome) == ["unknown"]
    assert outcome.settlements[0].status_text == "the MMSC answered with a DeliverReq"


def test_a_success_without_message_id_is_accepted() -> None:
    (settled,) = judge(SubmitRsp(status=Status(status_code=1000))).settlements
    assert (settled.state, settled.message_id, settled.status_text) == ("accepted", None, "Success")


def test_text_is_the_standards_where_the_mmsc_gives_none_and_bounded_where_it_gives_much() -> None:
    assert judge(SubmitRsp(status=Status(status_code=2002))).settlements[0].status_text == "Address error"
    essay = judge(SubmitRsp(status=Status(status_code=2002, status_text="x" * 10_000))).settlements[0].status_text
    assert essay == "x" * MAX_STATUS_TEXT


@pytest.mark.parametrize(
    ("code", "verdict", "state"),
    [
        (2569, Verdict.RETRY, "retry"),
        (3500, Verdict.RETRY, "retry"),
        (3001, Verdict.RETRY, "retry"),
        (3000, Verdict.PERMANENT, "refused"),
        (4006, Verdict.PERMANENT, "refused"),
        (3003, Verdict.RETRY, "retry"),
    ],
)
def test_overrides(code: int, verdict: Verdict, state: str) -> None:
    assert states(judge(SubmitRsp(status=Status(status_code=code)), count=2, overrides={code: verdict})) == [state] * 2
    assert states(judge(SubmitRsp(status=Status(status_code=2000)), overrides={code: verdict})) == ["refused"]


def test_3003_splits_a_group() -> None:
    assert judge(RSErrorRsp(status=Status(status_code=3003)), count=2) == Outcome(split=True)


@pytest.mark.parametrize(
    ("fault_code", "code", "state"),
    [
        ("soap:Client", 2000, "refused"),
        ("Client.Authentication", 2000, "refused"),
        ("SOAP-ENV:Server", 3000, "retry"),
        ("server.busy", 3000, "retry"),
        ("VersionMismatch", 4002, "refused"),
        ("s:MustUnderstand", 4001, "refused"),
        ("Other", 3000, "retry"),
        ("", 3000, "retry"),
        (None, 3000, "retry"),
    ],
)
def test_a_fault_without_status_counts_by_its_side(fault_code: str | None, code: int, state: str) -> None:
    (settled,) = judge(Fault(fault_code=fault_code, fault_string="why")).settlements
    assert (settled.state, settled.status_code, settled.status_text) == (state, code, "why")


class TestPartialSuccess:
    @pytest.mark.parametrize(
        "details",
        [
            "+64211234568",
            "64211234568",
            "+64211234568/TYPE=PLMN",
            "failed: 64211234568",
            "Number=64211234568",
            "64211234568:2002",
            "(+64211234568)",
            "'64211234568'",
            "<Number>+64211234568</Number>",
            "+64-21-123-4568",
            "12345678901;64211234568,99",
        ],
    )
    def test_those_named_are_refused(self, details: str) -> None:
        status = Status(status_code=1100, status_text="Partial success", details=details)
        outcome = judge(SubmitRsp(status=status, message_id="m1"), count=3)
        assert states(outcome) == ["accepted", "refused", "accepted"]
        assert [item.message_id for item in outcome.settlements] == ["m1", None, "m1"]

    @pytest.mark.parametrize("details", [None, "", "some failed", "642112345", "642112345689", "164211234568"])
    def test_nobody_is_guessed(self, details: str | None) -> None:
        status = Status(status_code=1100, details=details)
        assert states(judge(SubmitRsp(status=status, message_id="m1"), count=3)) == ["accepted"] * 3

    def test_one_recipient_who_is_named_is_refused(self) -> None:
        status = Status(status_code=1100, details=NUMBERS[0])
        assert states(judge(SubmitRsp(status=status, message_id="m1"))) == ["refused"]


@pytest.mark.parametrize(
    ("error", "state", "then"),
    [
        (ConnectFailed("refused"), "retry", "passes"),
        (ThrottledOrDown("429", http_status=429), "retry", "passes"),
        (AccessDenied("401", http_status=401), "retry", "halts"),
        (NotAnMM7Server("404", http_status=404), "retry", "halts"),
        (NotAnMM7Server("413", http_status=413), "retry", "goes on"),
        (MediaAccessDenied("pictures/7.gif", "denied", "Ask"), "retry", "goes on"),
        (OutcomeUnknown("lost"), "unknown", "goes on"),
        (AnswerMismatch("mixed up"), "unknown", "halts"),
        (ConnectionConfigError("headers", "unusable", "Mend it"), "retry", "halts"),
        (InputError("subject", "unusable", "Mend it"), "retry", "halts"),
        (RecipientError("media", "pictures/7.gif is not there", "Put it there"), "refused", "goes on"),
        (MediaUnavailable("s3 did not answer", source="s3://b/k"), "retry", "passes"),
        (MM7Error("composing failed: KeyError"), "retry", "halts"),
    ],
)
def test_what_fails_below_mm7(error: MM7Error, state: str, then: str) -> None:
    outcome = failed(group(2), error)
    assert states(outcome) == [state, state]
    assert {item.status_text for item in outcome.settlements} == {str(error)}
    assert {item.status_code for item in outcome.settlements} == {None}
    assert outcome.failure is error
    assert (outcome.passing, outcome.halts) == (then == "passes", then == "halts")


def test_a_status_that_passes_is_told_without_the_number_that_it_quotes() -> None:
    status = Status(status_code=4006, status_text="no service for +64 21 123 4567\nnow")
    failure = judge(RSErrorRsp(status=status)).failure
    assert isinstance(failure, RetryableStatusError)
    assert failure.status_code == 4006
    assert "4006 no service for" in str(failure)
    assert "4567" not in str(failure) + failure.status_text
    assert "\n" not in str(failure)
