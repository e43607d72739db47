"""Messages from handsets, and callbacks that could not be read."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from airflow_provider_mm7.store.base import AnyRow, Base
from airflow_provider_mm7.store.counts import insert_into
from airflow_provider_mm7.store.tables import aside, inbound
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import Aside, Inbound, InboundPart, NewInbound


class InboundMessages(Base):
    """Storing what came in."""

    def add_inbound(self, message: NewInbound) -> bool:
        """Store a message whose media are stored already.

        :return: False when a message of this digest is there.
        """
        values = {
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
            "received_at": self._clock(),
        }

        def store(connection: sa.Connection) -> bool:
            statement = insert_into(connection.dialect.name, inbound).values(**values).on_conflict_do_nothing()
            # Inline: no RETURNING, which old SQLite lacks and which would hide the count.
            options = {"preserve_rowcount": True}
            return connection.execute(statement.inline(), execution_options=options).rowcount == 1

        return self._db.write(store)

    def inbound(
        self, limit: int = 100, *, after_id: int = 0, conn_id: str | None = None, linked_id: str | None = None
    ) -> list[Inbound]:
        """Give messages in the order in which they came.

        :param after_id: id of the last one of the page before.
        """
        query = sa.select(inbound).where(inbound.c.id > after_id).order_by(inbound.c.id).limit(limit)
        if conn_id is not None:
            query = query.where(inbound.c.conn_id == conn_id)
        if linked_id is not None:
            query = query.where(inbound.c.linked_id == identifier(linked_id))
        return self._db.read(lambda connection: [_inbound(row) for row in connection.execute(query)])

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


def _clean_part(part: InboundPart) -> dict[str, object]:
    return {name: clean(value) if isinstance(value, str) else value for name, value in asdict(part).items()}


def _inbound(row: AnyRow) -> Inbound:
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
