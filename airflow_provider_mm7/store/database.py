"""One engine, its transactions, and the one boundary where SQLAlchemy's errors become ours."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.store.url import masked, parse

T = TypeVar("T")

#: How long SQLite waits for another writer, and PostgreSQL for a connection (seconds).
BUSY_TIMEOUT_S: Final = 30
CONNECT_TIMEOUT_S: Final = 10

#: libpq: a server that vanished without a word is noticed within a minute, long before a claim's lease ends.
_NOTICE_SILENCE: Final = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

#: What a session says to its server. Not start-up options: poolers refuse those.
_SESSION: Final = {
    # A plan that was made for all values while a table was empty would be kept when it has grown, and read all of it.
    "plan_cache_mode": "force_custom_plan",
    # A client that vanished without a word would hold its locks until the server's own keepalive, two hours. On a Unix
    # socket, and on a system that has none of these, PostgreSQL takes no notice.
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
    # The same where something between us keeps the connection, or the process was stopped. No transaction of ours waits
    # for anything but the database: what is read of files is read before it.
    "idle_in_transaction_session_timeout": "60s",
}

#: First half of our PostgreSQL advisory lock keys ("MM7"), so that they meet nobody else's in a shared database.
ADVISORY_CLASS: Final = 0x4D4D37

#: PostgreSQL: deadlock_detected, serialization_failure. Nothing was committed: the transaction may run again.
_REPEATABLE: Final = frozenset({"40P01", "40001"})
_REPEATS: Final = 5
_REPEAT_PAUSE_S: Final = 0.02

#: PostgreSQL's class of errors for values that are too large for it, alone or together.
_PROGRAM_LIMIT: Final = "54"

_REFUSALS: Final = (exc.IntegrityError, exc.DataError, exc.ProgrammingError, exc.NotSupportedError)

_WRITE: Final = "mm7_write"

#: Engines inherited over fork. Kept, so that no finaliser closes the parent's connections in the child.
_inherited: list[sa.Engine] = []

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """Transactions on one database URL. Thread-safe; an engine inherited over fork is left to the parent.

    :param url: see :func:`airflow_provider_mm7.store.url.parse`. Nothing is opened yet.
    """

    def __init__(self, url: str) -> None:
        self.url: Final = parse(url)
        self.dialect: Final = self.url.get_backend_name()
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        _databases.add(self)

    @property
    def url_masked(self) -> str:
        """The URL without its password."""
        return masked(self.url)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database, None for others."""
        return Path(str(self.url.database)) if self.dialect == "sqlite" else None

    @property
    def engine(self) -> sa.Engine:
        """The engine of this process."""
        with self._lock:
            if self._engine is None:
                self._engine = _new_engine(self.url)
            return self._engine

    def close(self) -> None:
        """Close pooled connections. The next use opens new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def leave_to_parent(self) -> None:
        """In a forked child: use neither the parent's connections nor a lock that one of its threads may hold."""
        self._lock = threading.Lock()
        if self._engine is not None:
            _inherited.append(self._engine)
        self._engine = None

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run queries in one read transaction.

        :raises StoreUnavailable: the database cannot be used now.
        """
        with self.translated(), self.engine.connect() as connection, connection.begin():
            return work(connection)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run one write transaction and commit it.

        :param work: runs again after a deadlock, so it must have no other effect.
        :raises StoreUnavailable: the database cannot be used now. Whether a COMMIT that was cut off took place
            is not known; what the store does can be repeated.
        """
        with self.translated():
            for repeat in range(_REPEATS):
                try:
                    with (
                        self.engine.connect().execution_options(**{_WRITE: True}) as connection,
                        connection.begin(),
                    ):
                        return work(connection)
                except exc.DBAPIError as error:
                    if repeat + 1 == _REPEATS or sqlstate(error) not in _REPEATABLE:
                        raise
                # Let the one that was preferred go on: at once, the same two could meet again.
                time.sleep(_REPEAT_PAUSE_S * (repeat + 1))
            raise AssertionError("unreachable")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn SQLAlchemy's errors into ours. The only place that does."""
        try:
            yield
        except exc.SQLAlchemyError as error:
            # Not chained: a driver's text may quote values ("Key (recipient)=(...) already exists").
            raise self._translate(error) from None

    def _translate(self, error: exc.SQLAlchemyError) -> StoreError:
        reason = self._reason(error)
        # These say that the statement or its values are at fault; whatever else there is, the database is.
        too_much = isinstance(error, exc.DBAPIError) and sqlstate(error).startswith(_PROGRAM_LIMIT)
        if too_much or isinstance(error, _REFUSALS) or not isinstance(error, (exc.DBAPIError, exc.TimeoutError)):
            return StoreError(f"The store {self.url_masked} refused a statement: {reason}", reason=reason)
        return StoreUnavailable(f"The store {self.url_masked} cannot be used now: {reason}", reason=reason)

    def _reason(self, error: exc.SQLAlchemyError) -> str:
        if not isinstance(error, exc.DBAPIError) or error.orig is None:
            return type(error).__name__ if not isinstance(error, exc.TimeoutError) else "no free connection in time"
        name = " ".join(filter(None, (type(error.orig).__name__, sqlstate(error))))
        if not isinstance(error, exc.OperationalError):
            return name
        # Operational texts tell of servers, disks and locks, not of rows.
        text = str(error.orig).strip().partition("\n")[0]
        if self.url.password:
            text = text.replace(str(self.url.password), "***")
        return f"{name}: {text}"


