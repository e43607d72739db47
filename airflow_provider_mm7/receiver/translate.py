"""MM7 requests as rows: what of a callback goes into the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from airflow_provider_mm7.protocol.charsets import UTF_16_MARKS, codecs_of, decode, decode_utf16
from airflow_provider_mm7.protocol.messages import Address, DeliverReq, DeliveryReportReq, ReadReplyReq, Recipients
from airflow_provider_mm7.protocol.mime import parse_parameters
from airflow_provider_mm7.protocol.parts import Envelope, Part
from airflow_provider_mm7.protocol.statuses import MMStatus
from airflow_provider_mm7.store.types import InboundPart, NewInbound, NewReport, ReportKind

#: File name endings for the vendor page's media types, so that people can open what is kept.
_SUFFIXES = {
    "application/smil": ".smil",
    "application/smil+xml": ".smil",
    "audio/amr": ".amr",
    "audio/basic": ".au",
    "audio/midi": ".mid",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/mpeg3": ".mp3",
    "audio/wav": ".wav",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tiff",
    "text/calendar": ".ics",
    "text/plain": ".txt",
    "text/vcard": ".vcf",
    "text/x-vcard": ".vcf",
    "text/x-vcalendar": ".vcs",
    "video/3gpp": ".3gp",
    "video/mp4": ".mp4",
    "video/mpeg": ".mpeg",
    "video/quicktime": ".mov",
    "video/x-msvideo": ".avi",
}

#: Not charsets of text that people write, and some of them slow or large to undo.
_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}


def new_report(conn_id: str, message: DeliveryReportReq | ReadReplyReq, transaction_id: str | None) -> NewReport:
    """Return the row of a delivery report or read reply.

    :param conn_id: the connection that the callback came in on.
    :param message: the report.
    :param transaction_id: of the request that carried it.
    """
    delivery = isinstance(message, DeliveryReportReq)
    return NewReport(
        kind=ReportKind.DELIVERY if delivery else ReportKind.READ,
        conn_id=conn_id,
        message_id=message.message_id,
        recipient=_plain(message.recipient),
        sender=_plain(message.sender),
        mm_status=MMStatus.parse(message.mm_status or "").name,
        mm_status_raw=message.mm_status,
        date=_utc(message.date if isinstance(message, DeliveryReportReq) else message.timestamp),
        status_text=message.status_text,
        mm_status_extension=message.mm_status_extension if isinstance(message, DeliveryReportReq) else None,
        transaction_id=transaction_id,
    )


def new_inbound(
    conn_id: str, message: DeliverReq, envelope: Envelope, store_part: Callable[[str, Part], str]
) -> NewInbound:
    """Store the media of a message from a handset and return its row.

    The names are made from the message's digest: the same callback come again writes the same bytes to the same names.

    :param conn_id: the connection that the callback came in on.
    :param message: the message.
    :param envelope: what carried it.
    :param store_part: puts a part under a name of our making and returns its URI.
    :raises Exception: whatever ``store_part`` raised.
    """
    hashes = [hashlib.sha256(part.body).hexdigest() for part in envelope.parts]
    digest = _digest(conn_id, envelope, message, hashes)
    parts = []
    for index, (part, sha256) in enumerate(zip(envelope.parts, hashes, strict=True)):
        uri = store_part(f"{digest}-{index:03d}{_suffix(part)}", part)
        parts.append(
            InboundPart(
                content_type=part.content_type or "application/octet-stream",
                content_id=part.content_id,
                content_location=part.content_location or part.name,
                size=len(part.body),
                sha256=sha256,
                uri=uri,
            )
        )
    return NewInbound(
        conn_id=conn_id,
        digest=digest,
        transaction_id=envelope.transaction_id,
        sender=_plain(message.sender),
        recipients=_addressed(message.recipients),
        subject=message.subject,
        linked_id=message.linked_id,
        date=_utc(message.timestamp),
        text=joined_text(envelope.parts),
        priority=message.priority,
        parts=tuple(parts),
    )


def joined_text(parts: Iterable[Part]) -> str | None:
    """Return the text/plain parts in their charsets, one a line; None when there are none.

    :param parts: the leaves in the order of the wire.
    """
    texts = [_decoded(part) for part in parts if _media_type(part) == "text/plain"]
    return "\n".join(texts) if texts else None


def _decoded(part: Part) -> str:
    label = parse_parameters(part.content_type)[1].get("charset", "")
    names = [codec for codec in codecs_of(label) if codec not in _NO_CHARSETS]
    if "utf-16" in names or part.body.startswith(UTF_16_MARKS):
        with suppress(UnicodeDecodeError):
            return decode_utf16(part.body).removeprefix("\ufeff")
        names = []
    return decode(part.body, names).removeprefix("\ufeff")


def _digest(conn_id: str, envelope: Envelope, message: DeliverReq, hashes: list[str]) -> str:
    """Digest what a repeat of the same callback has in common with the first: all but its MIME boundaries."""
    identity = [
        conn_id,
        envelope.transaction_id,
        message.linked_id,
        message.sender and message.sender.value,
        [address.value for address in message.recipients.all],
        message.timestamp and message.timestamp.isoformat(),
        message.subject,
        [[_media_type(part), sha256] for part, sha256 in zip(envelope.parts, hashes, strict=True)],
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _media_type(part: Part) -> str:
    return parse_parameters(part.content_type)[0]


def _suffix(part: Part) -> str:
    return _SUFFIXES.get(_media_type(part), ".bin")


def _addressed(recipients: Recipients) -> tuple[str, ...]:
    """Give to whom a message was sent; ``displayOnly`` names who else is in a group chat, for the handset to show."""
    addressed = tuple(filter(None, (_plain(one) for one in recipients.all if not one.display_only)))
    return addressed or tuple(filter(None, map(_plain, recipients.all)))


def _plain(address: Address | None) -> str | None:
    return address.plain if address is not None else None


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        # The year 1 or 9999 in a far zone: no date that anybody meant.
        return None
