"""MM7 messages as values, named as 3GPP TS 23.140 names them.

What a peer said is kept: an unknown status, version or class stays a string, and a field that a peer left out is None
even where the schema wants it. What we send is checked when it is dumped (:func:`airflow_provider_mm7.protocol.dump`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from airflow_provider_mm7.protocol.addresses import plain_address

#: A point in time with zone, or a duration from now (TS 23.140 ``relativeOrAbsoluteDateType``).
When = datetime | timedelta


class AddressKind(StrEnum):
    """The element that holds an address."""

    NUMBER = "Number"
    RFC2822 = "RFC2822Address"
    SHORT_CODE = "ShortCode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address (TS 23.140 clause 8.7.8.2, ``AddressGroup``)."""

    #: As it stands on the wire, white space stripped: ``+64211234567``, ``4917/TYPE=PLMN@host``.
    value: str
    kind: AddressKind = AddressKind.NUMBER
    display_only: bool = False
    #: ``encrypted`` or ``obfuscated``.
    address_coding: str | None = None
    id: str | None = None

    @property
    def plain(self) -> str:
        """The address without ``/TYPE=...`` and what follows it, ``tel:`` and ``mailto:``."""
        return plain_address(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """To, Cc and Bcc, each in the order of the wire."""

    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()

    @property
    def all(self) -> tuple[Address, ...]:
        """To + Cc + Bcc."""
        return self.to + self.cc + self.bcc


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderIdentification:
    """Who sends: the value added service and its provider."""

    vasp_id: str | None = None
    vas_id: str | None = None
    sender_address: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCharging:
    """The sender pays for a reply of this size in bytes until this time."""

    size: int | None = None
    deadline: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRef:
    """The Content element: where in the multipart the media stand."""

    #: ``cid:...`` on the wire; kept as the peer wrote it.
    href: str
    allow_adaptations: bool = True
    #: ``TEXT``, ``MULTIMEDIA_LOW``, ``MULTIMEDIA_HIGH``.
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UACapabilities:
    """The handset's user agent profile."""

    ua_prof: str | None = None
    timestamp: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Outcome of a request (TS 23.140 clause 8.7.8.3)."""

    status_code: int
    status_text: str | None = None
    #: Text of Details, white space folded.
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of every MM7 message."""

    mm7_version: str | None = None
    #: Extension elements as their serialised XML.
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VaspRequest(Message):
    """Base of what a VASP asks of an MMSC."""

    sender_identification: SenderIdentification = field(default_factory=SenderIdentification)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest(Message):
    """Base of what an MMSC asks of a VASP."""

    mms_relay_server_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """Base of every answer."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitReq(VaspRequest):
    """Send a message (TS 23.140 clause 8.7.1)."""

    recipients: Recipients = field(default_factory=Recipients)
    preferred_channels: tuple[str, ...] = ()
    service_code: str | None = None
    linked_id: str | None = None
    message_class: str | None = None
    timestamp: datetime | None = None
    reply_charging: ReplyCharging | None = None
    earliest_delivery: When | None = None
    expiry: When | None = None
    delivery_report: bool | None = None
    read_reply: bool | None = None
    priority: str | None = None
    subject: str | None = None
    charged_party: str | None = None
    charged_party_id: str | None = None
    third_party_payer: Address | None = None
    distribution_indicator: bool | None = None
    delivery_conditions: tuple[int, ...] | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None
    content_class: str | None = None
    drm_content: bool | None = None
    contents: tuple[ContentRef, ...] = ()
    additional_information: tuple[str, ...] = ()
    message_extra_data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRsp(Response):
    """Answer to a SubmitReq. Some MMSCs leave the MessageID out of a refusal."""

    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelReq(VaspRequest):
    """Take a message back (clause 8.7.3)."""

    message_id: str
    recipients: Recipients | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRsp(Response):
    """Answer to a CancelReq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceReq(VaspRequest):
    """Change a message that was not delivered yet (clause 8.7.3)."""

    message_id: str
    service_code: str | None = None
    timestamp: datetime | None = None
    read_reply: bool | None = None
    earliest_delivery: When | None = None
    distribution_indicator: bool | None = None
    content_class: str | None = None
    drm_content: bool | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None
    contents: tuple[ContentRef, ...] = ()
    additional_information: tuple[str, ...] = ()
    message_extra_data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRsp(Response):
    """Answer to a ReplaceReq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverReq(ServerRequest):
    """A message from a handset (clause 8.7.2)."""

    vasp_id: str | None = None
    vas_id: str | None = None
    linked_id: str | None = None
    sender: Address | None = None
    recipients: Recipients = field(default_factory=Recipients)
    #: (sequence, address) of Previouslysentby.
    previously_sent_by: tuple[tuple[int | None, Address], ...] = ()
    #: (sequence, time) of Previouslysentdateandtime.
    previously_sent_date_and_time: tuple[tuple[int | None, When], ...] = ()
    sender_spi: str | None = None
    recipient_spi: str | None = None
    timestamp: datetime | None = None
    reply_charging_id: str | None = None
    priority: str | None = None
    subject: str | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None
    ua_capabilities: UACapabilities | None = None
    contents: tuple[ContentRef, ...] = ()
    additional_information: tuple[str, ...] = ()
    message_extra_data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverRsp(Response):
    """Answer to a DeliverReq."""

    service_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReportReq(ServerRequest):
    """What became of a message for one recipient (clause 8.7.4)."""

    message_id: str
    recipient: Address | None = None
    sender: Address | None = None
    #: Date; a peer's TimeStamp in its place is read too. A date without zone is read as UTC.
    date: datetime | None = None
    #: As the peer spelled it; :class:`airflow_provider_mm7.protocol.statuses.MMStatus` reads it.
    mm_status: str | None = None
    mm_status_extension: str | None = None
    status_text: str | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None
    ua_capabilities: UACapabilities | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReportRsp(Response):
    """Answer to a DeliveryReportReq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReplyReq(ServerRequest):
    """A recipient read, or deleted unread, a message (clause 8.7.5)."""

    message_id: str
    recipient: Address | None = None
    sender: Address | None = None
    timestamp: datetime | None = None
    mm_status: str | None = None
    status_text: str | None = None
    applic_id: str | None = None
    reply_applic_id: str | None = None
    aux_applic_info: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReplyRsp(Response):
    """Answer to a ReadReplyReq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RSErrorRsp(Response):
    """The MMSC could not handle a request at all; travels in a SOAP Fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VASPErrorRsp(Response):
    """The VASP could not handle a request at all; travels in a SOAP Fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Message):
    """A SOAP 1.1 Fault that carries neither RSErrorRsp nor VASPErrorRsp."""

    fault_code: str | None = None
    fault_string: str | None = None
    #: Serialised text of detail, white space folded.
    detail: str | None = None
