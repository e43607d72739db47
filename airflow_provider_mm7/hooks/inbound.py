"""A message from a handset as DAGs see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self

from airflow_provider_mm7.media.source import name_of
from airflow_provider_mm7.store import Inbound
from airflow_provider_mm7.store.inbound import is_media


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMedia:
    """A picture, sound or film of a message from a handset; its texts are in ``InboundMMS.text``.

    :ivar uri: where it is kept, below ``[mm7] inbound_media_uri``. Made by the receiver: nothing of it comes from the
        message.
    :ivar content_type: as the handset wrote it, such as ``image/jpeg``.
    :ivar size: bytes.
    :ivar sha256: of its bytes, in hexadecimal digits.
    :ivar name: the last segment of the URI, a file name that no other media have. Safe as a path or key.
    """

    uri: str
    content_type: str
    size: int
    sha256: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMMS:
    """A message from a handset.

    :ivar id: its number in the store; a later message has a higher one.
    :ivar sender: the number it is from; None when the MMSC hides it.
    :ivar recipients: to whom it was sent: mostly one short code.
    :ivar subject: or None.
    :ivar text: its text parts, joined by line breaks; None when it has none.
    :ivar linked_id: MessageID of the message that it answers, if the MMSC says so.
    :ivar date: when it was sent, as the MMSC says; aware, or None.
    :ivar received_at: when it was stored here; aware.
    :ivar conn_id: the connection on which it came in.
    :ivar attempts: how often it was handed to the consumer, this time included; 0 when it was only looked at.
    :ivar media: its pictures, sounds and films, in their order.
    """

    id: int
    sender: str | None
    recipients: tuple[str, ...]
    subject: str | None
    text: str | None
    linked_id: str | None
    date: datetime | None
    received_at: datetime
    conn_id: str
    attempts: int = 0
    media: tuple[InboundMedia, ...] = ()

    @classmethod
    def of(cls, stored: Inbound, *, attempts: int = 0) -> Self:
        """Make one of a message of the store."""
        message = stored.message
        return cls(
            id=stored.id,
            sender=message.sender,
            recipients=message.recipients,
            subject=message.subject,
            text=message.text,
            linked_id=message.linked_id,
            date=message.date,
            received_at=stored.received_at,
            conn_id=message.conn_id,
            attempts=attempts,
            media=tuple(
                InboundMedia(
                    uri=part.uri,
                    content_type=part.content_type,
                    size=part.size,
                    sha256=part.sha256,
                    name=name_of(part.uri),
                )
                for part in message.parts
                if is_media(part.content_type)
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON primitives, for XCom: the fields under their names, times in ISO 8601."""
        return {
            **asdict(self),
            "recipients": list(self.recipients),
            "date": None if self.date is None else self.date.isoformat(),
            "received_at": self.received_at.isoformat(),
            "media": [asdict(one) for one in self.media],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make one of what :meth:`as_json` returned; other keys are passed over."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        date = known["date"]
        return cls(
            **{
                **known,
                "recipients": tuple(known["recipients"]),
                "date": None if date is None else datetime.fromisoformat(date),
                "received_at": datetime.fromisoformat(known["received_at"]),
                "media": tuple(
                    InboundMedia(**{field.name: one[field.name] for field in fields(InboundMedia)})
                    for one in known.get("media", ())
                ),
            }
        )
