"""What a user wants to send, and how the MMSC wants to get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_mm7.defaults import MAX_MESSAGE_BYTES
from airflow_provider_mm7.protocol import Dialect, SenderIdentification, When


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What an MMSC expects of every submit.

    :ivar number_format: ``plus`` or ``digits``.
    :ivar strict_numbers: whether a number outside its country's numbering plan is refused.
    :ivar media_types: ``registered`` or ``vendor`` spelling of media types.
    :ivar max_message_bytes: bytes of the whole request after encoding.
    :ivar recipients_per_request: addresses in one SubmitReq.
    """

    sender: SenderIdentification = field(default_factory=SenderIdentification)
    service_code: str | None = None
    dialect: Dialect = field(default_factory=Dialect)
    number_format: str = "plus"
    strict_numbers: bool = False
    media_types: str = "registered"
    max_message_bytes: int = MAX_MESSAGE_BYTES
    recipients_per_request: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One message to one or many recipients, as the user wrote it.

    :ivar to: numbers; likewise ``cc`` and ``bcc``.
    :ivar text: text parts in their order; empty strings are left out.
    :ivar media: object URIs in their order.
    :ivar smil: ``auto``, ``none``, the URI of a document, or a document.
    :ivar expiry: a datetime with zone, or a timedelta from the moment of sending; likewise ``earliest_delivery``.
    """

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str | None = None
    text: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    smil: str = "auto"
    delivery_report: bool | None = True
    read_reply: bool | None = None
    priority: str | None = None
    message_class: str | None = None
    linked_id: str | None = None
    expiry: When | None = None
    earliest_delivery: When | None = None
    charged_party: str | None = None
    distribution_indicator: bool | None = None
    allow_adaptations: bool = True
    content_class: str | None = None

    @property
    def uris(self) -> tuple[str, ...]:
        """The objects it is made of."""
        return self.media if self.smil in ("auto", "none") or is_document(self.smil) else (*self.media, self.smil)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A checked number and the list it stands in (``to``, ``cc`` or ``bcc``)."""

    number: str
    role: str = "to"


def is_document(smil: str) -> bool:
    """Whether a presentation is given as its text, and not as its URI."""
    return smil.lstrip("\ufeff \t\r\n").startswith("<")


def resolve_time(value: When | None, *, now: datetime) -> datetime | None:
    """Return a point in time.

    A duration is legal in MM7, but a vendor may take RFC 3339 timestamps only: a timedelta becomes one.
    """
    if value is None or isinstance(value, datetime):
        return value
    return (now + value).replace(microsecond=0)
