"""What is stored, and what is answered for it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from lxml import etree

from airflow_provider_mm7.receiver import ReceiverConfig
from airflow_provider_mm7.store.types import ReportKind
from tests.receiver import callbacks
from tests.receiver.conftest import Rig

URL = "/mm7/callback"


def outline(element: Any) -> list[Any]:
    """Return an XML tree as nested [local name, text or children]."""
    children = [outline(child) for child in element]
    return [etree.QName(element).localname, children or (element.text or "").strip()]


def answer_tree(answer: httpx.Response) -> Any:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == 'text/xml; charset="utf-8"'
    return etree.fromstring(answer.content)


def expected(operation: str, transaction_id: str, version: str) -> list[Any]:
    """Return the structure of the vendor page's answers."""
    status = ["Status", [["StatusCode", "1000"], ["StatusText", "Success"]]]
    return [
        "Envelope",
        [["Header", [["TransactionID", transaction_id]]], ["Body", [[operation, [["MM7Version", version], status]]]]],
    ]


def error_of(answer: httpx.Response) -> tuple[str, str]:
    """Return the VASPErrorRsp's status code and the TransactionID."""
    tree = answer_tree(answer)
    assert tree.xpath("count(//*[local-name()='Fault']/detail/*[local-name()='VASPErrorRsp'])") == 1
    (code,) = tree.xpath("//*[local-name()='StatusCode']/text()")
    return code, "".join(tree.xpath("//*[local-name()='TransactionID']/text()")).strip()


async def post(rig: Rig, body: bytes, content_type: str = callbacks.XML, app: Any = None) -> httpx.Response:
    async with rig.client(app=app) as client:
        return await client.post(URL, content=body, headers=callbacks.headers(content_type))


async def test_the_vendor_pages_delivery_report_as_printed(rig: Rig) -> None:
    answer = await post(rig, (callbacks.DATA / "vendor_delivery_report_req.xml").read_bytes())
    tree = answer_tree(answer)
    assert outline(tree) == expected("DeliveryReportRsp", "10000001", "5.3.0")
    assert etree.QName(tree).namespace == "https://schemas.xmlsoap.org/soap/envelope/"
    (rsp,) = tree.xpath("//*[local-name()='DeliveryReportRsp']")
    assert etree.QName(rsp).namespace == callbacks.MM7.replace("http:", "https:")
    (stored,) = rig.store.reports()
    assert (stored.message_id, stored.mm_status, stored.recipient) == (
        "369500617770864640",
        "Retrieved",
        "16175550123",
    )
    assert stored.date is not None
    assert stored.date.isoformat(timespec="milliseconds") == "2015-03-16T14:03:51.749+00:00"


async def test_the_vendor_pages_deliver_request_as_printed(rig: Rig) -> None:
    answer = await post(rig, (callbacks.DATA / "vendor_deliver_req.xml").read_bytes())
    tree = answer_tree(answer)
    assert outline(tree) == expected("DeliverRsp", "1000001", "5.3.0")
    (stored,) = rig.store.inbound()
    assert (stored.message.sender, stored.message.recipients, stored.message.linked_id) == (
        "1617423433",
        ("111122",),
        "1000001",
    )


@pytest.mark.parametrize("soap", [callbacks.SOAP, "https://schemas.xmlsoap.org/soap/envelope/"])
@pytest.mark.parametrize(
    ("mm7", "version"), [(callbacks.MM7, "6.8.0"), (callbacks.MM7.replace("REL-6-MM7-1-4", "REL-5-MM7-1-0"), "5.3.0")]
)
async def test_answers_speak_the_requests_dialect(rig: Rig, soap: str, mm7: str, version: str) -> None:
    answer = await post(rig, callbacks.report(soap=soap, mm7=mm7, version=version, transaction_id=" tx 7 "))
    tree = answer_tree(answer)
    assert outline(tree) == expected("DeliveryReportRsp", "tx 7", version)
    assert etree.QName(tree).namespace == soap
    assert {etree.QName(one).namespace for one in tree.xpath("//*[local-name()='StatusCode']")} == {mm7}
    assert {etree.QName(one).namespace for one in tree.xpath("//*[local-name()='TransactionID']")} == {mm7}


