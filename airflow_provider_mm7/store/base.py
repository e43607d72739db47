"""What every part of the store stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

import sqlalchemy as sa

from airflow_provider_mm7.store.database import Database

T = TypeVar("T")

#: A row of a query. SQLAlchemy 2.0 and 2.1 write its type in ways that do not go together.
AnyRow: TypeAlias = Any

#: Rows a transaction of bulk work handles: short enough that others' writes are not held up.
CHUNK: Final = 1000

#: Values in one IN list (SQLite takes 32,766 parameters, PostgreSQL 65,535).
IN_LIST: Final = 10_000


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


class Base:
    """A database and a clock.

    :param url: the store's database URL. Nothing is opened or checked yet.
    :param clock: tells the time (aware); for leases and limits only where the database has no clock of its own.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._db: Final = Database(url)
        self._clock: Final = clock

    def _now(self, connection: sa.Connection) -> datetime:
        """Tell the time by the clock that all machines share: the database's, where it has one."""
        if connection.dialect.name == "sqlite":
            return self._clock()
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return now


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable, never holding more than one chunk."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
