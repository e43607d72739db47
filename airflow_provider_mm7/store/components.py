"""Who uses this store: receivers, senders and triggers say so from time to time."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from airflow_provider_mm7.store.base import Base
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.tables import component
from airflow_provider_mm7.store.types import Component

#: A component is fresh for so long after its heartbeat (seconds): three of the receiver's.
FRESH_S: Final = 90.0


class Components(Base):
    """Heartbeats."""

    def heartbeat(self, kind: str, host: str, pid: int) -> None:
        """Say that a process lives.

        :param kind: ``receiver``, ``sender`` or ``trigger``.
        """
        now = self._clock()

        def beat(connection: sa.Connection) -> None:
            statement = insert_into(connection.dialect.name, component).values(
                kind=kind, host=host, pid=pid, started_at=now, heartbeat_at=now
            )
            connection.execute(
                statement.on_conflict_do_update(index_elements=["kind", "host", "pid"], set_={"heartbeat_at": now})
            )

        self._db.write(beat)

    def sign_off(self, kind: str, host: str, pid: int) -> None:
        """Say that a process ends."""
        gone = (component.c.kind == kind, component.c.host == host, component.c.pid == pid)
        self._db.write(lambda connection: connection.execute(sa.delete(component).where(*gone)))

    def components(self, kind: str | None = None, *, within_s: float | None = None) -> list[Component]:
        """Give the processes that said they live, the latest first.

        :param within_s: only those heard of in the last seconds.
        """
        query = sa.select(component).order_by(component.c.heartbeat_at.desc(), component.c.host, component.c.pid)
        if kind is not None:
            query = query.where(component.c.kind == kind)
        if within_s is not None:
            query = query.where(component.c.heartbeat_at >= self._clock() - timedelta(seconds=within_s))
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return [Component(**dict(row._mapping)) for row in rows]

    def receivers_alive(self, within_s: float = FRESH_S) -> bool:
        """Whether some receiver writes to this store.

        :param within_s: seconds since its last heartbeat, at most.
        """
        return bool(self.components("receiver", within_s=within_s))
