"""What status codes and delivery statuses mean (TS 23.140 clauses 8.7.8.3 and 8.7.4; vendors' additions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType

#: Name of a status that no standard knows.
UNKNOWN = "UNKNOWN"

#: What a read reply says when the message was looked at (TS 23.140 clause 8.7.5); the others say that it was not.
READ = "Read"


class Outcome(Enum):
    """What a delivery status says about the message."""

    DELIVERED = "delivered"
    FAILED = "failed"
    #: Something else will follow.
    INTERIM = "interim"
    #: Final, and neither success nor failure; the user says which.
    AMBIGUOUS = "ambiguous"


#: Standard spelling -> outcome. Read and Deleted come in read reports.
MM_STATUSES: Mapping[str, Outcome] = MappingProxyType(
    {
        "Retrieved": Outcome.DELIVERED,
        "Delivered": Outcome.DELIVERED,
        READ: Outcome.DELIVERED,
        "Expired": Outcome.FAILED,
        "Rejected": Outcome.FAILED,
        "Unrecognised": Outcome.FAILED,
        "DeliveryConditionNotMet": Outcome.FAILED,
        "Cancelled": Outcome.FAILED,
        "Replaced": Outcome.FAILED,
        "Deferred": Outcome.INTERIM,
        "Processing": Outcome.INTERIM,
        # One vendor: forwarded without being retrieved. Others: handed to another network.
        "Forwarded": Outcome.AMBIGUOUS,
        "Indeterminate": Outcome.AMBIGUOUS,
        # Deleted unread: it reached the handset, nobody saw it.
        "Deleted": Outcome.AMBIGUOUS,
    }
)
_STANDARD_SPELLING = {name.casefold(): name for name in MM_STATUSES}


@dataclass(frozen=True, slots=True, kw_only=True)
class MMStatus:
    """A delivery or read status: an open enumeration, which keeps what the peer wrote.

    :ivar name: standard spelling, or ``UNKNOWN``.
    :ivar raw: the peer's text.
    :ivar outcome: what it says; AMBIGUOUS for an unknown one.
    """

    name: str
    raw: str
    outcome: Outcome

    @classmethod
    def parse(cls, raw: str) -> MMStatus:
        """Read a status as a peer spelled it.

        :param raw: text of the MMStatus element.
        """
        name = _STANDARD_SPELLING.get(raw.strip().casefold(), UNKNOWN)
        return cls(name=name, raw=raw, outcome=MM_STATUSES.get(name, Outcome.AMBIGUOUS))


def is_final(status: MMStatus) -> bool:
    """Tell whether no other status is expected after this one."""
    return status.outcome is not Outcome.INTERIM


class Verdict(StrEnum):
    """What a sender does about a status code."""

    ACCEPTED = "accepted"
    #: Accepted for some recipients; never resend the whole.
    PARTIAL = "partial"
    PERMANENT = "permanent"
    RETRY = "retry"
    #: Resubmit one recipient at a time.
    SPLIT = "split"


#: StatusCode -> (text, verdict). Codes that stand nowhere here count as x000 of their class.
STATUS_CODES: Mapping[int, tuple[str, Verdict]] = MappingProxyType(
    {
        1000: ("Success", Verdict.ACCEPTED),
        1100: ("Partial success", Verdict.PARTIAL),
        2000: ("Client error", Verdict.PERMANENT),
        2001: ("Operation restricted", Verdict.PERMANENT),
        2002: ("Address error", Verdict.PERMANENT),
        2003: ("Address not found", Verdict.PERMANENT),
        2004: ("Multimedia content refused", Verdict.PERMANENT),
        2005: ("Message ID not found", Verdict.PERMANENT),
        2006: ("LinkedID not found", Verdict.PERMANENT),
        2007: ("Message format corrupt", Verdict.PERMANENT),
        2008: ("Application ID not found", Verdict.PERMANENT),
        2009: ("Reply application ID not found", Verdict.PERMANENT),
        3000: ("Server error", Verdict.RETRY),
        3001: ("Not possible", Verdict.PERMANENT),
        3002: ("Message rejected", Verdict.PERMANENT),
        3003: ("Multiple addresses not supported", Verdict.SPLIT),
        3004: ("Application ID addressing not supported", Verdict.PERMANENT),
        4000: ("General service error", Verdict.RETRY),
        4001: ("Improper identification", Verdict.PERMANENT),
        4002: ("Unsupported version", Verdict.PERMANENT),
        4003: ("Unsupported operation", Verdict.PERMANENT),
        4004: ("Validation error", Verdict.PERMANENT),
        4005: ("Service error", Verdict.PERMANENT),
        4006: ("Service unavailable", Verdict.RETRY),
        4007: ("Service denied", Verdict.PERMANENT),
        4008: ("Application denied", Verdict.PERMANENT),
    }
)

_NO_OVERRIDES: Mapping[int, Verdict] = MappingProxyType({})


def _known(code: int) -> tuple[str, Verdict]:
    """Find a code's row: itself, x000 of its class, or 3000 outside the classes 1 to 4."""
    return STATUS_CODES.get(code) or STATUS_CODES.get(code // 1000 * 1000) or STATUS_CODES[3000]


def verdict(status_code: int, overrides: Mapping[int, Verdict] = _NO_OVERRIDES) -> Verdict:
    """Judge a status code.

    :param status_code: of the answer's Status.
    :param overrides: verdicts that bend the table for one vendor, by exact code.
    """
    return overrides.get(status_code) or _known(status_code)[1]


def status_text(code: int) -> str:
    """Give the standard text of a code, or of x000 of its class."""
    return _known(code)[0]
