"""Every example on the vendor's page, byte for byte as it is printed there, the malformed ones too."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import ProtocolError
from airflow_provider_mm7.protocol import (
    Address,
    ContentRef,
    DeliverReq,
    DeliverRsp,
    DeliveryReportReq,
    DeliveryReportRsp,
    Dialect,
    Envelope,
    Message,
    Recipients,
    SenderIdentification,
    Status,
    SubmitReq,
    SubmitRsp,
    dump,
    load,
    read_http,
)

VENDOR = Path(__file__).parent / "vendor"
REL_6 = "https://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"
REL_5 = "https://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"
SOAP = "https://schemas.xmlsoap.org/soap/envelope/"


def read(name: str) -> Envelope:
    return load(*read_http((VENDOR / name).read_bytes()))


def test_submit_request() -> None:
    zone = timezone(timedelta(hours=-5))
    envelope = read("submit_req.http")
    assert envelope.transaction_id == "vas00001-sub"
    assert envelope.dialect == Dialect(soap_namespace=SOAP, mm7_namespace=REL_5, mm7_version="5.3.0")
    assert envelope.message == SubmitReq(
        mm7_version="5.3.0",
        sender_identification=SenderIdentification(vasp_id="TNN", vas_id="News"),
        recipients=Recipients(to=(Address(value="7255441234"),)),
        timestamp=datetime(2020, 1, 2, 9, 30, 47, tzinfo=zone),
        expiry=datetime(2020, 1, 20, 9, 30, 47, tzinfo=zone),
        delivery_report=True,
        subject="News for today",
        priority="Normal",
        contents=(ContentRef(href="cid:SaturnPics-01020930@news.tnn.com"),),
    )


def test_submit_request_media() -> None:
    text, picture = read("submit_req.http").parts
    assert text.content_type == 'text/plain; charset="us-ascii"'
    # The page prints a line with one space where the empty line before the delimiter belongs.
    assert text.body == b"Science news, new Saturn pictures...\n "
    assert picture.content_type == "image/gif;"
    assert picture.content_id == "saturn.gif"
    # The line of three dots stands for what the page leaves out, and is no base64.
    line = "R0lGODdhZAAwAOMAAAAAAIGJjGltcDE0OOfWo6Ochbi1n1pmcbGojpKbnP/lpW54fBMTE1RYXEFO"
    assert picture.body == base64.b64decode(line)


def test_submit_response() -> None:
    envelope = read("submit_rsp.http")
    assert envelope.transaction_id == "vas00001-sub"
    assert envelope.message == SubmitRsp(
        mm7_version="5.3.0",
        status=Status(status_code=1000, status_text="Success"),
        message_id="041502073667",
    )


def test_deliver_request_with_names_that_are_not_well_formed() -> None:
    envelope = read("deliver_req.xml")
    assert envelope.transaction_id == "1000001"
    assert envelope.dialect == Dialect(soap_namespace=SOAP, mm7_namespace=REL_6, mm7_version="5.3.0")
    assert envelope.message == DeliverReq(
        mm7_version="5.3.0",
        linked_id="1000001",
        sender=Address(value="1617423433"),
        recipients=Recipients(to=(Address(value="111122"),)),
        timestamp=datetime(2014, 4, 14, 16, 15, 23, 414000, tzinfo=UTC),
        priority="Normal",
        contents=(ContentRef(href="cid:default.cid"),),
    )


def test_delivery_report_request() -> None:
    envelope = read("delivery_report_req.xml")
    assert envelope.transaction_id == "10000001"
    assert envelope.message == DeliveryReportReq(
        mm7_version="5.3.0",
        message_id="369500617770864640",
        recipient=Address(value="16175550123"),
        sender=Address(value="111122"),
        date=datetime(2015, 3, 16, 14, 3, 51, 749000, tzinfo=UTC),
        mm_status="Retrieved",
        status_text="Success",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "deliver_rsp.xml",
            DeliverRsp(mm7_version="5.3.0", status=Status(status_code=1000, status_text="Successfully received MMS")),
        ),
        (
            "delivery_report_rsp.xml",
            DeliveryReportRsp(
                mm7_version="5.3.0",
                status=Status(status_code=1000, status_text="Successfully Received Delivery Report."),
            ),
        ),
    ],
)
def test_the_answers_that_the_page_wants_from_us(name: str, message: Message) -> None:
    envelope = read(name)
    assert envelope.transaction_id == "1000001"
    assert envelope.message == message
    ours = dump(message, transaction_id="1000001", dialect=envelope.dialect)
    assert load(ours.body, ours.content_type) == envelope


@pytest.mark.parametrize("name", sorted(path.name for path in VENDOR.iterdir() if path.suffix in (".xml", ".http")))
def test_an_example_cut_off_is_never_read(name: str) -> None:
    body, content_type = read_http((VENDOR / name).read_bytes())
    whole = body.rstrip()
    for cut in range(len(whole)):
        with pytest.raises(ProtocolError):
            load(whole[:cut], content_type)


def curl_content_type() -> str:
    line = next(row for row in (VENDOR / "curl.txt").read_text().splitlines() if "Content-Type" in row)
    return line.partition("Content-Type: ")[2].removesuffix("' \\")


def test_the_curl_request_with_the_smil_file_of_the_page() -> None:
    """The request file itself is not on the page; its headers and the end of its body are."""
    content_type = curl_content_type()
    assert content_type.endswith("; boundary=_boundary_2022113557_1584671759_F_s_bd798260630")
    soap = dump(SubmitReq(recipients=Recipients(to=(Address(value="64211234567"),))), transaction_id="t").body
    body = b"\n".join(
        [
            b"--_boundary_2022113557_1584671759_F_s_bd798260630",
            b"Content-Type: text/xml",
            b"Content-ID: <s1584671759.1672711821.Fw.msg>",
            b"",
            soap,
            b"--_boundary_2022113557_1584671759_F_s_bd798260630",
            b'Content-Type: multipart/related; start="<presentation>"; type="application/smil";',
            b"  boundary=_boundary_1005702395_1584671759_W_m_bd391555849",
            b"",
            b"--_boundary_1005702395_1584671759_W_m_bd391555849",
            b"Content-ID: <000001.png>",
            b"Content-Type: image/png",
            b"Content-Transfer-Encoding: base64",
            b"",
            b"iVBORw0KGgo=",
            b"--_boundary_1005702395_1584671759_W_m_bd391555849",
            (VENDOR / "smil_fragment.txt").read_bytes(),
        ]
    )
    envelope = load(body, content_type)
    assert isinstance(envelope.message, SubmitReq)
    picture, smil = envelope.parts
    assert picture.body == b"\x89PNG\r\n\x1a\n"
    assert (smil.content_id, smil.content_type) == ("presentation", "application/smil")
    assert smil.body.startswith(b'<?xml version="1.0"?>\n<smil>')
    assert smil.body.endswith(b"</smil>")
