"""Which messages from handsets somebody wants: a value, and the same as a condition of a query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.store.keys import address_key, first_word
from airflow_provider_mm7.store.tables import inbound
from airflow_provider_mm7.store.text import clean, identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundFilter:
    """What a message from a handset must be like; what is None does not matter.

    Numbers and keywords are compared however they are spelled, and equal filters are equal values.

    :param conn_id: the connection on which it came in.
    :param short_code: a number to which it was sent.
    :param sender: the number it is from.
    :param keyword: the first word of its text, in upper or lower case: of ``YES`` and ``Yes, please!``, ``yes``.
    :param has_media: whether it holds anything but text.
    :param linked_id: MessageID of the message that it answers.
    :param since: when it was received, or later (aware).
    :raises InputError: a keyword without a letter or digit, a number without any, or a time without a zone.
    """

    conn_id: str | None = None
    short_code: str | None = None
    sender: str | None = None
    keyword: str | None = None
    has_media: bool | None = None
    linked_id: str | None = None
    since: datetime | None = None

    def __post_init__(self) -> None:
        for field in ("short_code", "sender"):
            self._normalise(field, address_key(getattr(self, field)), "a number")
        self._normalise("keyword", clean(first_word(self.keyword)), "a word")
        if self.linked_id is not None:
            self._normalise("linked_id", identifier(self.linked_id), "a MessageID")
        if self.since is not None:
            if self.since.tzinfo is None:
                raise InputError("since", "a time without a zone", "Give an aware datetime")
            object.__setattr__(self, "since", self.since.astimezone(UTC))

    def as_json(self) -> dict[str, object]:
        """Return what is asked for as JSON primitives; what does not matter is left out."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["since"] = None if self.since is None else self.since.isoformat()
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: dict[str, object]) -> InboundFilter:
        """Make one of what :meth:`as_json` returned."""
        since = values.get("since")
        return cls(**{**values, "since": None if since is None else datetime.fromisoformat(str(since))})  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The same text for the same filter."""
        return json.dumps(self.as_json(), sort_keys=True)

    @property
    def is_narrow(self) -> bool:
        """Whether an index leads to the few messages that it lets through."""
        return self.sender is not None or self.linked_id is not None

    def _normalise(self, field: str, key: str, what: str) -> None:
        if getattr(self, field) is None:
            return
        if not key:
            raise InputError(field, f"does not hold {what}", f"Give {what}, or None")
        object.__setattr__(self, field, key)


#: Every message.
ANY: Final = InboundFilter()


def conditions(wanted: InboundFilter) -> list[sa.ColumnElement[bool]]:
    """Return a filter as conditions on ``mm7_inbound``."""
    found: list[sa.ColumnElement[bool]] = []
    if wanted.conn_id is not None:
        found.append(inbound.c.conn_id == clean(wanted.conn_id))
    if wanted.short_code is not None:
        found.append(inbound.c.recipient_keys.contains(f"|{wanted.short_code}|", autoescape=True))
    if wanted.sender is not None:
        found.append(inbound.c.sender_key == wanted.sender)
    if wanted.keyword is not None:
        found.append(inbound.c.keyword == wanted.keyword)
    if wanted.has_media is not None:
        found.append(inbound.c.media_count > 0 if wanted.has_media else inbound.c.media_count == 0)
    if wanted.linked_id is not None:
        found.append(inbound.c.linked_id == wanted.linked_id)
    if wanted.since is not None:
        found.append(inbound.c.received_at >= wanted.since)
    return found