async def test_a_report_is_stored_with_all_that_it_says(rig: Rig) -> None:
    extras = "<MMStatusExtension>RejectionByMMSRecipient</MMStatusExtension><StatusText>No thanks</StatusText>"
    body = callbacks.report(status="Rejected").replace(b"</MMStatus>", b"</MMStatus>" + extras.encode())
    assert (await post(rig, body)).status_code == 200
    (stored,) = rig.store.reports()
    assert (stored.message_id, stored.recipient, stored.sender) == ("m-1", callbacks.RECIPIENT, callbacks.SENDER)
    assert (stored.mm_status, stored.mm_status_raw) == ("Rejected", "Rejected")
    assert (stored.mm_status_extension, stored.status_text) == ("RejectionByMMSRecipient", "No thanks")
    assert (stored.date, stored.transaction_id) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "tx-1")


async def test_a_read_reply_is_a_report_of_its_own_kind(rig: Rig) -> None:
    body = callbacks.report(status="Read", operation="ReadReplyReq")
    answer = await post(rig, body.replace(b"</MMStatus>", b"</MMStatus><StatusText>Seen</StatusText>"))
    assert outline(answer_tree(answer)) == expected("ReadReplyRsp", "tx-1", "6.8.0")
    (stored,) = rig.store.reports()
    assert (stored.kind, stored.message_id, stored.recipient) == (ReportKind.READ, "m-1", callbacks.RECIPIENT)
    assert (stored.sender, stored.mm_status, stored.status_text) == (callbacks.SENDER, "Read", "Seen")
    assert stored.date == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_duplicates_are_acknowledged_and_stored_once(rig: Rig) -> None:
    app = rig.app()
    answers = [await post(rig, callbacks.report(), app=app) for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert [answer_tree(answer) is not None for answer in answers] == [True] * 3
    assert len(rig.store.reports()) == 1
    assert len(rig.store.report_history("m-1")) == 1


async def test_an_unknown_status_keeps_its_spelling(rig: Rig) -> None:
    await post(rig, callbacks.report(status="Third:User Retrieved"))
    (stored,) = rig.store.reports()
    assert (stored.mm_status, stored.mm_status_raw) == ("UNKNOWN", "Third:User Retrieved")


async def test_a_burst_is_stored_whole_in_few_commits(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    store = rig.store
    groups: list[int] = []
    add = type(store).add_reports

    def counted(self: Any, reports: Any) -> Any:
        groups.append(len(reports))
        return add(self, reports)

    monkeypatch.setattr(type(store), "add_reports", counted)
    app = rig.app()
    for _ in range(4):
        answers = await asyncio.gather(*(post(rig, callbacks.report(f"m-{number}"), app=app) for number in range(30)))
        assert {answer.status_code for answer in answers} == {200}
    assert len(rig.store.reports()) == 30
    assert sum(groups) == 120
    assert len(groups) < 120


async def test_a_message_from_a_handset_is_stored_with_its_media(rig: Rig) -> None:
    body, content_type = callbacks.deliver()
    answer = await post(rig, body, content_type)
    assert outline(answer_tree(answer)) == expected("DeliverRsp", "tx-9", "6.8.0")
    (row,) = rig.store.inbound()
    message = row.message
    assert (message.conn_id, message.transaction_id, message.sender, message.recipients) == (
        "mm7_default",
        "tx-9",
        callbacks.RECIPIENT,
        (callbacks.SENDER,),
    )
    assert (message.subject, message.linked_id, message.priority, message.text) == (
        "Hello",
        "link-1",
        "High",
        callbacks.TEXT,
    )
    assert message.date is not None
    assert message.date.isoformat() == "2026-01-01T14:04:05+00:00"
    stored = [Path(unquote(urlsplit(part.uri).path)).read_bytes() for part in message.parts]
    assert stored == [b"<smil><body/></smil>", callbacks.TEXT.encode(), callbacks.GIF, callbacks.JPEG]
    assert [
        (part.content_type.partition(";")[0], part.content_id, part.content_location) for part in message.parts
    ] == [
        ("application/smil", "smil", None),
        ("text/plain", "t", None),
        ("image/gif", "g", "x.gif"),
        ("image/jpeg", "j", None),
    ]
    assert [(part.size, part.sha256) for part in message.parts] == [
        (len(bytes_), hashlib.sha256(bytes_).hexdigest()) for bytes_ in stored
    ]
    assert [path.suffix for path in rig.sink.files] == [".smil", ".txt", ".gif", ".jpg"]


async def test_copies_are_stored_among_the_recipients(rig: Rig) -> None:
    body, content_type = callbacks.deliver()
    copies = b"<Cc><ShortCode>4242</ShortCode></Cc><Bcc><RFC2822Address>a@b.example</RFC2822Address></Bcc>"
    await post(rig, body.replace(b"</Recipients>", copies + b"</Recipients>"), content_type)
    (row,) = rig.store.inbound()
    assert row.message.recipients == (callbacks.SENDER, "4242", "a@b.example")


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        (
            '<To><Number displayOnly="true">1</Number><ShortCode>42</ShortCode><Number displayOnly="1">2</Number></To>',
            ("42",),
        ),
        ('<To><ShortCode displayOnly="false">4242</ShortCode><Number>3</Number></To>', ("4242", "3")),
        (
            '<To><ShortCode displayOnly="true">4242</ShortCode></To><Cc><Number displayOnly="true">3</Number></Cc>',
            ("4242", "3"),
        ),
    ],
)
async def test_who_is_named_for_show_was_not_written_to(rig: Rig, recipients: str, expected: tuple[str, ...]) -> None:
    body, content_type = callbacks.deliver()
    to = f"<To><Number>{callbacks.SENDER}</Number></To>".encode()
    await post(rig, body.replace(to, recipients.encode()), content_type)
    (row,) = rig.store.inbound()
    assert row.message.recipients == expected


