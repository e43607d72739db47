"""Delivery reports from the MMSC's POST to the end of the sensor, in a real Airflow with the plugin."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import etree

from airflow_provider_mm7.protocol import (
    Address,
    DeliveryReportReq,
    DeliveryReportRsp,
    dump,
    http_headers,
    load,
    number_key,
)
from airflow_provider_mm7.store import open_store
from tests.e2e.dags.sending import POLL_S
from tests.support.sandbox import wait_for
from tests.support.stage import Stage

#: What the vendor's page prints, byte for byte.
VENDOR = Path(__file__).parents[1] / "protocol" / "vendor"

#: Seconds for one look at the store and for writing the task's end, on two busy cores.
LOOK_S = 3.0


def report_to(
    url: str, auth: tuple[str, str] | None, message_id: str, recipient: str, status: str = "Retrieved"
) -> requests.Response:
    """Post a delivery report as an MMSC does."""
    payload = dump(
        DeliveryReportReq(
            message_id=message_id,
            recipient=Address(value=recipient),
            sender=Address(value="+12025550100"),
            date=datetime.now(UTC),
            mm_status=status,
        ),
        transaction_id="tx-e2e",
    )
    return requests.post(url, data=payload.body, headers=http_headers(payload), auth=auth, timeout=20)


def test_deferred_sensor_ends_within_one_poll_of_the_report(stage: Stage) -> None:
    number = "+15005925100"  # accepted, and no report before we say so
    run_id = stage.airflow.trigger("e2e_wait", {"to": [number]})
    stage.airflow.wait_task("e2e_wait", run_id, "arrived", ["deferred"], 120)
    (received,) = stage.sandbox.accepted_for(number)
    entry = stage.sandbox.ask(
        "POST", "/report", {"message_id": received["message_id"], "recipient": number, "mm_status": "Retrieved"}
    )
    assert entry["attempts"][0]["http_status"] == 200
    stage.airflow.wait_run("e2e_wait", run_id, 60)

    (stored,) = open_store(stage.ledger_url).reports(message_id=received["message_id"])
    ended = datetime.fromisoformat(stage.airflow.tasks("e2e_wait", run_id)["arrived"]["end_date"])
    waited = (ended - stored.received_at).total_seconds()
    assert 0 <= waited <= POLL_S + LOOK_S
    assert stage.airflow.xcom("e2e_wait", run_id, "arrived")["by_status"] == {"Retrieved": 1}


def test_early_repeated_and_disordered_reports_make_one_row_each(stage: Stage) -> None:
    before_answer, disordered, three_times = "+15005935101", "+15005935102", "+15005935107"
    numbers = [before_answer, disordered, three_times]
    run_id = stage.airflow.trigger("e2e_wait", {"to": numbers})
    stage.airflow.wait_run("e2e_wait", run_id, 120)

    sent = stage.airflow.xcom("e2e_wait", run_id, "send")
    rows = open_store(stage.ledger_url).reports(batch_id=sent["batch_id"])
    assert sorted(number_key(row.recipient or "") for row in rows) == [number_key(number) for number in numbers]
    assert {row.mm_status for row in rows} == {"Retrieved"}

    # All that the MMSC posted was acknowledged, and the later ones changed nothing.
    of_batch = {row.message_id for row in rows}

    def posted() -> list[str]:
        return [one["state"] for one in stage.sandbox.reports() if one["message_id"] in of_batch]

    assert set(wait_for(posted, lambda states: "scheduled" not in states)) == {"acknowledged"}
    assert len(posted()) == 1 + 3 + 3
    again = open_store(stage.ledger_url).reports(batch_id=sent["batch_id"])
    assert [(row.message_id, row.mm_status) for row in again] == [(row.message_id, row.mm_status) for row in rows]


def test_sensor_fails_when_the_ratio_cannot_be_reached(stage: Stage) -> None:
    run_id = stage.airflow.trigger("e2e_wait", {"to": ["+12025550151", "+15005945003"]})
    stage.airflow.wait_run("e2e_wait", run_id, 120, expect="failed")
    reported = stage.airflow.xcom("e2e_wait", run_id, "arrived")
    assert reported["failed"] == 1
    assert stage.airflow.tasks("e2e_wait", run_id)["arrived"]["try_number"] == 1


@pytest.mark.parametrize("conn", ["", "/mm7_default", "/no_such_connection", "/aws_default"])
def test_wrong_credentials_are_401_and_nothing_is_stored(stage: Stage, conn: str) -> None:
    message_id = f"forged{conn.replace('/', '-')}"
    right = (stage.callback_login, stage.callback_password)
    attempts: list[tuple[str, str] | None] = [None, (stage.callback_login, "guess"), ("", "")]
    if conn not in {"", "/mm7_default"}:
        attempts.append(right)
    answers = [report_to(stage.callback_url + conn, auth, message_id, "+12025550160") for auth in attempts]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert open_store(stage.ledger_url).reports(message_id=message_id) == []


def test_report_is_acknowledged_with_its_transaction(stage: Stage) -> None:
    right = (stage.callback_login, stage.callback_password)
    answer = report_to(stage.callback_url, right, "not-ours-1", "+12025550161")
    assert answer.status_code == 200
    envelope = load(answer.content, answer.headers["Content-Type"])
    assert isinstance(envelope.message, DeliveryReportRsp)
    assert envelope.message.status.status_code == 1000
    assert envelope.transaction_id == "tx-e2e"
    assert len(open_store(stage.ledger_url).reports(message_id="not-ours-1")) == 1


def structure(element: Any) -> list[Any]:
    """Names with their namespaces, attributes, and children in their order; of texts only those that are the same."""
    texts = () if element.tag.endswith(("}StatusText", "}TransactionID")) else ((element.text or "").strip(),)
    return [element.tag, dict(element.attrib), *texts, [structure(child) for child in element]]


def texts(tree: Any, name: str) -> list[str]:
    return [element.text for element in tree.iter("{*}" + name)]


def texts_as_printed(body: bytes, name: str) -> list[str]:
    """The same of what is not well-formed."""
    return re.findall(f"<{name}[^>]*>([^<]*)</{name}>", body.decode())


@pytest.mark.parametrize("content_type", ["text/xml", 'text/xml; charset="utf-8"'])
@pytest.mark.parametrize("name", ["deliver", "delivery_report"])
def test_the_vendor_pages_callbacks_exactly_as_printed(stage: Stage, name: str, content_type: str) -> None:
    """Stored, and answered as the page prints the answer; a repeat is answered in the same way and stored once."""
    store = open_store(stage.ledger_url)
    body = (VENDOR / f"{name}_req.xml").read_bytes()
    printed = etree.fromstring((VENDOR / f"{name}_rsp.xml").read_bytes())
    for _ in range(2):
        answer = requests.post(
            stage.callback_url,
            data=body,
            headers={"Content-Type": content_type, "SOAPAction": '""'},
            auth=(stage.callback_login, stage.callback_password),
            timeout=20,
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, 'text/xml; charset="utf-8"')
        answered = etree.fromstring(answer.content)
        assert structure(answered) == structure(printed)
        assert texts(answered, "TransactionID") == texts_as_printed(body, "TransactionID")
    if name == "delivery_report":
        (told,) = store.report_history("369500617770864640")
        assert (told.recipient, told.sender, told.mm_status) == ("16175550123", "111122", "Retrieved")
        assert (told.status_text, told.date) == ("Success", datetime(2015, 3, 16, 14, 3, 51, 749000, tzinfo=UTC))
        return
    (message,) = [one.message for one in store.inbound() if one.message.linked_id == "1000001"]
    assert (message.sender, message.recipients, message.priority) == ("1617423433", ("111122",), "Normal")
    assert (message.date, message.parts) == (datetime(2014, 4, 14, 16, 15, 23, 414000, tzinfo=UTC), ())


def test_read_replies_are_waited_for(stage: Stage) -> None:
    number = "+15005965100"  # accepted, and no report before we say so
    run_id = stage.airflow.trigger("e2e_read", {"to": [number]})
    stage.airflow.wait_task("e2e_read", run_id, "seen", ["deferred"], 120)
    (received,) = stage.sandbox.accepted_for(number)
    told = {"message_id": received["message_id"], "recipient": number}
    stage.sandbox.ask("POST", "/report", {**told, "mm_status": "Retrieved"})
    stage.sandbox.ask("POST", "/report", {**told, "mm_status": "Read", "read_reply": True, "swapped": True})
    stage.airflow.wait_run("e2e_read", run_id, 60)

    seen = stage.airflow.xcom("e2e_read", run_id, "seen")
    assert (seen["delivered"], seen["read"], seen["by_read_status"]) == (1, 1, {"Read": 1})
    assert stage.airflow.xcom("e2e_read", run_id, "sent")["accepted"] == 1
    assert stage.airflow.xcom("e2e_read", run_id, "count") == 1
    printed = stage.airflow.cli("mm7", "history", received["message_id"], "-o", "json")
    history = json.loads(printed[printed.index("[") :])
    assert [(row["kind"], row["mm_status"]) for row in history] == [("delivery", "Retrieved"), ("read", "Read")]


def test_connection_made_in_the_ui(stage: Stage) -> None:
    number = "+12025550170"
    connection = stage.mm7_connection(callback_login="carrier2", callback_password="from-the-database")
    extra = json.dumps(connection.pop("extra"))
    stage.airflow.api("POST", "connections", json_body={"connection_id": "mm7_ui", "extra": extra, **connection})

    run_id = stage.airflow.trigger("e2e_send", {"to": [number], "conn_id": "mm7_ui"})
    stage.airflow.wait_run("e2e_send", run_id, 120)
    (received,) = stage.sandbox.accepted_for(number)

    url = f"{stage.callback_url}/mm7_ui"
    message_id = received["message_id"]
    assert report_to(url, (stage.callback_login, stage.callback_password), message_id, number).status_code == 401
    assert report_to(url, ("carrier2", "from-the-database"), message_id, number, "Forwarded").status_code == 200

    # The command line finds it where the UI put it.
    printed = stage.airflow.cli(
        "mm7", "send", "--conn-id", "mm7_ui", "--to", "+12025550171", "--text", "by hand", "-o", "json"
    )
    result = json.loads(printed[printed.index("{") :])
    assert (result["accepted"], result["total"]) == (1, 1)
    (by_hand,) = stage.sandbox.accepted_for("+12025550171")
    assert by_hand["message_id"] == result["messages"][0]["message_id"]
