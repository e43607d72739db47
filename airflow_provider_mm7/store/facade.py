"""The store as others see it, and how it is opened."""

from __future__ import annotations

import os
import stat
import threading
from datetime import timedelta

import sqlalchemy as sa

from airflow_provider_mm7.exceptions import StoreError
from airflow_provider_mm7.store import schema
from airflow_provider_mm7.store.alerts import Alerts
from airflow_provider_mm7.store.base import utc_now
from airflow_provider_mm7.store.batches import Batches
from airflow_provider_mm7.store.claims import Claims
from airflow_provider_mm7.store.components import FRESH_S, Components
from airflow_provider_mm7.store.contents import Contents
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.inbound import InboundMessages
from airflow_provider_mm7.store.inbox import Inbox
from airflow_provider_mm7.store.opt_outs import OptOuts
from airflow_provider_mm7.store.overview import Overview
from airflow_provider_mm7.store.pruning import Pruning
from airflow_provider_mm7.store.rates import Rates
from airflow_provider_mm7.store.reports import Reports
from airflow_provider_mm7.store.tables import component
from airflow_provider_mm7.store.types import StoreCheck
from airflow_provider_mm7.store.waiting import Waiting


class Store(
    Batches,
    Contents,
    Claims,
    Rates,
    Reports,
    Waiting,
    InboundMessages,
    Inbox,
    Overview,
    OptOuts,
    Alerts,
    Components,
    Pruning,
):
    """The ledger of what was sent and what came back.

    Making one opens nothing and checks nothing; :func:`open_store` does. Safe to use from many threads, and after fork.

    :param url: SQLAlchemy URL of SQLite or PostgreSQL.
    :param clock: tells the time (aware).
    """

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._db.dialect

    @property
    def url_masked(self) -> str:
        """The URL without its password."""
        return self._db.url_masked

    def upgrade(self) -> None:
        """Create the tables, or bring them to this package's revision.

        :raises StoreNotMigrated: the database is newer than this package.
        """
        schema.upgrade(self._db)

    def current_revision(self) -> str | None:
        """Revision of the database's tables, None when there are none."""
        return schema.current_revision(self._db)

    def require_head(self) -> None:
        """Refuse tables of another revision than this package's.

        :raises StoreNotMigrated: they are older, newer, or not there.
        """
        schema.require_head(self._db)

    def close(self) -> None:
        """Close pooled connections; the next use opens new ones."""
        self._db.close()

    def check(self) -> StoreCheck:
        """Look whether the store can be used, and by whom it is.

        :raises StoreUnavailable: it cannot be reached at all.
        """
        revision = self.current_revision()
        current = revision == schema.head()
        warnings = []
        if not current:
            warnings.append(f"Not at revision {schema.head()}. Run: {schema.UPGRADE_COMMAND}")
        writable = current and self._writable()
        if current and not writable:
            warnings.append("The database cannot be written to.")
        known = self.components() if current else []
        oldest = self._clock() - timedelta(seconds=FRESH_S)
        fresh = tuple(one for one in known if one.heartbeat_at >= oldest)
        if current and not any(one.kind == "receiver" for one in fresh):
            warnings.append("No receiver writes to this store: delivery reports will not arrive.")
        path = self._db.path
        if path is not None:
            hosts = {one.host for one in known}
            if len(hosts) > 1:
                warnings.append(f"SQLite is used by {len(hosts)} hosts; a file is for one machine. Use PostgreSQL.")
            if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
                warnings.append("Other users of this machine may read the SQLite file, which holds phone numbers.")
        return StoreCheck(
            dialect=self.dialect,
            url_masked=self.url_masked,
            revision=revision,
            head=schema.head(),
            writable=writable,
            fresh=fresh,
            stale=tuple(one for one in known if one.heartbeat_at < oldest),
            warnings=tuple(warnings),
        )

    def _writable(self) -> bool:
        def attempt(connection: sa.Connection) -> None:
            now = self._clock()
            connection.execute(
                insert_into(connection.dialect.name, component)
                .values(kind="check", host="", pid=os.getpid(), started_at=now, heartbeat_at=now)
                .on_conflict_do_update(index_elements=["kind", "host", "pid"], set_={"heartbeat_at": now})
            )
            connection.rollback()

        try:
            self._db.write(attempt)
        except StoreError:
            return False
        return True


_stores: dict[str, Store] = {}
_opening = threading.Lock()


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    _stores.clear()


os.register_at_fork(after_in_child=_after_fork)


def open_store(url: str, *, migrate: bool | None = None) -> Store:
    """Give this process's store of a URL, its tables being this package's.

    :param url: ``sqlite:////path/mm7.db`` or ``postgresql://...``.
    :param migrate: True: upgrade the tables; False: refuse others than this package's; None: upgrade SQLite only.
    :raises StoreNotMigrated: the tables are older, newer or not there, and may not be upgraded.
    :raises StoreUnavailable: the database cannot be used now.
    """
    with _opening:
        store = _stores.get(url)
        if store is not None and not migrate:
            return store
        store = store or Store(url, clock=utc_now)
        try:
            if migrate or (migrate is None and store.dialect == "sqlite"):
                store.upgrade()
            else:
                store.require_head()
        except BaseException:
            # Not kept, so nobody else would close what it opened.
            store.close()
            raise
        _stores[url] = store
        return store
