"""What a message from a handset says of its sender's wishes, by the rules of the connection that it came in on."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Final

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol import mask
from airflow_provider_mm7.protocol.keywords import Keywords
from airflow_provider_mm7.store import NewInbound, OptOutChange, Source, connection_scope, short_code_scope

#: Recipients of one message for which an opt-out is recorded: people write to one short code at a time.
MAX_SHORT_CODES: Final = 8

log = logging.getLogger(__name__)


class Scope(StrEnum):
    """What an opt-out is about."""

    CONNECTION = "connection"
    SHORT_CODE = "short_code"


def parse_scope(value: str | None, *, field: str) -> Scope:
    """Read a scope; the connection by default.

    :raises InputError: it is none.
    """
    try:
        return Scope((value or "").strip().lower() or Scope.CONNECTION)
    except ValueError:
        raise InputError(field, f"{str(value)[:40]!r} is unknown", f"Give one of: {', '.join(Scope)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRules:
    """How a connection reads opt-outs.

    :ivar scopes: what they are about. Both where nobody could tell which was meant.
    :ivar sender_address: whom handsets answer, where their messages do not say it.
    :ivar confirm: whether an opt-out may be confirmed by a message.
    """

    keywords: Keywords = field(default_factory=Keywords)
    scopes: frozenset[Scope] = frozenset({Scope.CONNECTION})
    sender_address: str | None = None
    confirm: bool = True

    def heed(self, message: NewInbound) -> NewInbound:
        """Return a message with what it says of its sender's wishes."""
        said = self.keywords.read(message.text, message.subject)
        if said is None:
            return message
        if not message.sender:
            log.warning("conn_id=%s: a message says %r, and not who says it", message.conn_id, said.keyword)
            return message
        scopes = dict.fromkeys(self._scopes_of(message))
        log.info(
            "conn_id=%s: %s %s by %r",
            *(message.conn_id, mask(message.sender), "opts out" if said.opted_out else "comes back", said.keyword),
        )
        return replace(
            message,
            opt_outs=tuple(
                OptOutChange(
                    scope=scope,
                    number=message.sender,
                    opted_out=said.opted_out,
                    source=Source.MESSAGE,
                    keyword=said.keyword,
                    conn_id=message.conn_id,
                    said_at=message.date,
                    confirm=self.confirm and not index,
                )
                for index, scope in enumerate(scopes)
            ),
        )

    def _scopes_of(self, message: NewInbound) -> Iterable[str]:
        if Scope.CONNECTION in self.scopes:
            yield connection_scope(message.conn_id)
        if Scope.SHORT_CODE in self.scopes:
            addresses = message.recipients or tuple(filter(None, [self.sender_address]))
            # A message that names nobody still speaks to somebody: to the connection, rather than to nobody.
            yield from map(short_code_scope, islice(addresses, MAX_SHORT_CODES))
            if not addresses:
                log.error("conn_id=%s: an opt-out names no short code, and sender_address is empty", message.conn_id)
                yield connection_scope(message.conn_id)


#: For a connection that says nothing of it.
DEFAULT_RULES: Final = ConsentRules()
