"""What the inbox hands out, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from airflow_provider_mm7.store.text import identifier
from airflow_provider_mm7.store.types import Inbound

#: What waits is counted up to here.
MAX_WAITING: Final = 1000


class ClaimState(StrEnum):
    """What a consumer has done with a message."""

    #: It works on it, or has died over it.
    CLAIMED = "claimed"
    #: It gave it back.
    RELEASED = "released"
    #: It acknowledged it.
    DONE = "done"
    #: It failed on it as often as it may: handed out again by hand only.
    PARKED = "parked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who claims.

    :param name: the same whenever it begins again: it takes over at once what it held before.
    :param token: another one whenever it begins again.
    """

    name: str
    token: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", identifier(self.name))
        object.__setattr__(self, "token", identifier(self.token))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedInbound:
    """A message that a consumer holds.

    :param attempts: how often it was handed to this consumer, this time included.
    """

    inbound: Inbound
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingInbound:
    """What a consumer could claim now.

    :param count: messages, counted up to :data:`MAX_WAITING`.
    :param newest_id: the id of the latest of those that were never claimed; 0 for none.
    """

    count: int = 0
    newest_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundClaim:
    """What a consumer has done with a message, for people."""

    state: ClaimState
    holder: str
    attempts: int
    lease_until: datetime | None
    updated_at: datetime
