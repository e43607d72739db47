from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from airflow_provider_mm7.protocol import (
    Address,
    DeliverReq,
    DeliveryReportReq,
    Envelope,
    Fault,
    Message,
    Part,
    ReadReplyReq,
    RSErrorRsp,
    Status,
    SubmitReq,
    describe,
    load,
    read_http,
)
from tests.protocol.test_golden import MESSAGES
from tests.support import messages as strategies

VENDOR = Path(__file__).parent / "vendor"


def fields(message: Message) -> Any:
    return describe(Envelope(message=message))["fields"]


def test_the_vendors_submit_request() -> None:
    assert describe(load(*read_http((VENDOR / "submit_req.http").read_bytes()))) == {
        "operation": "SubmitReq",
        "transaction_id": "vas00001-sub",
        "mm7_version": "5.3.0",
        "fields": {
            "vasp_id": "TNN",
            "vas_id": "News",
            "recipients": ["7255441234"],
            "timestamp": "2020-01-02T09:30:47-05:00",
            "date": "2020-01-02T09:30:47-05:00",
            "expiry": "2020-01-20T09:30:47-05:00",
            "delivery_report": True,
            "priority": "Normal",
            "subject": "News for today",
            "contents": ["cid:SaturnPics-01020930@news.tnn.com"],
        },
        "parts": [
            {
                "content_id": None,
                "content_location": None,
                "content_type": "text/plain",
                "size": 38,
                "sha256": hashlib.sha256(b"Science news, new Saturn pictures...\n ").hexdigest(),
            },
            {
                "content_id": "saturn.gif",
                "content_location": None,
                "content_type": "image/gif",
                "size": 57,
                "sha256": "eccbddd96091c1d98a6e2af49126407a5706542deaa288a92d3696ca7060b09a",
            },
        ],
    }


def test_the_vendors_delivery_report() -> None:
    described = describe(load(*read_http((VENDOR / "delivery_report_req.xml").read_bytes())))
    assert described["fields"] == {
        "message_id": "369500617770864640",
        "recipient": "16175550123",
        "sender": "111122",
        "date": "2015-03-16T14:03:51.749Z",
        "mm_status": "Retrieved",
        "mm_status_raw": "Retrieved",
        "status_text": "Success",
    }


def test_unknown_statuses_keep_their_spelling() -> None:
    found = fields(DeliveryReportReq(message_id="1", mm_status="Third:User Retrieved"))
    assert (found["mm_status"], found["mm_status_raw"]) == ("UNKNOWN", "Third:User Retrieved")
    found = fields(ReadReplyReq(message_id="1", mm_status="READ"))
    assert (found["mm_status"], found["mm_status_raw"]) == ("Read", "READ")


def test_addresses_are_plain() -> None:
    message = DeliverReq(
        sender=Address(value="+4917/TYPE=PLMN@host"),
        timestamp=datetime(2020, 1, 1, tzinfo=UTC),
    )
    assert fields(message) == {
        "sender": "+4917",
        "timestamp": "2020-01-01T00:00:00Z",
        "date": "2020-01-01T00:00:00Z",
    }


def test_every_field_of_a_full_message() -> None:
    assert fields(MESSAGES["submit_req"]) == {
        "extensions": list(MESSAGES["submit_req"].extensions),
        "vasp_id": "TNN",
        "vas_id": "News",
        "sender": "111122",
        "recipients": ["+64211234567", "a@b.example", "x1", "111122"],
        "preferred_channels": ["MMS", "SMS"],
        "service_code": "gold",
        "linked_id": "l1",
        "message_class": "Informational",
        "timestamp": "2020-01-02T12:00:00-05:00",
        "date": "2020-01-02T12:00:00-05:00",
        "reply_charging": {"size": 1000, "deadline": "P1D"},
        "earliest_delivery": "2020-01-03T12:00:00.250Z",
        "expiry": "P2DT1H",
        "delivery_report": True,
        "read_reply": False,
        "priority": "High",
        "subject": 'News <&> "today"',
        "charged_party": "ThirdParty",
        "charged_party_id": "payer",
        "third_party_payer": "+64211234567",
        "distribution_indicator": True,
        "delivery_conditions": [1, 2],
        "applic_id": "app",
        "reply_applic_id": "reply",
        "aux_applic_info": "aux",
        "content_class": "image-basic",
        "drm_content": False,
        "contents": ["cid:pics"],
        "additional_information": ["cid:more"],
        "message_extra_data": [["key", "value"]],
    }
    deliver = fields(MESSAGES["deliver_req"])
    assert deliver["previously_sent_by"] == [[1, "+64211234567"], ["a@b.example"]]
    assert deliver["ua_capabilities"] == {
        "ua_prof": "http://ua.example/p.xml",
        "timestamp": "2020-01-03T12:00:00.250Z",
    }


@pytest.mark.parametrize(
    ("message", "operation", "expected"),
    [
        (
            RSErrorRsp(status=Status(status_code=4001, status_text="Improper identification", details="x")),
            "RSErrorRsp",
            {"status_code": 4001, "status_text": "Improper identification", "details": "x"},
        ),
        (Fault(fault_code="env:Client", detail="x"), "Fault", {"fault_code": "env:Client", "detail": "x"}),
        (SubmitReq(), "SubmitReq", {}),
        (SubmitReq(expiry=timedelta(hours=1), subject=""), "SubmitReq", {"expiry": "PT1H", "subject": ""}),
    ],
)
def test_operations_and_absent_fields(message: Message, operation: str, expected: dict[str, Any]) -> None:
    assert describe(Envelope(message=message)) == {
        "operation": operation,
        "transaction_id": None,
        "mm7_version": None,
        "fields": expected,
        "parts": [],
    }


def test_parts() -> None:
    part = Part(content_type="Image/GIF; name=x", body=b"GIF", content_id="a", content_location="b", name="x")
    assert describe(Envelope(message=SubmitReq(), parts=(part,)))["parts"] == [
        {
            "content_id": "a",
            "content_location": "b",
            "content_type": "image/gif",
            "size": 3,
            "sha256": hashlib.sha256(b"GIF").hexdigest(),
        }
    ]


@given(strategies.operations | strategies.faults)
def test_every_message_becomes_json(message: Message) -> None:
    described = describe(Envelope(message=message))
    assert json.loads(json.dumps(described)) == described
    assert None not in described["fields"].values()