async def test_a_message_that_comes_again_leaves_nothing_twice(rig: Rig) -> None:
    app = rig.app()
    for boundary in ("first", "second", "first"):
        body, content_type = callbacks.deliver(boundary=boundary)
        assert (await post(rig, body, content_type, app)).status_code == 200
    assert len(rig.store.inbound()) == 1
    assert len(rig.sink.files) == 4


async def test_the_same_words_said_again_are_another_message(rig: Rig) -> None:
    app = rig.app()
    for transaction_id in ("tx-1", "tx-2"):
        body, content_type = callbacks.deliver(transaction_id=transaction_id)
        assert (await post(rig, body, content_type, app)).status_code == 200
    assert len(rig.store.inbound()) == 2
    assert len(rig.sink.files) == 8


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "Tēnā koe".encode()),
        ("utf-16", "Tēnā koe".encode("utf-16")),
        ("ISO-10646-UCS-2", "Tēnā koe".encode("utf-16")),
        *((name, "Tēnā koe".encode("utf-16-be")) for name in ("utf-16", "ISO-10646-UCS-2", "ucs2", "1000", "1015")),
        *((name, "Tēnā koe".encode("utf-16-le")) for name in ("UTF-16", "ucs-2", "csUnicode", '"1000"', "1015")),
        ("UTF-16LE", "Tēnā koe".encode("utf-16-le")),
        ("us-ascii", "Tēnā koe".encode("utf-16")),
        ("106", "Tēnā koe".encode()),
        ("us-ascii", "Tēnā koe".encode()),
        ("no-such-charset", "Tēnā koe".encode()),
        ("base64", "Tēnā koe".encode()),
        ("zlib", "Tēnā koe".encode()),
        ("punycode", "Tēnā koe".encode()),
        ("gb2312", "Tēnā koe".encode("gb2312")),
        ("windows-1257", "Tēnā koe".encode("cp1257")),
    ],
)
async def test_text_is_read_in_its_charset(rig: Rig, charset: str, text: bytes) -> None:
    body, content_type = callbacks.deliver(text=text, charset=charset)
    await post(rig, body, content_type)
    (row,) = rig.store.inbound()
    assert row.message.text == "Tēnā koe"


