"""Who wants no messages, as values: what was said, what stands, and where it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from airflow_provider_mm7.protocol.addresses import number_key
from airflow_provider_mm7.store.text import identifier

#: ``status_text`` of a submission that was not sent for its recipient's sake.
OPTED_OUT_TEXT: Final = "opted out"


def connection_scope(conn_id: str) -> str:
    """Name what all messages over a connection have in common."""
    return identifier(f"conn:{conn_id}")


def short_code_scope(address: str) -> str:
    """Name what all messages from a number or short code have in common, whatever connection they go over."""
    return identifier(f"code:{number_key(address)}")


class Source(StrEnum):
    """Who said it."""

    MESSAGE = "message"
    CLI = "cli"
    IMPORT = "import"


class Confirmation(StrEnum):
    """What became of the one message that confirms an opt-out."""

    DUE = "due"
    SENT = "sent"
    REFUSED = "refused"
    #: it may have been accepted, and is not sent again.
    UNKNOWN = "unknown"
    #: nobody could send it while it was worth sending.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutChange:
    """Somebody says that a number wants no messages, or wants them again.

    :ivar scope: see :func:`connection_scope` and :func:`short_code_scope`.
    :ivar keyword: the word by which the number's owner said it.
    :ivar conn_id: connection that it came in on.
    :ivar said_at: when it was said, as the message tells; aware.
    :ivar confirm: whether an opt-out may be confirmed by a message.
    """

    scope: str
    number: str
    opted_out: bool
    source: Source
    keyword: str | None = None
    conn_id: str | None = None
    said_at: datetime | None = None
    confirm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """What stands for a number.

    :ivar opted_out: False: it came back.
    :ivar changed_at: since when.
    :ivar change_no: number of the change in its scope; numbers are in the order of commits.
    """

    scope: str
    number: str
    opted_out: bool
    source: str
    keyword: str | None
    conn_id: str | None
    said_at: datetime | None
    changed_at: datetime
    change_no: int
    confirmation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutNews:
    """What changed for the numbers of a batch.

    :ivar change_no: last change that is told of, of any number.
    :ivar out: keys of numbers (as ``recipient_key``) that want no messages now.
    :ivar back: keys of those that want them again.
    """

    change_no: int
    out: frozenset[str] = frozenset()
    back: frozenset[str] = frozenset()
