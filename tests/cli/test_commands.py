"""What the commands print and how they end."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_mm7.cli.definition import KINDS
from airflow_provider_mm7.protocol import Address, Part, Recipients, Status, SubmitReq, SubmitRsp, dump, encode_content
from airflow_provider_mm7.store import (
    InboundPart,
    NewInbound,
    NewReport,
    NewSubmission,
    ReportKind,
    open_store,
)
from tests.support.airflow_cli import Commands

NOW = datetime(2026, 1, 20, 14, 30, 47, tzinfo=UTC)


def report(
    message_id: str, status: str, *, kind: ReportKind = ReportKind.DELIVERY, raw: str | None = None
) -> NewReport:
    return NewReport(
        kind=kind,
        conn_id="mm7_default",
        message_id=message_id,
        recipient="+64211234567",
        sender="111122",
        mm_status=status,
        mm_status_raw=raw or status,
        date=NOW,
    )


# --- inspect ---------------------------------------------------------------------------------------------------------


def submit() -> tuple[bytes, str]:
    content = encode_content(
        [Part(content_type="image/gif", body=b"GIF89a\r\n", content_id="saturn.gif", content_location="saturn.gif")],
        content_id="c1",
        boundary="inner",
    )
    request = SubmitReq(
        subject="Neuigkeiten für Zoë", recipients=Recipients(to=(Address(value="+64211234567/TYPE=PLMN"),))
    )
    payload = dump(request, transaction_id="t-1", content=content)
    return payload.body, payload.content_type


def test_inspect_prints_the_contract(mm7: Commands, tmp_path: Path) -> None:
    body, content_type = submit()
    file = tmp_path / "body"
    file.write_bytes(body)
    read = mm7.json("inspect", str(file), "--content-type", content_type)
    assert (read["operation"], read["transaction_id"], read["mm7_version"]) == ("SubmitReq", "t-1", "5.3.0")
    assert read["fields"]["recipients"] == ["+64211234567"]
    assert read["fields"]["subject"] == "Neuigkeiten für Zoë"
    assert read["parts"] == [
        {
            "content_id": "saturn.gif",
            "content_location": "saturn.gif",
            "content_type": "image/gif",
            "size": 8,
            "sha256": "b6512de35b9a364f2f316fb8efb665270dff5577a8a0aab1c89a305a28c07a8a",
        }
    ]


def test_inspect_reads_raw_http_from_standard_input(mm7: Commands) -> None:
    body, content_type = submit()
    raw = b"POST /mm7 HTTP/1.1\r\nHost: h\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + body
    assert [part["content_type"] for part in mm7.json("inspect", "-", stdin=raw)["parts"]] == ["image/gif"]


def test_inspect_needs_no_store(mm7: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SubmitRsp(mm7_version="5.3.0", status=Status(status_code=1000, status_text="OK"), message_id="m1")
    file = tmp_path / "rsp.xml"
    file.write_bytes(dump(answer, transaction_id="t1").body)
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", "postgresql://nobody@127.0.0.1:1/none")
    assert mm7.json("inspect", str(file))["fields"]["status_code"] == 1000
    table = mm7("inspect", str(file))
    assert "SubmitRsp" in table.out


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<html/>", b"\0\xff" * 50, b"--x\r\n\r\n"],
    ids=["empty", "text", "html", "binary", "multipart"],
)
def test_inspect_of_something_else_ends_with_2_and_one_line(mm7: Commands, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    done = mm7("inspect", str(file), "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("airflow mm7: ")
    assert done.err.count("\n") == 1


def test_inspect_of_no_file_ends_with_2_and_one_line(mm7: Commands, tmp_path: Path) -> None:
    for name in ("missing", "."):
        done = mm7("inspect", str(tmp_path / name))
        assert (done.code, done.err.count("\n")) == (2, 1)


# --- the store -------------------------------------------------------------------------------------------------------


def test_an_empty_store_has_no_rows(mm7: Commands) -> None:
    for command in ("batches", "reports", "inbound"):
        assert mm7.json(command) == []
        assert mm7(command).out.strip() == "No data found"


def test_reports(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    store.add_reports([report("m1", "Retrieved"), report("m2", "UNKNOWN", raw="Third:User Retrieved")])
    store.add_reports([report("m3", "Read", kind=ReportKind.READ)])
    rows = mm7.json("reports")
    assert [row["message_id"] for row in rows] == ["m1", "m2", "m3"]
    first = rows[1]
    assert list(first)[:7] == [
        "message_id",
        "recipient",
        "mm_status",
        "mm_status_raw",
        "date",
        "batch_id",
        "received_at",
    ]
    assert (first["recipient"], first["batch_id"], first["kind"]) == ("+64211234567", None, "delivery")
    assert (first["mm_status"], first["mm_status_raw"]) == ("UNKNOWN", "Third:User Retrieved")
    assert datetime.fromisoformat(first["date"]) == NOW
    assert datetime.fromisoformat(first["received_at"]).tzinfo is not None
    (last,) = mm7.json("reports", "--limit", "1")
    assert (last["message_id"], last["kind"]) == ("m3", "read")
    assert [row["message_id"] for row in mm7.json("reports", "--message-id", "m2")] == ["m2"]
    assert [row["message_id"] for row in mm7.json("reports", "--kind", "read")] == ["m3"]
    assert [row["message_id"] for row in mm7.json("reports", "--kind", "delivery")] == ["m1", "m2"]
    assert set(KINDS) == set(ReportKind)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert mm7.json("reports", "--since", later) == []
    assert "Third:User Retrieved" in mm7("reports").out


def test_history_is_in_the_order_of_the_reports_own_dates(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    told = [("Retrieved", 2), ("Deferred", 1), ("Expired", 3)]
    for status, hour in told:
        store.add_reports([replace(report("m1", status), date=NOW + timedelta(hours=hour))])
    store.add_reports([replace(report("m1", "Read", kind=ReportKind.READ), date=NOW + timedelta(hours=4))])
    store.add_reports([replace(report("m1", "Rejected"), recipient="111122", sender="+64 21 999", date=NOW)])
    store.add_reports([report("m2", "Retrieved")])

    rows = mm7.json("history", "m1")
    assert [row["mm_status"] for row in rows] == ["Rejected", "Deferred", "Retrieved", "Expired", "Read"]
    assert [row["kind"] for row in rows] == ["delivery"] * 4 + ["read"]
    assert list(rows[0])[:5] == ["date", "kind", "recipient", "mm_status", "mm_status_raw"]
    # Some MMSCs name the handset as the sender.
    assert [row["mm_status"] for row in mm7.json("history", "m1", "--recipient", "6421999")] == ["Rejected"]
    assert len(mm7.json("history", "m1", "--recipient", "+64211234567")) == 4
    assert mm7.json("history", "m3") == []
    assert "Deferred" in mm7("history", "m1").out


def test_batches(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    for key in ("first", "second"):
        batch = store.open_batch(key, conn_id="mm7_default")
        store.plan(batch.batch_id, [NewSubmission(recipient="+64211234567"), NewSubmission(recipient="+64211234568")])
    rows = mm7.json("batches")
    assert {row["key"] for row in rows} == {"first", "second"}
    assert [(row["total"], row["planned"], row["accepted"]) for row in rows] == [(2, 2, 0)] * 2
    assert len(mm7.json("batches", "--limit", "1")) == 1


def test_inbound(mm7: Commands) -> None:
    open_store(mm7.store_url).add_inbound(
        [
            NewInbound(
                conn_id="mm7_default",
                digest="d1",
                transaction_id="t1",
                sender="+64211234567",
                recipients=("111122",),
                subject="Hi",
                linked_id=None,
                date=NOW,
                text="Hello",
                parts=(
                    InboundPart(
                        content_type="image/gif",
                        content_id="a",
                        content_location=None,
                        size=3,
                        sha256="0" * 64,
                        uri="file:///x/a.gif",
                    ),
                ),
            )
        ]
    )
    (row,) = mm7.json("inbound")
    assert (row["sender"], row["recipients"], row["text"]) == ("+64211234567", ["111122"], "Hello")
    assert (row["parts"][0]["uri"], row["parts"][0]["size"]) == ("file:///x/a.gif", 3)


def test_db_upgrade_and_check(mm7: Commands) -> None:
    upgraded = mm7.json("db", "upgrade")
    assert upgraded["url"] == mm7.store_url.replace("sqlite:", "sqlite+pysqlite:")
    checked = mm7.json("db", "check")
    assert checked["ok"]
    assert checked["revision"] == checked["head"] == upgraded["revision"]
    assert any("No receiver" in warning for warning in checked["warnings"])
    open_store(mm7.store_url).heartbeat("receiver", "gateway", 4711)
    (component,) = mm7.json("db", "check")["components"]
    assert (component["kind"], component["host"], component["pid"], component["fresh"]) == (
        "receiver",
        "gateway",
        4711,
        True,
    )


def test_db_check_of_a_store_that_cannot_be_used_ends_with_1(mm7: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://mm7:hunter22@127.0.0.1:1/none"
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    done = mm7("db", "check")
    assert done.code == 1
    assert done.err.startswith("airflow mm7: ")
    assert done.err.count("\n") == 1
    assert "hunter22" not in done.err + done.out


@pytest.mark.postgres
def test_postgresql_is_migrated_on_demand_only(
    mm7: Commands, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", postgres_url)
    before = mm7("db", "check", "-o", "json")
    assert before.code == 1
    checked = json.loads(before.out)
    assert (checked["ok"], checked["revision"]) == (False, None)
    refused = mm7("reports")
    assert (refused.code, refused.out) == (1, "")
    assert "airflow mm7 db upgrade" in refused.err
    assert mm7.json("db", "upgrade")["revision"] == checked["head"]
    assert mm7.json("db", "check")["ok"]
    assert mm7.json("reports") == []
    open_store(postgres_url).close()


def test_db_prune(mm7: Commands) -> None:
    open_store(mm7.store_url).add_reports([report("m1", "Retrieved")])
    assert mm7.json("db", "prune", "--older-than-days", "1", "--yes")["reports"] == 0
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    refused = mm7("db", "prune", "--before", tomorrow)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert len(mm7.json("reports")) == 1
    assert mm7.json("db", "prune", "--before", tomorrow, "--yes")["reports"] == 1
    assert mm7.json("reports") == []


@pytest.mark.parametrize(
    "args",
    [
        ("db", "prune", "--yes"),
        ("db", "prune", "--yes", "--before", "2026-01-20"),
        ("db", "prune", "--yes", "--before", "2026-01-20T00:00:00Z", "--older-than-days", "1"),
        ("reports", "--since", "yesterday"),
        ("send", "--text", "no number"),
        ("batches", "--limit", "0"),
    ],
)
def test_wrong_usage_ends_with_2(mm7: Commands, args: tuple[str, ...]) -> None:
    done = mm7(*args)
    assert done.code == 2
    assert "Traceback" not in done.err