def sqlstate(error: exc.DBAPIError) -> str:
    """SQLSTATE of a driver's error, or SQLite's error name; empty when there is none."""
    for attribute in ("sqlstate", "pgcode", "sqlite_errorname"):
        value = getattr(error.orig, attribute, None)
        if value:
            return str(value)
    return ""


def by_driver(connection: sa.Connection, text: str, values: Any, result: Callable[[Any], T]) -> T:
    """Execute a statement by its driver, past SQLAlchemy, and take the result from the cursor.

    SQLite works rows out as they are fetched, so that fetching can fail like executing.

    :raises sqlalchemy.exc.DBAPIError: as SQLAlchemy would raise it; a connection that is lost is used no more.
    """
    dialect, lent = connection.dialect, connection.connection
    cursor, driver = lent.cursor(), dialect.loaded_dbapi
    try:
        cursor.execute(text, values)
        return result(cursor)
    except driver.Error as error:
        lost = dialect.is_disconnect(error, lent.dbapi_connection, cursor)
        if lost:
            connection.invalidate(error)
        raise exc.DBAPIError.instance(
            text, None, error, driver.Error, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        ) from error
    finally:
        cursor.close()


def _new_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _sqlite_connected)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        # The early-report match depends on a statement seeing what was committed while it waited for a lock.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "airflow-provider-mm7",
            **_NOTICE_SILENCE,
        },
    )
    event.listen(engine, "connect", _postgresql_connected)
    return engine


def _postgresql_connected(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        # One round trip for all.
        cursor.execute("; ".join(f"SET {name} = '{value}'" for name, value in _SESSION.items()))
    finally:
        cursor.close()
    # A rollback would undo it.
    connection.commit()


def _sqlite_connected(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is switched off: it would begin late and without IMMEDIATE.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
    finally:
        cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a write fails at once, without the busy timeout, when another wrote.
    immediate = connection.get_execution_options().get(_WRITE, False)
    by_driver(connection, "BEGIN IMMEDIATE" if immediate else "BEGIN", (), lambda _: None)


def lock_names(connection: sa.Connection, names: Iterable[int]) -> None:
    """Hold PostgreSQL advisory locks until the transaction ends, taken in order. SQLite has one writer already."""
    if connection.dialect.name != "postgresql" or not (wanted := sorted(set(names))):
        return
    connection.execute(
        sa.text("SELECT count(pg_advisory_xact_lock(:class, name)) FROM unnest(CAST(:names AS integer[])) AS name"),
        {"class": ADVISORY_CLASS, "names": wanted},
    )


def insert_into(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """``INSERT`` with ``ON CONFLICT``, which both databases have and SQLAlchemy keeps per dialect."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def _after_fork() -> None:
    for database in list(_databases):
        database.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
