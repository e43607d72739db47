"""The schema of the three requests a VASP sends, written down a second time.

The product has its own table in :mod:`airflow_provider_mm7.protocol`. A slip there would be seen by nobody if the
sandbox judged by the same table, so this one was written from TS 23.140 clause 8.7 (and its Rel-6 schema) alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

#: MM7Version values of Rel-5 and Rel-6 (TS 23.140 annex L, ``versionType``).
VERSIONS = frozenset(
    {"6.8.0", "6.6.0", "6.5.0", "6.4.0", "6.3.0", "5.10.0", "5.8.0", "5.6.0", "5.5.0", "5.3.0"}
)  # fmt: skip
#: 3GPP's namespaces; the vendor's page spells them with https.
MM7_NAMESPACES = re.compile(r"https?://www\.3gpp\.org/ftp/Specs/archive/23_series/23\.140/schema/REL-[56]-MM7-1-\d")
SOAP_NAMESPACES = frozenset({"http://schemas.xmlsoap.org/soap/envelope/", "https://schemas.xmlsoap.org/soap/envelope/"})

#: None when a text is of the type, otherwise what it should have been.
Check = Callable[[str], str | None]


def _anything(_text: str) -> str | None:
    return None


def _pattern(pattern: str, description: str) -> Check:
    compiled = re.compile(pattern)
    return lambda text: None if compiled.fullmatch(text.strip()) else description


def _one_of(*values: str) -> Check:
    allowed = frozenset(values)
    # xs:string based enumerations do not fold white space.
    return lambda text: None if text in allowed else "one of " + ", ".join(values)


#: RFC 3339: xs:dateTime with a zone and upper-case T and Z.
_MOMENT = (
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
)
_DURATION = r"-?P(?=.)(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?"

string = _anything
filled = _pattern(r"(?s).*\S.*", "a text that is not empty")
boolean = _pattern("true|false|0|1", "true or false")
moment = _pattern(_MOMENT, "an RFC 3339 time with zone")
whenever = _pattern(f"{_MOMENT}|{_DURATION}", "an RFC 3339 time with zone, or a duration")
positive = _pattern(r"\+?0*[1-9]\d*", "a positive integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One element within a sequence.

    :ivar name: local name.
    :ivar check: type of its text; None for elements without text of their own.
    :ivar children: name of its complex type in :data:`TYPES`, None for simple content.
    :ivar required: it must be there.
    :ivar many: it may repeat.
    :ivar attributes: allowed attributes and their types.
    :ivar needs: attributes that must be there.
    """

    name: str
    check: Check | None = string
    children: str | None = None
    required: bool = False
    many: bool = False
    attributes: tuple[tuple[str, Check], ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a __dict__
class ComplexType:
    """Children of an element: in this order, or (``choice``) in any order and number, at least one."""

    rules: tuple[Rule, ...]
    choice: bool = False
    #: A choice of which only one may be there.
    single: bool = False

    @cached_property
    def order(self) -> dict[str, int]:
        """Place of each name."""
        return {rule.name: place for place, rule in enumerate(self.rules)}


def _empty(
    name: str, attributes: tuple[tuple[str, Check], ...], needs: tuple[str, ...] = (), many: bool = False
) -> Rule:
    return Rule(name=name, check=None, attributes=attributes, needs=needs, many=many)


_ADDRESS_ATTRIBUTES = (
    ("displayOnly", boolean),
    ("addressCoding", _one_of("encrypted", "obfuscated")),
    ("id", filled),
)
_ADDRESSES = (
    Rule(name="RFC2822Address", check=filled, attributes=_ADDRESS_ATTRIBUTES),
    Rule(name="Number", check=filled, attributes=_ADDRESS_ATTRIBUTES),
    Rule(name="ShortCode", check=filled, attributes=_ADDRESS_ATTRIBUTES),
)
_EXTENSION = Rule(name="Extension", check=None, children="anything", many=True)
_REQUEST = (
    Rule(name="MM7Version", required=True),
    Rule(name="SenderIdentification", check=None, children="SenderIdentification", required=True),
    _EXTENSION,
)
_CONTENTS = (
    _empty(
        "Content",
        (
            ("href", filled),
            ("allowAdaptations", boolean),
            ("type", _one_of("TEXT", "MULTIMEDIA_LOW", "MULTIMEDIA_HIGH")),
        ),
        needs=("href",),
        many=True,
    ),
    _empty("AdditionalInformation", (("href", filled),), needs=("href",), many=True),
    Rule(name="MessageExtraData", check=None, children="MessageExtraData"),
)
_APPLICATION = (Rule(name="ApplicID"), Rule(name="ReplyApplicID"), Rule(name="AuxApplicInfo"))
_CONTENT_CLASS = Rule(
    name="ContentClass",
    check=_one_of(
        *(
            "text",
            "image-basic",
            "image-rich",
            "video-basic",
            "video-rich",
            "megapixel",
            "content-basic",
            "content-rich",
        )
    ),
)
_MESSAGE_ID = Rule(name="MessageID", check=filled, required=True)

_SUBMIT = (
    Rule(name="Recipients", check=None, children="Recipients", required=True),
    Rule(name="PreferredChannels", check=None, children="PreferredChannels"),
    Rule(name="ServiceCode"),
    Rule(name="LinkedID"),
    Rule(name="MessageClass", check=_one_of("Personal", "Informational", "Advertisement", "Auto")),
    Rule(name="TimeStamp", check=moment),
    _empty("ReplyCharging", (("replyChargingSize", positive), ("replyDeadline", whenever))),
    Rule(name="EarliestDeliveryTime", check=whenever),
    Rule(name="ExpiryDate", check=whenever),
    Rule(name="DeliveryReport", check=boolean),
    Rule(name="ReadReply", check=boolean),
    Rule(name="Priority", check=_one_of("Normal", "High", "Low")),
    Rule(name="Subject"),
    Rule(name="ChargedParty", check=_one_of("Sender", "Recipient", "Both", "Neither", "ThirdParty", "Other")),
    Rule(name="ChargedPartyID"),
    Rule(name="ThirdPartyPayer", check=None, children="Address"),
    Rule(name="DistributionIndicator", check=boolean),
    Rule(name="DeliveryCondition", check=None, children="DeliveryCondition"),
    *_APPLICATION,
    _CONTENT_CLASS,
    Rule(name="DRMContent", check=boolean),
    *_CONTENTS,
)
_CANCEL = (_MESSAGE_ID, Rule(name="Recipients", check=None, children="Recipients"), *_APPLICATION)
_REPLACE = (
    _MESSAGE_ID,
    Rule(name="ServiceCode"),
    Rule(name="TimeStamp", check=moment),
    Rule(name="ReadReply", check=boolean),
    Rule(name="EarliestDeliveryTime", check=whenever),
    Rule(name="DistributionIndicator", check=boolean),
    _CONTENT_CLASS,
    Rule(name="DRMContent", check=boolean),
    *_APPLICATION,
    *_CONTENTS,
)
_ADDRESS_LISTS = tuple(Rule(name=name, check=None, children="Addresses", many=True) for name in ("To", "Cc", "Bcc"))

#: Complex types by name; the three requests are among them.
TYPES: dict[str, ComplexType] = {
    "SubmitReq": ComplexType(rules=_REQUEST + _SUBMIT),
    "CancelReq": ComplexType(rules=_REQUEST + _CANCEL),
    "ReplaceReq": ComplexType(rules=_REQUEST + _REPLACE),
    "SenderIdentification": ComplexType(
        rules=(
            Rule(name="VASPID"),
            Rule(name="VASID"),
            Rule(name="SenderAddress", check=None, children="Address"),
        )
    ),
    "Recipients": ComplexType(rules=_ADDRESS_LISTS, choice=True),
    "Addresses": ComplexType(rules=(*_ADDRESSES, _EXTENSION), choice=True),
    "Address": ComplexType(rules=_ADDRESSES, choice=True, single=True),
    "PreferredChannels": ComplexType(
        rules=(Rule(name="DeliverUsing", check=_one_of("SMS", "MMS", "WAPPUSH"), required=True, many=True),)
    ),
    "DeliveryCondition": ComplexType(rules=(Rule(name="DC", check=positive, many=True),)),
    "MessageExtraData": ComplexType(
        rules=(Rule(name="element", check=None, children="element", required=True, many=True),)
    ),
    "element": ComplexType(rules=(Rule(name="key", required=True), Rule(name="value", required=True))),
}
REQUESTS = frozenset({"SubmitReq", "CancelReq", "ReplaceReq"})
#: Neighbours that the vendor's own SubmitReq example has the wrong way round: (operation, first printed, then printed).
PRINTED_SWAPS = frozenset({("SubmitReq", "Subject", "Priority")})

#: The vendor's table of known formats, with the slips that are printed there and the types they stand for.
MEDIA_TYPES = frozenset(
    {
        *("image/jpeg", "image/bmp", "image/gif", "image/png", "image/tiff", "image/heic"),
        *("audio/amr", "audio/mpeg3", "audio/mpeg", "audio/midi", "audio/wav", "audio/basic"),
        *("image/mp4", "image/mpeg", "image/3gpp", "image/quicktime"),
        *("video/mpeg", "video/mp4", "video/3gpp", "video/quicktime"),
        *("video/msvideo", "video/avi", "application/x-troff-msvideo", "video/x-msvideo"),
        *("text/plain", "text/calendar", "text/vcard", "application/smil"),
    }
)  # fmt: skip
