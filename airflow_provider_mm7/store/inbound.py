"""Messages from handsets, and callbacks that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Final

import sqlalchemy as sa

from airflow_provider_mm7.store.base import AnyRow, Base
from airflow_provider_mm7.store.database import insert_into, lock_names
from airflow_provider_mm7.store.filters import ANY, InboundFilter, conditions
from airflow_provider_mm7.store.keys import address_key, first_word
from airflow_provider_mm7.store.opt_outs import record_changes
from airflow_provider_mm7.store.tables import aside, inbound
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import Aside, Inbound, InboundPart, NewInbound

#: PostgreSQL gives ids before commits; under this lock both are in one order. MessageIDs have the locks from 0 on, and
#: migrations have -1.
_ORDER: Final = -2

#: What of a message is no media: its text, and how to show it.
_NO_MEDIA: Final = ("text/plain", "application/smil")


class InboundMessages(Base):
    """Storing what came in."""

    def add_inbound(self, messages: Sequence[NewInbound]) -> list[bool]:
        """Store messages whose media are stored already, and what they say of their senders' wishes, in one commit.

        Ids are in the order of commits: who has seen an id will never see a lower one appear.

        :return: for each, whether it is new; False when one of its digest is there.
        :raises StoreUnavailable: nothing was stored.
        """
        now = self._clock()
        rows = [_values(message, now) for message in messages]

        def store(connection: sa.Connection) -> list[bool]:
            lock_names(connection, {_ORDER})
            statement = insert_into(connection.dialect.name, inbound).on_conflict_do_nothing()
            # Inline: no RETURNING, which old SQLite lacks and which would hide the count.
            one = statement.inline()
            options = {"preserve_rowcount": True}
            new = [connection.execute(one.values(**row), execution_options=options).rowcount == 1 for row in rows]
            # Not what a repeat says: its sender may have said something else since.
            said = (message.opt_outs for fresh, message in zip(new, messages, strict=True) if fresh)
            record_changes(connection, chain.from_iterable(said), now=partial(self._now, connection))
            return new

        return self._db.write(store)

    def inbound(self, limit: int = 100, *, after_id: int = 0, wanted: InboundFilter = ANY) -> list[Inbound]:
        """Give messages in the order in which they came.

        :param after_id: id of the last one of the page before.
        :param wanted: only such.
        """
        chosen = (inbound.c.id > after_id, *conditions(wanted))
        query = sa.select(inbound).where(*chosen).order_by(inbound.c.id).limit(limit)
        return self._db.read(lambda connection: [as_inbound(row) for row in connection.execute(query)])

    def keep_aside(self, conn_id: str, content_type: str | None, body: bytes, error: str) -> int:
        """Keep a callback that cannot be read, as it came.

        :return: id of the row.
        """
        values = {
            "conn_id": clean(conn_id),
            "content_type": clean_or_none(content_type),
            "body": body,
            "error": clean(error),
            "received_at": self._clock(),
        }

        def store(connection: sa.Connection) -> int:
            key = connection.execute(sa.insert(aside).values(**values)).inserted_primary_key
            return 0 if key is None else int(key[0])

        return self._db.write(store)

    def aside(self, limit: int = 100, *, after_id: int = 0) -> list[Aside]:
        """Give callbacks that could not be read, in the order in which they came."""
        query = sa.select(aside).where(aside.c.id > after_id).order_by(aside.c.id).limit(limit)
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return [Aside(**dict(row._mapping)) for row in rows]


def is_media(content_type: str) -> bool:
    """Whether a part is a picture, sound, film or file, and not text or how to show the others."""
    return not content_type.lower().startswith(_NO_MEDIA)


def _values(message: NewInbound, now: datetime) -> dict[str, object]:
    return {
        "digest": identifier(message.digest),
        "conn_id": clean(message.conn_id),
        "transaction_id": clean_or_none(message.transaction_id),
        "sender": clean_or_none(message.sender),
        "recipients": [clean(recipient) for recipient in message.recipients],
        "subject": clean_or_none(message.subject),
        "linked_id": identifier(message.linked_id) if message.linked_id is not None else None,
        "date": message.date,
        "text": clean_or_none(message.text),
        "priority": clean_or_none(message.priority),
        "parts": [_clean_part(part) for part in message.parts],
        "received_at": now,
        "sender_key": address_key(message.sender),
        "recipient_keys": "".join(f"|{address_key(one)}" for one in message.recipients) + "|",
        "keyword": clean(first_word(message.text)),
        "media_count": sum(is_media(part.content_type) for part in message.parts),
    }


def _clean_part(part: InboundPart) -> dict[str, object]:
    return {name: clean(value) if isinstance(value, str) else value for name, value in asdict(part).items()}


def as_inbound(row: AnyRow) -> Inbound:
    """Make a value of a row of ``mm7_inbound``."""
    return Inbound(
        id=row.id,
        received_at=row.received_at,
        message=NewInbound(
            conn_id=row.conn_id,
            digest=row.digest,
            transaction_id=row.transaction_id,
            sender=row.sender,
            recipients=tuple(row.recipients),
            subject=row.subject,
            linked_id=row.linked_id,
            date=row.date,
            text=row.text,
            priority=row.priority,
            parts=tuple(InboundPart(**part) for part in row.parts),
        ),
    )
