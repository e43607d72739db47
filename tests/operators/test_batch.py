"""SendMMSBatchOperator over S3, a loopback MMSC and a real ledger; what the MMSC received is the truth."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator
from airflow_provider_mm7.protocol import SubmitReq
from tests.media.samples import SUPPORTED
from tests.operators.conftest import TaskInstance
from tests.support.mmsc import MMSC, Received, mmsc
from tests.support.servers import SeaweedFS

GIF = next(body for name, _, body, _ in SUPPORTED if name == "gif89a")
Connect = Callable[..., None]


def operator(**parameters: Any) -> SendMMSBatchOperator:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return SendMMSBatchOperator(**{"task_id": "send", "text": "hello", **parameters})


def execute(task: SendMMSBatchOperator, ti: TaskInstance, **context: Any) -> dict[str, Any]:
    task.render_template_fields({"ti": ti, **context})  # type: ignore[typeddict-item]
    return task.execute({"ti": ti, **context})  # type: ignore[typeddict-item]


def shown(received: Received) -> tuple[str | None, list[bytes]]:
    """Subject, and the bodies of all parts but the presentation."""
    assert isinstance(received.envelope.message, SubmitReq)
    parts = [part.body for part in received.envelope.parts if not part.content_type.startswith("application/smil")]
    return received.envelope.message.subject, parts


def by_number(centre: MMSC) -> dict[str, tuple[str | None, list[bytes]]]:
    assert all(len(item.recipients) == 1 for item in centre.received)
    assert len(set(centre.numbers)) == len(centre.numbers)
    return {item.recipients[0]: shown(item) for item in centre.received}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


class Bucket:
    """A bucket of one test."""

    def __init__(self, server: SeaweedFS) -> None:
        self.client = server.client()
        self.name = f"news-{secrets.token_hex(4)}"
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, body: bytes | str) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=body.encode() if isinstance(body, str) else body)
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> str:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body.decode()

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture
def bucket(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_server.airflow_connection())
    return Bucket(s3_server)


@pytest.mark.s3
def test_a_campaign_from_s3(connect: Connect, bucket: Bucket) -> None:
    bucket.put("pictures/saturn.gif", GIF)
    bucket.put("pictures/mars/red.gif", GIF + b"\0")
    logo = bucket.put("logo.gif", GIF + b"\0\0")
    people = bucket.put(
        "people.csv",
        "phone,first_name,picture\r\n+64211234567,Ann,saturn.gif\r\n"
        '+64211234568,"Bob, ""the"" builder",mars/red.gif\r\n+64211234569,Zoë,\r\n',
    )
    with mmsc() as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        task = operator(
            recipients=people,
            subject="Hello {{ row.first_name }}, news of {{ ds }}",
            text=["For {{ first_name }}.", "To all."],
            media=[logo, "{{ row.picture }}"],
            media_base=f"s3://{bucket.name}/pictures/",
        )
        result = execute(task, ti, ds="2026-01-02")

    assert by_number(centre) == {
        "+64211234567": ("Hello Ann, news of 2026-01-02", [b"For Ann.", b"To all.", GIF + b"\0\0", GIF]),
        "+64211234568": (
            'Hello Bob, "the" builder, news of 2026-01-02',
            [b'For Bob, "the" builder.', b"To all.", GIF + b"\0\0", GIF + b"\0"],
        ),
        "+64211234569": ("Hello Zoë, news of 2026-01-02", ["For Zoë.".encode(), b"To all.", GIF + b"\0\0"]),
    }
    batch_id = result["batch_id"]
    assert result == {
        "batch_id": batch_id, "total": 3, "accepted": 3, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0,
        "invalid": 0, "duplicates": 0, "results": f"s3://{bucket.name}/people.results.csv",
    }  # fmt: skip
    # Before the first POST.
    assert ti.pushed == [("batch_id", batch_id, 0)]
    sent_as = {item.recipients[0]: f"m-{item.transaction_id}" for item in centre.received}
    assert rows_of(bucket.read("people.results.csv")) == [
        {
            "line": str(line), "recipient": number, "message_id": sent_as[number], "state": "accepted",
            "status": "1000", "status_text": "Success",
        }
        for line, number in enumerate(["+64211234567", "+64211234568", "+64211234569"], start=2)
    ]  # fmt: skip
