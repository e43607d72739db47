"""The one table of MM7: elements in schema order, with names and types, for reading and for writing.

TS 23.140 annex L (REL-5-MM7-1-3 to REL-6-MM7-1-4). Priority comes before Subject, whatever examples print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType

from airflow_provider_mm7.protocol import messages as m
from airflow_provider_mm7.protocol.address_nodes import AddressNode, RecipientsNode
from airflow_provider_mm7.protocol.nodes import (
    Attribute,
    Attributes,
    Element,
    ExtensionNode,
    Folded,
    Href,
    KeyValue,
    Leaf,
    Sequenced,
    Structure,
    Wrapped,
)
from airflow_provider_mm7.protocol.scalars import (
    BOOLEAN,
    DATE_TIME,
    POSITIVE_INTEGER,
    TEXT,
    TOKEN,
    URI,
    WHEN,
    Token,
    choice,
)
from airflow_provider_mm7.protocol.statuses import status_text

PRIORITIES = choice("Normal", "High", "Low")
MESSAGE_CLASSES = choice("Personal", "Informational", "Advertisement", "Auto")
CHARGED_PARTIES = choice("Sender", "Recipient", "Both", "Neither", "ThirdParty", "Other")
CONTENT_CLASSES = choice(
    "text", "image-basic", "image-rich", "video-basic", "video-rich", "megapixel", "content-basic", "content-rich"
)
_CONTENT_QUALITIES = choice("TEXT", "MULTIMEDIA_LOW", "MULTIMEDIA_HIGH")
_CHANNELS = choice("SMS", "MMS", "WAPPUSH")
_DELIVERY_STATUSES = choice(
    "Expired",
    "Retrieved",
    "Rejected",
    "Indeterminate",
    "Forwarded",
    "Unrecognised",
    "Deferred",
    "DeliveryConditionNotMet",
    "Processing",
    "Cancelled",
    "Replaced",
    "Delivered",
)
_READ_STATUSES = choice("Indeterminate", "Read", "Deleted")
_STATUS_EXTENSIONS = choice("RejectionByMMSRecipient", "RejectionByOtherRS")

_TEXT, _TOKEN, _BOOLEAN, _DATE_TIME, _WHEN = Leaf(TEXT), Leaf(TOKEN), Leaf(BOOLEAN), Leaf(DATE_TIME), Leaf(WHEN)
_ADDRESS, _RECIPIENTS = AddressNode(), RecipientsNode()

_STATUS = Structure(
    m.Status,
    (
        Element("StatusCode", "status_code", Leaf(POSITIVE_INTEGER), required=True),
        Element(
            "StatusText", "status_text", _TEXT, required=True, default=lambda status: status_text(status.status_code)
        ),
        Element("Details", "details", Folded()),
    ),
    needed=("status_code",),
)
_SENDER_IDENTIFICATION = Structure(
    m.SenderIdentification,
    (
        Element("VASPID", "vasp_id", _TOKEN),
        Element("VASID", "vas_id", _TOKEN),
        Element("SenderAddress", "sender_address", _ADDRESS),
    ),
)

#: Making the canonical form of one takes as long as reading a whole message.
_MAX_EXTENSIONS = 32
_VERSION = Element("MM7Version", "mm7_version", _TOKEN, required=True)
_EXTENSIONS = Element("Extension", "extensions", ExtensionNode(), many=True, absent=(), most=_MAX_EXTENSIONS)
_FROM_VASP = (
    _VERSION,
    Element("SenderIdentification", "sender_identification", _SENDER_IDENTIFICATION, required=True, flat=True),
    _EXTENSIONS,
)
_FROM_SERVER = (_VERSION, Element("MMSRelayServerID", "mms_relay_server_id", _TOKEN), _EXTENSIONS)
_RESPONSE = (_VERSION, Element("Status", "status", _STATUS, required=True, flat=True), _EXTENSIONS)

_MESSAGE_ID = Element("MessageID", "message_id", _TOKEN, required=True)
_SERVICE_CODE = Element("ServiceCode", "service_code", _TEXT)
_LINKED_ID = Element("LinkedID", "linked_id", _TOKEN)
_TIME_STAMP = Element("TimeStamp", "timestamp", _DATE_TIME)
_READ_REPLY = Element("ReadReply", "read_reply", _BOOLEAN)
_EARLIEST_DELIVERY = Element("EarliestDeliveryTime", "earliest_delivery", _WHEN)
_PRIORITY = Element("Priority", "priority", Leaf(PRIORITIES))
_SUBJECT = Element("Subject", "subject", _TEXT)
_DISTRIBUTION = Element("DistributionIndicator", "distribution_indicator", _BOOLEAN)
_CONTENT_CLASS = Element("ContentClass", "content_class", Leaf(CONTENT_CLASSES))
_DRM_CONTENT = Element("DRMContent", "drm_content", _BOOLEAN)
_APPLICATION = (
    Element("ApplicID", "applic_id", _TEXT),
    Element("ReplyApplicID", "reply_applic_id", _TEXT),
    Element("AuxApplicInfo", "aux_applic_info", _TEXT),
)
_UA_CAPABILITIES = Element(
    "UACapabilities",
    "ua_capabilities",
    Attributes(m.UACapabilities, (Attribute("UAProf", "ua_prof", TEXT), Attribute("TimeStamp", "timestamp", WHEN))),
)
_CONTENT = (
    Element(
        "Content",
        "contents",
        Attributes(
            m.ContentRef,
            (
                Attribute("href", "href", URI, required=True),
                Attribute("allowAdaptations", "allow_adaptations", BOOLEAN),
                Attribute("type", "type", _CONTENT_QUALITIES),
            ),
        ),
        many=True,
        absent=(),
    ),
    Element("AdditionalInformation", "additional_information", Href(URI), many=True, absent=()),
    Element("MessageExtraData", "message_extra_data", Wrapped("element", KeyValue()), absent=()),
)
# One MMSC puts Sender and Recipient before MessageID, others send Recipients where Recipient belongs.
_REPORT_PARTIES = (
    _MESSAGE_ID,
    Element("Recipient", "recipient", _ADDRESS, required=True, aliases=("Recipients",)),
    Element("Sender", "sender", _ADDRESS, required=True),
)
_STATUS_TEXT = Element("StatusText", "status_text", _TEXT)


def _no_message_id(answer: m.SubmitRsp) -> str | None:
    """Say what a SubmitRsp without MessageID holds: without one that says yes, no report could ever be matched.

    TS 23.140 has one for success alone, but the schema asks for the element in every answer.
    """
    return None if answer.status.status_code // 1000 == 1 else ""


_SUBMIT_REQ = (
    *_FROM_VASP,
    Element("Recipients", "recipients", _RECIPIENTS, required=True, absent=m.Recipients(), aliases=("Recipient",)),
    Element("PreferredChannels", "preferred_channels", Wrapped("DeliverUsing", Leaf(_CHANNELS)), absent=()),
    _SERVICE_CODE,
    _LINKED_ID,
    Element("MessageClass", "message_class", Leaf(MESSAGE_CLASSES)),
    _TIME_STAMP,
    Element(
        "ReplyCharging",
        "reply_charging",
        Attributes(
            m.ReplyCharging,
            (
                Attribute("replyChargingSize", "size", POSITIVE_INTEGER),
                Attribute("replyDeadline", "deadline", WHEN),
            ),
        ),
    ),
    _EARLIEST_DELIVERY,
    Element("ExpiryDate", "expiry", _WHEN),
    Element("DeliveryReport", "delivery_report", _BOOLEAN),
    _READ_REPLY,
    _PRIORITY,
    _SUBJECT,
    Element("ChargedParty", "charged_party", Leaf(CHARGED_PARTIES)),
    Element("ChargedPartyID", "charged_party_id", _TOKEN),
    Element("ThirdPartyPayer", "third_party_payer", _ADDRESS),
    _DISTRIBUTION,
    Element("DeliveryCondition", "delivery_conditions", Wrapped("DC", Leaf(POSITIVE_INTEGER))),
    *_APPLICATION,
    _CONTENT_CLASS,
    _DRM_CONTENT,
    *_CONTENT,
)
_DELIVER_REQ = (
    *_FROM_SERVER,
    Element("VASPID", "vasp_id", _TOKEN),
    Element("VASID", "vas_id", _TOKEN),
    _LINKED_ID,
    Element("Sender", "sender", _ADDRESS, required=True),
    Element("Recipients", "recipients", _RECIPIENTS, absent=m.Recipients(), aliases=("Recipient",)),
    Element("Previouslysentby", "previously_sent_by", Wrapped("UserAgent", Sequenced(_ADDRESS)), absent=()),
    Element(
        "Previouslysentdateandtime",
        "previously_sent_date_and_time",
        Wrapped("DateTime", Sequenced(_WHEN)),
        absent=(),
    ),
    Element("SenderSPI", "sender_spi", _TOKEN),
    Element("RecipientSPI", "recipient_spi", _TOKEN),
    Element("TimeStamp", "timestamp", _DATE_TIME, aliases=("Date",)),
    Element("ReplyChargingID", "reply_charging_id", _TOKEN),
    _PRIORITY,
    _SUBJECT,
    *_APPLICATION,
    _UA_CAPABILITIES,
    *_CONTENT,
)
_ROWS: dict[type[m.Message], tuple[Element, ...]] = {
    m.SubmitReq: _SUBMIT_REQ,
    m.SubmitRsp: (
        *_RESPONSE,
        Element(
            "MessageID",
            "message_id",
            Leaf(Token(may_be_empty=True)),
            required=True,
            absent="",
            default=_no_message_id,
        ),
    ),
    m.CancelReq: (*_FROM_VASP, _MESSAGE_ID, Element("Recipients", "recipients", _RECIPIENTS), *_APPLICATION),
    m.CancelRsp: _RESPONSE,
    m.ReplaceReq: (
        *_FROM_VASP,
        _MESSAGE_ID,
        _SERVICE_CODE,
        _TIME_STAMP,
        _READ_REPLY,
        _EARLIEST_DELIVERY,
        _DISTRIBUTION,
        _CONTENT_CLASS,
        _DRM_CONTENT,
        *_APPLICATION,
        *_CONTENT,
    ),
    m.ReplaceRsp: _RESPONSE,
    m.DeliverReq: _DELIVER_REQ,
    m.DeliverRsp: (*_RESPONSE, _SERVICE_CODE),
    m.DeliveryReportReq: (
        *_FROM_SERVER,
        *_REPORT_PARTIES,
        Element("Date", "date", _DATE_TIME, required=True, aliases=("TimeStamp",)),
        Element("MMStatus", "mm_status", Leaf(_DELIVERY_STATUSES), required=True),
        Element("MMStatusExtension", "mm_status_extension", Leaf(_STATUS_EXTENSIONS)),
        _STATUS_TEXT,
        *_APPLICATION,
        _UA_CAPABILITIES,
    ),
    m.DeliveryReportRsp: _RESPONSE,
    m.ReadReplyReq: (
        *_FROM_SERVER,
        *_REPORT_PARTIES,
        Element("TimeStamp", "timestamp", _DATE_TIME, required=True, aliases=("Date",)),
        Element("MMStatus", "mm_status", Leaf(_READ_STATUSES), required=True),
        _STATUS_TEXT,
        *_APPLICATION,
    ),
    m.ReadReplyRsp: _RESPONSE,
    m.RSErrorRsp: _RESPONSE,
    m.VASPErrorRsp: _RESPONSE,
}


def _needed(message: type[m.Message]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(message) if f.default is MISSING and f.default_factory is MISSING)


#: Element name -> its structure, for every operation but the SOAP Fault.
OPERATIONS: Mapping[str, Structure] = MappingProxyType(
    {message.__name__: Structure(message, rows, _needed(message)) for message, rows in _ROWS.items()}
)
#: Operations that travel in the detail of a SOAP Fault.
IN_FAULT = frozenset({"RSErrorRsp", "VASPErrorRsp"})
