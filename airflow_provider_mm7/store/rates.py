"""How fast a connection may send, over all tasks and machines that share the store."""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime, timedelta

import sqlalchemy as sa

from airflow_provider_mm7.store.base import Base
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.tables import DUE_NOW, rate

log = logging.getLogger(__name__)


class Rates(Base):
    """Moments at which messages may leave, handed out one after the other."""

    def reserve(
        self, conn_id: str, *, slots: int, rate_per_s: float, lead_s: float = 0.0, queue_s: float = math.inf
    ) -> float:
        """Take the next moments of a connection for sending. Nobody else gets them; unused ones are lost.

        They are told by the database's clock where it has one, so that no machine's clock, fast or slow, holds up the
        others that share the store.

        :param slots: how many messages are to be sent.
        :param rate_per_s: messages a second.
        :param lead_s: seconds from now before which no moment is of use.
        :param queue_s: seconds that the moments which others have taken may last at most. Where they last longer, they
            were taken before the clock was set back; they are forgotten, or nobody would send until it is there again.
        :return: when the first may leave, on this process's ``time.monotonic``; each further one 1 / rate_per_s seconds
            later.
        """
        length = timedelta(seconds=slots / rate_per_s)

        def take(connection: sa.Connection) -> tuple[float, bool]:
            made = insert_into(connection.dialect.name, rate).values(conn_id=conn_id, next_at=DUE_NOW)
            connection.execute(made.on_conflict_do_nothing())
            # Locked on PostgreSQL; on SQLite this transaction is the only writer.
            chosen = sa.select(rate.c.next_at).where(rate.c.conn_id == conn_id).with_for_update()
            next_at: datetime = connection.execute(chosen).scalar_one()
            now, here = self._now(connection), time.monotonic()
            soonest = now + timedelta(seconds=lead_s)
            set_back = (next_at - soonest).total_seconds() > queue_s
            first = soonest if set_back else max(soonest, next_at)
            connection.execute(sa.update(rate).where(rate.c.conn_id == conn_id).values(next_at=first + length))
            return here + (first - now).total_seconds(), set_back

        moment, set_back = self._db.write(take)
        if set_back:
            log.warning("the store's clock was set back: the moments of connection %s begin anew", conn_id)
        return moment
