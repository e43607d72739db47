"""Delivery reports, read replies and messages from handsets, spelled as the vendor spells them.

Well-formed by default; ``--quirks vendor`` prints them as the vendor's page does, to the letter: namespaces with
``https``, and a DeliverReq whose prefix is undeclared and whose tags do not match.
"""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

from airflow_provider_mm7.sandbox.answers import XML_TYPE, element
from airflow_provider_mm7.sandbox.callbacks import DELIVER, READ_REPLY, REPORT, Callback, Medium
from airflow_provider_mm7.sandbox.scenarios import ReportStep

_SOAP = "://schemas.xmlsoap.org/soap/envelope/"
_MM7 = "://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"
VERSION = "5.3.0"
#: The short code of the vendor's examples, for messages that named no SenderAddress.
DEFAULT_SENDER = "111122"
_TEXTS = {
    "Retrieved": "Success",
    "Delivered": "Success",
    "Expired": "The message expired before it was retrieved",
    "Rejected": "The message was rejected",
    "Deferred": "The handset will retrieve the message later",
    "Forwarded": "The message was forwarded without being retrieved",
}


class Spelling:
    """Writes callbacks.

    :param quirks: ``none`` or ``vendor``.
    """

    def __init__(self, quirks: str) -> None:
        self._vendor = quirks == "vendor"
        scheme = "https" if self._vendor else "http"
        self._soap, self._mm7 = scheme + _SOAP, scheme + _MM7
        # Unique over restarts, as the ids of an MMSC are.
        self._ids = itertools.count(int(datetime.now(UTC).timestamp() * 1000) * 1_000_000)

    def next_id(self) -> str:
        """A MessageID or TransactionID that was not used before."""
        return str(next(self._ids))

    def report(self, message_id: str, recipient: str, sender: str | None, step: ReportStep) -> Callback:
        """A DeliveryReportReq or ReadReplyReq about one recipient."""
        about, by = digits(recipient), digits(sender or DEFAULT_SENDER)
        suffix = "/TYPE=PLMN" if step.type_suffix else ""
        to_xml = f"<Recipient><Number>{escape(about + suffix)}</Number></Recipient>"
        from_xml = f"<Sender><Number>{escape(by + suffix)}</Number></Sender>"
        message = element("MessageID", message_id)
        if step.swapped:
            # One real MMSC: the two exchanged, before MessageID, and the MessageID again as TransactionID.
            to_xml = f"<Recipient><Number>{escape(by)}</Number></Recipient>"
            from_xml = f"<Sender><Number>{escape(about)}</Number></Sender>"
        ids = to_xml + from_xml + message if step.swapped else message + to_xml + from_xml
        moment = timestamp(datetime.now(UTC) + timedelta(seconds=step.date_offset_s))
        date = element("TimeStamp" if step.read_reply else "Date", moment)
        name = "ReadReplyReq" if step.read_reply else "DeliveryReportReq"
        text = "" if step.read_reply else element("StatusText", _TEXTS.get(step.mm_status, step.mm_status))
        transaction_id = message_id if step.swapped else self.next_id()
        body = (
            f"<{name}>{element('MM7Version', VERSION)}{ids}{date}{element('MMStatus', step.mm_status)}{text}</{name}>"
        )
        return Callback(
            kind=READ_REPLY if step.read_reply else REPORT,
            transaction_id=transaction_id,
            content_type=XML_TYPE,
            body=self._envelope(transaction_id, body, malformed=False),
            message_id=message_id,
            recipient=recipient,
            sender=sender or DEFAULT_SENDER,
            mm_status=step.mm_status,
        )

    def deliver(
        self, *, sender: str, recipient: str, subject: str | None, linked_id: str | None, media: Sequence[Medium]
    ) -> Callback:
        """A DeliverReq: a message from a handset, multipart when it has media."""
        transaction_id = self.next_id()
        content = '<Content href="cid:default.cid" allowAdaptations="true"/>' if media else ""
        body = (
            f"<DeliverReq>{element('MM7Version', VERSION)}{element('LinkedID', linked_id)}"
            f"<Sender><Number>{escape(digits(sender))}</Number></Sender>"
            f"<Recipients><To><Number>{escape(digits(recipient))}</Number></To></Recipients>"
            f"{element('TimeStamp', timestamp(datetime.now(UTC)))}{element('Priority', 'Normal')}"
            f"{element('Subject', subject)}{content}</DeliverReq>"
        )
        soap = self._envelope(transaction_id, body, malformed=self._vendor)
        content_type, whole = _multipart(soap, media) if media else (XML_TYPE, soap)
        return Callback(
            kind=DELIVER,
            transaction_id=transaction_id,
            content_type=content_type,
            body=whole,
            recipient=recipient,
            sender=sender,
            subject=subject,
            linked_id=linked_id,
            media=tuple(media),
        )

    def _envelope(self, transaction_id: str, body: str, *, malformed: bool) -> bytes:
        # As printed: DeliverReq declares ns1 and uses soap-env, and opens soap-env:: what it closes as soap-env:.
        prefix, opened = ("ns1", "soap-env::") if malformed else ("soap-env", "soap-env:")
        return (
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            f"<soap-env:Envelope xmlns:{prefix}={quoteattr(self._soap)} xmlns=\n{quoteattr(self._mm7)}>\n"
            f'<{opened}Header>\n   <TransactionID soap-env:mustUnderstand="1">{escape(transaction_id)}'
            f"</TransactionID>\n</soap-env:Header>\n<{opened}Body>\n   {body}\n</soap-env:Body>\n</soap-env:Envelope>\n"
        ).encode()


def _multipart(soap: bytes, media: Sequence[Medium]) -> tuple[str, bytes]:
    outer, inner = secrets.token_hex(12), secrets.token_hex(12)
    chunks = list(_multipart_chunks(soap, media, outer.encode(), inner.encode()))
    return (
        f'multipart/related; type="text/xml"; start="<mm7-deliver>"; boundary="{outer}"',
        b"".join(chunks),
    )


def _multipart_chunks(soap: bytes, media: Sequence[Medium], outer: bytes, inner: bytes) -> Iterator[bytes]:
    yield b"--%s\r\nContent-Type: %s\r\nContent-ID: <mm7-deliver>\r\n\r\n%s\r\n" % (outer, XML_TYPE.encode(), soap)
    yield b'--%s\r\nContent-Type: multipart/mixed; boundary="%s"\r\n' % (outer, inner)
    yield b"Content-ID: <default.cid>\r\n\r\n"
    for medium in media:
        name = medium.name.encode("ascii", "replace")
        yield b'--%s\r\nContent-Type: %s; name="%s"\r\n' % (inner, medium.content_type.encode("ascii", "replace"), name)
        yield b"Content-ID: <%s>\r\nContent-Location: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n" % (name, name)
        yield base64.encodebytes(medium.body).replace(b"\n", b"\r\n")
    yield b"--%s--\r\n--%s--\r\n" % (inner, outer)


def digits(number: str) -> str:
    """A number as the vendor spells it in callbacks: without the plus."""
    return number.split("/TYPE=", 1)[0].strip().removeprefix("+")


def timestamp(moment: datetime) -> str:
    """``2015-03-16T14:03:51.749Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
