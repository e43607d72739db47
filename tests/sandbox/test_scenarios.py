"""Every row of the table, played over real connections."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import phonenumbers
import pytest
import requests

from airflow_provider_mm7.sandbox.scenarios import (
    ORDINARY,
    SCENARIOS,
    Behaviour,
    Scenario,
    scenario_of_number,
    table_rows,
)
from tests.sandbox.client import envelope, field, multipart, on_the_wire, operation, status, submit, submit_body
from tests.support.sandbox import RunningSandbox


def by_behaviour(*behaviours: Behaviour, times: bool = False) -> list[object]:
    """Rows of the table, named by their code."""
    rows = [one for one in SCENARIOS.values() if one.behaviour in behaviours and bool(one.times) == times]
    assert rows
    return [pytest.param(one, id=one.code) for one in rows]


def the_message(sandbox: RunningSandbox, scenario: Scenario) -> dict[str, object]:
    """The one record, which says what was played."""
    (record,) = sandbox.messages()
    assert record["scenario"] == scenario.name
    return record


def test_every_row_can_be_dialled() -> None:
    assert len({one.name for one in SCENARIOS.values()}) == len(SCENARIOS)
    for scenario in SCENARIOS.values():
        number = phonenumbers.parse(scenario.example)
        assert phonenumbers.is_valid_number(number)
        assert scenario_of_number(scenario.example) == scenario
        assert scenario_of_number(scenario.example[1:]) == scenario
        assert scenario_of_number(scenario.example.replace("555", "299", 1)) == scenario


@pytest.mark.parametrize("number", ["7255441234", "+64211234567", "64211234567", "+6421002002", "+150055520021"])
def test_ordinary_numbers_are_ordinary(number: str) -> None:
    assert scenario_of_number(number) is ORDINARY


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.ANSWER, Behaviour.NO_MESSAGE_ID))
def test_status(sandbox: RunningSandbox, scenario: Scenario) -> None:
    answer = submit(sandbox, scenario.example)

    assert (answer.status_code, operation(answer), status(answer)) == (200, "SubmitRsp", scenario.status_code)
    assert field(answer, "TransactionID") == "tx-1"
    record = the_message(sandbox, scenario)
    assert record["accepted"] is (scenario.status_code // 1000 == 1)
    forgotten = scenario.behaviour is Behaviour.NO_MESSAGE_ID
    assert field(answer, "MessageID") == (None if forgotten else record["message_id"])
    # The schema asks for the element in refusals too.
    assert (b"<MessageID>" in answer.content) is not forgotten
    assert (record["message_id"] is not None) is record["accepted"]
    assert field(answer, "Details") == (scenario.example if scenario.status_code == 1100 else None)


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.SLOW))
def test_slow(make_sandbox: Callable[..., RunningSandbox], scenario: Scenario) -> None:
    sandbox = make_sandbox(slow_seconds=0.3)
    began = time.monotonic()
    answer = submit(sandbox, scenario.example)

    assert time.monotonic() - began >= 0.3
    assert field(answer, "MessageID") == the_message(sandbox, scenario)["message_id"]


def test_any_other_code_answers_itself(sandbox: RunningSandbox) -> None:
    assert status(submit(sandbox, "+15005554321")) == 4321


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.FAULT))
def test_fault(sandbox: RunningSandbox, scenario: Scenario) -> None:
    answer = submit(sandbox, scenario.example)

    assert answer.status_code == scenario.http_status
    assert (operation(answer), status(answer)) == ("RSErrorRsp", scenario.status_code)
    assert b":Fault>" in answer.content
    assert the_message(sandbox, scenario)["accepted"] is False


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.HTTP_STATUS))
def test_http_status(sandbox: RunningSandbox, scenario: Scenario) -> None:
    answer = submit(sandbox, scenario.example)

    assert answer.status_code == scenario.http_status
    assert answer.headers.get("Retry-After") == scenario.retry_after
    assert ("WWW-Authenticate" in answer.headers) is (scenario.http_status == 401)
    assert b"<" not in answer.content
    assert the_message(sandbox, scenario)["accepted"] is False


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.RESET_BEFORE_BODY, Behaviour.RESET_AFTER_BODY))
def test_reset(sandbox: RunningSandbox, scenario: Scenario) -> None:
    with pytest.raises(ConnectionResetError):
        on_the_wire(sandbox, multipart(envelope(submit_body(scenario.example))))

    assert the_message(sandbox, scenario)["accepted"] is (scenario.behaviour is Behaviour.RESET_AFTER_BODY)


def test_reset_comes_before_a_long_body_is_read(sandbox: RunningSandbox) -> None:
    body = multipart(envelope(submit_body("+15005550901")), media=bytes(8_000_000))
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        on_the_wire(sandbox, body)

    assert sandbox.messages()[0]["body_bytes"] < len(body) / 2


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.NEVER_ANSWERS))
def test_read_time_out(sandbox: RunningSandbox, scenario: Scenario) -> None:
    with pytest.raises(TimeoutError):
        on_the_wire(sandbox, multipart(envelope(submit_body(scenario.example))), timeout_s=0.5)

    assert the_message(sandbox, scenario)["accepted"] is True


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.GARBAGE))
def test_garbage(sandbox: RunningSandbox, scenario: Scenario) -> None:
    answer = submit(sandbox, scenario.example)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert the_message(sandbox, scenario)["accepted"] is False


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.NOT_HTTP))
def test_not_http(sandbox: RunningSandbox, scenario: Scenario) -> None:
    answer = on_the_wire(sandbox, multipart(envelope(submit_body(scenario.example))))

    assert answer
    assert not answer.startswith(b"HTTP/")
    assert the_message(sandbox, scenario)["accepted"] is False


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.HALF_AN_ANSWER))
def test_half_an_answer(sandbox: RunningSandbox, scenario: Scenario) -> None:
    head, _, body = on_the_wire(sandbox, multipart(envelope(submit_body(scenario.example)))).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200")
    announced = int(head.lower().partition(b"content-length: ")[2].split()[0])
    assert 0 < len(body) < announced
    assert the_message(sandbox, scenario)["accepted"] is True


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(one, id=one.code)
        for one in SCENARIOS.values()
        if one.times and one.behaviour in (Behaviour.ANSWER, Behaviour.HTTP_STATUS)
    ],
)
def test_only_the_first_times(sandbox: RunningSandbox, scenario: Scenario) -> None:
    cycle = [submit(sandbox, scenario.example) for _ in range(2 * (scenario.times + 1))]
    seen = [one.status_code if one.status_code != 200 else status(one) for one in cycle]

    bad = scenario.http_status if scenario.http_status != 200 else scenario.status_code
    assert seen == 2 * [*[bad] * scenario.times, 1000]
    assert len(sandbox.accepted()) == 2


@pytest.mark.parametrize("scenario", by_behaviour(Behaviour.RESET_BEFORE_BODY, Behaviour.RESET_AFTER_BODY, times=True))
def test_only_the_first_connection(sandbox: RunningSandbox, scenario: Scenario) -> None:
    body = multipart(envelope(submit_body(scenario.example)))
    with pytest.raises(ConnectionResetError):
        on_the_wire(sandbox, body)
    assert b"<StatusCode>1000<" in on_the_wire(sandbox, body)

    accepted = [one["accepted"] for one in sandbox.messages()]
    assert accepted == [scenario.behaviour is Behaviour.RESET_AFTER_BODY, True]


def test_one_special_among_many_decides(sandbox: RunningSandbox) -> None:
    answer = submit(sandbox, "+64211234567", "+15005552003", "+15005552004")

    assert status(answer) == 2003
    assert sandbox.accepted() == []


def test_partial_success_names_who_failed(sandbox: RunningSandbox) -> None:
    answer = submit(sandbox, "+64211234567", "+15005551100", "+15002221100")

    assert (status(answer), field(answer, "Details")) == (1100, "+15005551100, +15002221100")


def test_forced_answers_come_first_and_in_order(sandbox: RunningSandbox) -> None:
    sandbox.script({"status_code": 2001, "details": "because"}, {"http_status": 503, "retry_after": 7, "times": 2})
    sandbox.script({"code": "0904"}, {"code": "report-late"})

    first = submit(sandbox, "+64211234567")
    assert (status(first), field(first, "Details")) == (2001, "because")
    for _ in range(2):
        answer = submit(sandbox, "+64211234567")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert submit(sandbox, "+64211234567").headers["Content-Type"] == "text/html"
    assert [status(submit(sandbox, "+64211234567")) for _ in range(2)] == [1000, 1000]


def test_forced_reset_reads_nothing(sandbox: RunningSandbox) -> None:
    sandbox.script({"code": "reset-before-body"})
    with pytest.raises(ConnectionResetError):
        on_the_wire(sandbox, multipart(envelope(submit_body("+64211234567"))))

    assert sandbox.messages()[0]["body_bytes"] == 0


@pytest.mark.parametrize("item", [{"code": "nonsense"}, {"status": "x"}, {"unknown": 1}, {"times": 0}, "text", 7])
def test_script_refuses_what_it_does_not_understand(sandbox: RunningSandbox, item: object) -> None:
    with pytest.raises(requests.HTTPError, match="400"):
        sandbox.ask("POST", "/script", json=[item])
    assert status(submit(sandbox, "+64211234567")) == 1000


def test_the_documented_table_is_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.rst").read_text()
    rows = [line.strip() for line in page.splitlines() if line.startswith('   "+1500')]
    assert [tuple(row) for row in csv.reader(rows)] == list(table_rows())


def test_the_table_is_served(sandbox: RunningSandbox) -> None:
    served = sandbox.ask("GET", "/scenarios")
    assert [(one["recipient"], one["name"], one["meaning"]) for one in served] == list(table_rows())
