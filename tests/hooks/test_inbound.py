from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from airflow_provider_mm7.hooks.inbound import InboundMedia, InboundMMS
from airflow_provider_mm7.store import Inbound, InboundPart
from tests.store.test_inbound import MESSAGE, PART

RECEIVED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

TEXT = replace(PART, content_type="text/plain; charset=utf-8", uri="s3://in/d1/d1-001.txt")
SMIL = replace(PART, content_type="Application/SMIL; type=x", uri="s3://in/d1/d1-002.smil")


def of(*parts: InboundPart) -> InboundMMS:
    return InboundMMS.of(Inbound(id=7, received_at=RECEIVED, message=replace(MESSAGE, parts=parts)), attempts=2)


def test_media_are_what_is_no_text() -> None:
    picture = replace(PART, content_location="../../etc/passwd", uri="s3://in/d1/d1-000.gif")
    message = of(picture, TEXT, SMIL)
    assert message.media == (
        InboundMedia(uri="s3://in/d1/d1-000.gif", content_type="image/gif", size=3, sha256="00", name="d1-000.gif"),
    )
    assert (message.id, message.attempts, message.text, message.recipients) == (7, 2, "YES", ("111122", "+6422"))


def test_json_both_ways() -> None:
    for message in (of(PART), replace(of(), date=None, sender=None, text=None, subject=None, linked_id=None)):
        text = json.dumps(message.as_json())
        assert InboundMMS.from_json(json.loads(text)) == message
    assert json.loads(json.dumps(of(PART).as_json())) == {
        "id": 7,
        "sender": "+6421",
        "recipients": ["111122", "+6422"],
        "subject": "Kia ora",
        "text": "YES",
        "linked_id": "l1",
        "date": "2026-01-01T00:00:00+00:00",
        "received_at": "2026-01-02T03:04:05.678901+00:00",
        "conn_id": "mm7_default",
        "attempts": 2,
        "media": [
            {"uri": "file:///x/1.gif", "content_type": "image/gif", "size": 3, "sha256": "00", "name": "1.gif"},
        ],
    }


def test_json_of_a_later_version_can_be_read() -> None:
    values = of(PART).as_json()
    values["mood"] = values["media"][0]["mood"] = "good"
    assert InboundMMS.from_json(values) == of(PART)