@pytest.mark.parametrize(
    ("charset", "text", "expected"),
    [
        ("gb2312", "土星𠀀".encode("gb18030"), "土星𠀀"),
        ("euc-kr", "토성 펲".encode("cp949"), "토성 펲"),
        ("shift_jis", "土星①".encode("cp932"), "土星①"),
        ("Windows-31J", "土星①".encode("cp932"), "土星①"),
        ("2025", "土星新闻".encode("gb2312"), "土星新闻"),
        ("iso-8859-1", "5 € „Grüße…“".encode("cp1252"), "5 € „Grüße…“"),
        ("iso-8859-1", b"5 \x80 \x81", "5 \x80 \x81"),
        ("no-such-charset", b"Gr\xfc\xdfe", "Grüße"),
        ("utf-16", b"Hello", "Hello"),
        # One wrong byte, and CESU-8.
        ("utf-8", "Tēnā koe".encode() + b"\xff", "Tēnā koe\ufffd"),
        ("us-ascii", "土星新闻".encode()[:-1], "土星新\ufffd"),
        ("utf-8", b"Saturn \xed\xa0\xbe\xed\xba\x90", "Saturn \U0001fa90"),
    ],
)
async def test_text_is_read_as_it_was_meant(rig: Rig, charset: str, text: bytes, expected: str) -> None:
    body, content_type = callbacks.deliver(text=text, charset=charset)
    await post(rig, body, content_type)
    (row,) = rig.store.inbound()
    assert row.message.text == expected


async def test_comments_keep_no_text_from_being_read(rig: Rig) -> None:
    body, content_type = callbacks.deliver(text="Tēnā koe".encode("cp1257"), charset="windows-1257 (Baltic)")
    await post(rig, body.replace(b"text/plain;", b"text/plain (words);"), content_type)
    (row,) = rig.store.inbound()
    assert row.message.text == "Tēnā koe"


async def test_a_name_of_an_encoding_that_is_no_charset_is_not_applied(rig: Rig) -> None:
    body, content_type = callbacks.deliver(text=rb"C:\u0041", charset="unicode-escape")
    await post(rig, body, content_type)
    (row,) = rig.store.inbound()
    assert row.message.text == r"C:\u0041"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\x00\xff\xfe",
        b"<a/>",
        callbacks.envelope("<Unheard xmlns='x'/>"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + callbacks.report(),
        callbacks.report()[:-40],
    ],
)
async def test_what_cannot_be_read_gets_2007_and_is_kept_aside(rig: Rig, body: bytes) -> None:
    code, _ = error_of(await post(rig, body))
    assert code == "2007"
    assert rig.store.reports() == []
    assert [(one.conn_id, one.content_type, one.body) for one in rig.store.aside()] == [
        ("mm7_default", callbacks.XML, body)
    ]


async def test_the_fault_speaks_of_what_cannot_be_read_in_its_dialect(rig: Rig) -> None:
    answer = await post(rig, callbacks.report(transaction_id="tx-77")[:-40])
    assert error_of(answer) == ("2007", "tx-77")
    (rsp,) = answer_tree(answer).xpath("//*[local-name()='VASPErrorRsp']")
    assert (etree.QName(rsp).namespace, rsp[0].text) == (callbacks.MM7, "6.8.0")


async def test_a_report_on_nothing_gets_2007_in_its_dialect_and_is_kept_aside(rig: Rig) -> None:
    answer = await post(rig, callbacks.report(message_id=None, transaction_id="tx-5"))
    assert error_of(answer) == ("2007", "tx-5")
    assert len(rig.store.aside()) == 1


async def test_an_operation_that_is_not_ours_gets_4003(rig: Rig) -> None:
    assert error_of(await post(rig, callbacks.submit())) == ("4003", "tx-1")
    assert rig.store.aside() == []


