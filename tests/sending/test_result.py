"""The XCom contract, and when a result is a failure."""

from __future__ import annotations

import pytest

from airflow_provider_mm7.exceptions import AccessDenied, AnswerMismatch, ConnectFailed, MM7Error, OutcomeUnknown
from airflow_provider_mm7.sending import FailOn, Failure, OnUnknown, SendResult, find_failure
from airflow_provider_mm7.sending.result import MAX_LISTED_MESSAGES
from airflow_provider_mm7.store import BatchSummary, State, Submission

DENIED = AccessDenied("HTTP 401: no", http_status=401)


def row(number: int, state: State, code: int | None = None, text: str | None = None) -> Submission:
    return Submission(
        id=number,
        batch_id="b1",
        row=0,
        recipient=f"+6421{number:07d}",
        state=state,
        status_code=code,
        status_text=text,
        transaction_id=f"t{number}",
    )


def result(*rows: Submission, halted_by: MM7Error | None = None) -> SendResult:
    def count(*states: State) -> int:
        return sum(item.state in states for item in rows)

    return SendResult(
        summary=BatchSummary(
            batch_id="b1",
            total=len(rows),
            accepted=count(State.ACCEPTED),
            refused=count(State.REFUSED),
            unknown=count(State.UNKNOWN),
            suppressed=count(State.SUPPRESSED),
            planned=count(State.PLANNED, State.RETRY),
            sending=count(State.SENDING),
        ),
        messages=rows,
        problems=tuple(item for item in rows if item.state is not State.ACCEPTED),
        halted_by=halted_by,
    )


def judge(
    *rows: Submission,
    halted_by: MM7Error | None = None,
    fail_on: FailOn = FailOn.ANY,
    on_unknown: OnUnknown = OnUnknown.HOLD,
) -> Failure | None:
    return find_failure(result(*rows, halted_by=halted_by), fail_on=fail_on, on_unknown=on_unknown)


OK = row(1, State.ACCEPTED, 1000, "Success")
BAD = row(2, State.REFUSED, 2002, "Address error")
LATER = row(3, State.RETRY, 4006, "Service unavailable")
DOUBT = row(4, State.UNKNOWN, None, "connection lost")
BUSY = row(5, State.SENDING)
WAITING = row(6, State.PLANNED)


class TestFailure:
    @pytest.mark.parametrize(
        ("rows", "fail_on", "fails"),
        [
            ([OK], FailOn.ANY, False),
            ([OK, BAD], FailOn.ANY, True),
            ([BAD], FailOn.ANY, True),
            ([OK, BAD], FailOn.ALL, False),
            ([BAD], FailOn.ALL, True),
            ([OK], FailOn.ALL, False),
            ([row(7, State.SUPPRESSED)], FailOn.ALL, False),
            ([BAD], FailOn.NEVER, False),
            ([], FailOn.ALL, False),
        ],
    )
    def test_refusals(self, rows: list[Submission], fail_on: FailOn, fails: bool) -> None:
        failure = judge(*rows, fail_on=fail_on)
        assert (failure is not None) is fails
        if failure:
            assert not failure.retryable
            assert "1 of" in failure.text
            assert "2002 Address error: +6421*****02" in failure.text

    @pytest.mark.parametrize("fail_on", FailOn)
    @pytest.mark.parametrize("in_doubt", [DOUBT, BUSY])
    def test_doubt_fails_whatever_fail_on_says(self, in_doubt: Submission, fail_on: FailOn) -> None:
        held = judge(OK, in_doubt, fail_on=fail_on)
        assert held is not None
        assert not held.retryable
        assert "1 of 2 is unknown" in held.text
        assert f"+6421*****0{in_doubt.id}" in held.text
        assert "on_unknown='resend'" in held.text
        again = judge(OK, in_doubt, fail_on=fail_on, on_unknown=OnUnknown.RESEND)
        assert again is not None
        assert again.retryable
        assert "sent again by the next try" in again.text

    @pytest.mark.parametrize("fail_on", FailOn)
    @pytest.mark.parametrize("others", [[], [BAD], [DOUBT], [BAD, DOUBT]])
    def test_what_can_still_be_sent_comes_first(self, others: list[Submission], fail_on: FailOn) -> None:
        failure = judge(OK, LATER, *others, fail_on=fail_on)
        assert failure is not None
        assert failure.retryable
        assert f"1 of {2 + len(others)} not sent yet (4006 Service unavailable: +6421*****03)" in failure.text

    @pytest.mark.parametrize(
        ("halted_by", "retryable"),
        [
            (ConnectFailed("refused"), True),
            (OutcomeUnknown("lost"), True),
            (AnswerMismatch("mixed up"), False),
            (DENIED, False),
            (MM7Error("composing failed: KeyError"), False),
            (None, True),
        ],
    )
    def test_why_the_rest_was_not_sent(self, halted_by: MM7Error | None, retryable: bool) -> None:
        failure = judge(OK, WAITING, halted_by=halted_by)
        assert failure is not None
        assert failure.retryable is retryable
        assert "1 of 2 not sent" in failure.text
        assert str(halted_by or "") in failure.text

    def test_what_stopped_it_does_not_matter_when_nothing_is_left(self) -> None:
        assert judge(OK, halted_by=DENIED) is None

    def test_few_numbers_are_named_and_all_are_masked(self) -> None:
        failure = judge(*(row(number, State.REFUSED, 2002, "no") for number in range(1, 101)))
        assert failure is not None
        assert "and 95 more" in failure.text
        assert failure.text.count("+6421*****") == 5

    @pytest.mark.parametrize(
        "quoted", ["+64210000002", "64210000002", "tel:64210000002", "64 21 000 0002", "021-000-0002"]
    )
    def test_a_peers_text_that_quotes_the_number_is_masked(self, quoted: str) -> None:
        failure = judge(row(2, State.REFUSED, 2002, f"unknown subscriber {quoted}!"))
        assert failure is not None
        assert quoted not in failure.text
        assert "unknown subscriber" in failure.text

    def test_text_of_many_lines_stays_one(self) -> None:
        failure = judge(row(2, State.REFUSED, 2002, "a\r\n[ERROR] forged\tline"))
        assert failure is not None
        assert failure.text.isprintable()


class TestContract:
    def test_names_and_counts(self) -> None:
        contract = result(OK, BAD, LATER, DOUBT, BUSY, WAITING).as_xcom()
        assert {key: value for key, value in contract.items() if key != "messages"} == {
            "batch_id": "b1",
            "total": 6,
            "accepted": 1,
            "refused": 1,
            "unknown": 2,
            "suppressed": 0,
            "planned": 2,
        }
        assert contract["messages"][1] == {
            "recipient": "+64210000002",
            "message_id": None,
            "transaction_id": "t2",
            "state": "refused",
            "status_code": 2002,
            "status_text": "Address error",
        }

    def test_one_thousand_messages_at_most(self) -> None:
        rows = [row(number, State.ACCEPTED) for number in range(MAX_LISTED_MESSAGES + 1)]
        contract = result(*rows).as_xcom()
        assert (contract["total"], len(contract["messages"])) == (1001, 1000)

    def test_and_none_when_not_wanted(self) -> None:
        assert "messages" not in result(OK).as_xcom(messages=False)
