"""How fast a connection may send, over all tasks and machines that share the store."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from airflow_provider_mm7.store.base import Base
from airflow_provider_mm7.store.counts import insert_into
from airflow_provider_mm7.store.tables import rate


class Rates(Base):
    """Moments at which messages may leave, handed out one after the other."""

    def reserve(self, conn_id: str, *, slots: int, rate_per_s: float, lead_s: float = 0.0) -> datetime:
        """Take the next moments of a connection for sending. Nobody else gets them; unused ones are lost.

        The moments are told by the clocks of the machines that share the store: they hold as well as those agree.

        :param slots: how many messages are to be sent.
        :param rate_per_s: messages a second.
        :param lead_s: seconds from now before which no moment is of use.
        :return: when the first may leave; each further one 1 / rate_per_s seconds later.
        """
        length = timedelta(seconds=slots / rate_per_s)

        def take(connection: sa.Connection) -> datetime:
            now = self._clock()
            made = insert_into(connection.dialect.name, rate).values(conn_id=conn_id, next_at=now)
            connection.execute(made.on_conflict_do_nothing())
            # Locked on PostgreSQL; on SQLite this transaction is the only writer.
            chosen = sa.select(rate.c.next_at).where(rate.c.conn_id == conn_id).with_for_update()
            first: datetime = max(now + timedelta(seconds=lead_s), connection.execute(chosen).scalar_one())
            connection.execute(sa.update(rate).where(rate.c.conn_id == conn_id).values(next_at=first + length))
            return first

        return self._db.write(take)
