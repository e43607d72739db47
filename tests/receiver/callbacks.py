"""Callbacks as an MMSC sends them, written without the package's own encoder."""

from __future__ import annotations

import base64
from pathlib import Path

DATA = Path(__file__).parent / "data"

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
MM7 = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"

#: Numbers and words that may stand in the store and nowhere else.
RECIPIENT = "+64215550123"
SENDER = "111122"
TEXT = "Kia ora from a handset"

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40 + b"\r\n--inner\r\n\xff\xd9"

XML = 'text/xml; charset="utf-8"'


def authorization(login: str = "vasp", password: str = "secret", charset: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode(charset)).decode()


def headers(content_type: str = XML, **credentials: str) -> dict[str, str]:
    return {"Authorization": authorization(**credentials), "Content-Type": content_type, "SOAPAction": '""'}


def envelope(body: str, *, transaction_id: str | None = "tx-1", soap: str = SOAP, mm7: str = MM7) -> bytes:
    header = (
        f'<t:TransactionID xmlns:t="{mm7}" e:mustUnderstand="1">{transaction_id}</t:TransactionID>'
        if transaction_id is not None
        else ""
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{soap}"><e:Header>{header}</e:Header>'
        f"<e:Body>{body}</e:Body></e:Envelope>"
    ).encode()


def report(
    message_id: str | None = "m-1",
    status: str = "Retrieved",
    *,
    recipient: str = RECIPIENT,
    date: str = "2026-01-02T03:04:05Z",
    transaction_id: str | None = "tx-1",
    version: str = "6.8.0",
    operation: str = "DeliveryReportReq",
    soap: str = SOAP,
    mm7: str = MM7,
) -> bytes:
    tag = "Date" if operation == "DeliveryReportReq" else "TimeStamp"
    identity = "" if message_id is None else f"<MessageID>{message_id}</MessageID>"
    return envelope(
        f'<{operation} xmlns="{mm7}"><MM7Version>{version}</MM7Version>{identity}'
        f"<Recipient><Number>{recipient}</Number></Recipient><Sender><Number>{SENDER}</Number></Sender>"
        f"<{tag}>{date}</{tag}><MMStatus>{status}</MMStatus></{operation}>",
        transaction_id=transaction_id,
        soap=soap,
        mm7=mm7,
    )


def submit() -> bytes:
    return envelope(
        f'<SubmitReq xmlns="{MM7}"><MM7Version>6.8.0</MM7Version><SenderIdentification/>'
        f"<Recipients><To><Number>{RECIPIENT}</Number></To></Recipients></SubmitReq>"
    )


def deliver(
    *, boundary: str = "outer", transaction_id: str = "tx-9", text: bytes = TEXT.encode(), charset: str = "utf-8"
) -> tuple[bytes, str]:
    """Return body and content type of a DeliverReq with SMIL, text, a GIF in base64 and a raw binary JPEG."""
    soap = envelope(
        f'<DeliverReq xmlns="{MM7}"><MM7Version>6.8.0</MM7Version><LinkedID>link-1</LinkedID>'
        f"<Sender><Number>{RECIPIENT}</Number></Sender>"
        f"<Recipients><To><Number>{SENDER}</Number></To></Recipients>"
        "<TimeStamp>2026-01-02T03:04:05+13:00</TimeStamp><Priority>High</Priority><Subject>Hello</Subject>"
        '<Content href="cid:content"/></DeliverReq>',
        transaction_id=transaction_id,
    )
    gif_head = b"Content-Type: image/gif\r\nContent-ID: <g>\r\nContent-Location: x.gif\r\n"
    gif_head += b"Content-Transfer-Encoding: base64\r\n"
    parts = [
        (b"Content-Type: application/smil\r\nContent-ID: <smil>\r\n", b"<smil><body/></smil>"),
        (f"Content-Type: text/plain; charset={charset}\r\nContent-ID: <t>\r\n".encode(), text),
        (gif_head, base64.encodebytes(GIF)),
        (b"Content-Type: image/jpeg\r\nContent-ID: <j>\r\nContent-Transfer-Encoding: binary\r\n", JPEG),
    ]
    inner = f"in-{boundary}".encode()
    content = b"".join(b"--" + inner + b"\r\n" + head + b"\r\n" + body + b"\r\n" for head, body in parts)
    outer = boundary.encode()
    body = (
        b"--" + outer + b"\r\nContent-Type: text/xml; charset=utf-8\r\nContent-ID: <soap>\r\n\r\n" + soap + b"\r\n"
        b"--" + outer + b"\r\nContent-Type: multipart/related; boundary=" + inner + b'; start="<smil>"\r\n'
        b"Content-ID: <content>\r\n\r\n" + content + b"--" + inner + b"--\r\n"
        b"--" + outer + b"--\r\n"
    )
    return body, f'multipart/related; type="text/xml"; start="<soap>"; boundary="{boundary}"'


def say(
    text: str | bytes | None,
    *,
    charset: str = "utf-8",
    sender: str | None = RECIPIENT,
    recipients: tuple[str, ...] = (SENDER,),
    subject: str | None = None,
    date: str | None = None,
    transaction_id: str = "tx-1",
) -> tuple[bytes, str]:
    """Return body and content type of a DeliverReq of text alone, as somebody types it into a handset."""
    to = "".join(f"<Number>{one}</Number>" for one in recipients)
    soap = envelope(
        f'<DeliverReq xmlns="{MM7}"><MM7Version>6.8.0</MM7Version>'
        f"<Sender>{'' if sender is None else f'<Number>{sender}</Number>'}</Sender>"
        f"{f'<Recipients><To>{to}</To></Recipients>' if to else ''}"
        f"{'' if date is None else f'<TimeStamp>{date}</TimeStamp>'}<Priority>Normal</Priority>"
        f"{'' if subject is None else f'<Subject>{subject}</Subject>'}"
        '<Content href="cid:content"/></DeliverReq>',
        transaction_id=transaction_id,
    )
    parts = [b"Content-Type: text/xml; charset=utf-8\r\nContent-ID: <soap>\r\n\r\n" + soap]
    if text is not None:
        head = f"Content-Type: text/plain; charset={charset}\r\nContent-ID: <content>\r\n\r\n".encode()
        parts.append(head + (text.encode() if isinstance(text, str) else text))
    body = b"".join(b"--outer\r\n" + part + b"\r\n" for part in parts) + b"--outer--\r\n"
    return body, 'multipart/related; type="text/xml"; start="<soap>"; boundary="outer"'