@pytest.mark.parametrize("kind", ["report", "deliver", "garbage"])
async def test_while_the_store_is_down_nothing_is_acknowledged(rig: Rig, kind: str) -> None:
    body, content_type = {
        "report": (callbacks.report(), callbacks.XML),
        "deliver": callbacks.deliver(),
        "garbage": (b"garbage", callbacks.XML),
    }[kind]
    app = rig.app()
    rig.store_goes_down()
    answer = await post(rig, body, content_type, app)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/plain; charset=utf-8")
    assert b"<" not in answer.content
    assert int(answer.headers["retry-after"]) > 0
    rig.store_comes_back()
    assert (await post(rig, body, content_type, app)).status_code == 200
    assert len(rig.store.reports()) + len(rig.store.inbound()) + len(rig.store.aside()) == 1


async def test_a_store_that_hangs_is_not_waited_for_and_what_it_commits_late_is_a_duplicate(rig: Rig) -> None:
    """One carrier gives a callback 10 s; SQLite waits for a lock of another process for 30."""
    assert rig.store.reports() == []
    rig.config = ReceiverConfig(commit_timeout_s=0.05)
    hasty = rig.app()
    other = sqlite3.connect(rig.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        answer = await post(rig, callbacks.report(), app=hasty)
    finally:
        other.close()
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)

    await asyncio.to_thread(hasty.state.receiver.close)
    assert len(rig.store.reports()) == 1
    rig.config = ReceiverConfig()
    assert (await post(rig, callbacks.report())).status_code == 200
    assert len(rig.store.reports()) == 1


async def test_media_that_cannot_be_stored_are_not_acknowledged(rig: Rig) -> None:
    body, content_type = callbacks.deliver()
    app = rig.app()
    rig.sink.failure = OSError("no space left on device")
    assert (await post(rig, body, content_type, app)).status_code == 503
    assert rig.store.inbound() == []
    rig.sink.failure = None
    assert (await post(rig, body, content_type, app)).status_code == 200
    assert (len(rig.store.inbound()), len(rig.sink.files)) == (1, 4)


async def test_logs_name_ids_and_statuses_only(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = rig.app()
    await post(rig, callbacks.report("m-logged\n"), app=app)
    await post(rig, *callbacks.deliver(), app=app)
    await post(rig, callbacks.report()[:-40], app=app)
    rig.sink.failure = OSError(f"cannot write {callbacks.TEXT}")
    await post(rig, *callbacks.deliver(transaction_id="tx-10"), app=app)
    rig.store_goes_down()
    await post(rig, callbacks.report(), app=app)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_mm7"))
    assert (
        "conn_id=mm7_default operation=DeliveryReportReq transaction_id='tx-1' message_id='m-logged' status=1000 new"
        in ours
    )
    assert "http_status=503" in ours
    everything = caplog.text
    for secret in (callbacks.RECIPIENT, callbacks.RECIPIENT[1:], callbacks.TEXT, "secret", "Hello"):
        assert secret not in everything


async def test_health_says_ok_or_degraded_and_nothing_else(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_mm7.receiver.app.HEALTH_TTL_S", 0)
    async with rig.client() as client:
        good = await client.get("/mm7/health", headers={"Authorization": ""})
        rig.store_goes_down()
        bad = await client.get("/mm7/health", headers={"Authorization": ""})
    assert (good.status_code, good.json()) == (200, {"status": "ok", "store": "ok"})
    assert (bad.status_code, bad.json()) == (503, {"status": "degraded", "store": "unavailable"})


async def test_a_sign_of_life_is_left_from_the_first_request_on(rig: Rig) -> None:
    async with rig.client() as client:
        await client.get("/mm7/health")
        async with asyncio.timeout(20):
            while not (found := rig.store.components()):
                await asyncio.sleep(0.01)
    assert [one.kind for one in found] == ["receiver"]


def test_one_receiver_serves_one_event_loop_after_another(rig: Rig) -> None:
    app = rig.app()
    for number in range(3):
        assert asyncio.run(post(rig, callbacks.report(f"m-{number}"), app=app)).status_code == 200
    assert len(rig.store.reports()) == 3
