"""The ledger as it is found after a kill: read from outside, without doing what the next run has to do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from airflow_provider_mm7.store import Store, Submission
from airflow_provider_mm7.store.batches import batch_id_of
from tests.support.postgres_server import Postgres

#: Seconds that a server's process may take to notice that its client is dead.
QUIET_S = 30.0
_PAGE = 1000

#: Transactions that were under way at a moment. A COMMIT that had left may still take place.
_UNDER_WAY = sa.text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < :moment"
)

Rows = dict[str, Submission]


class Ledger(Protocol):
    """A database that outlives those who write to it."""

    @property
    def url(self) -> str:
        """Its URL."""

    def look(self, key: str) -> Rows:
        """Return the rows of a batch by recipient, now that every sender is dead; none when it was never opened."""


class SQLiteLedger:
    """A file. A copy of it is looked at, so that the next run has to recover what the dead left behind."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.path = folder / "mm7.db"
        self._copy = scratch / "copy.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    @property
    def pages(self) -> int:
        """Size of the database in pages, what stands in the write-ahead log included."""
        with self._copied() as store:
            return store._db.read(lambda connection: int(connection.scalar(sa.text("PRAGMA page_count")) or 0))

    def look(self, key: str) -> Rows:
        if not self.path.exists():
            return {}
        with self._copied() as store:
            found = store._db.read(lambda connection: connection.scalar(sa.text("PRAGMA integrity_check")))
            assert found == "ok", f"the database is damaged: {found}"
            return rows_of(store, key)

    @contextmanager
    def _copied(self) -> Iterator[Store]:
        for suffix in ("", "-wal"):
            source, target = Path(f"{self.path}{suffix}"), Path(f"{self._copy}{suffix}")
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        Path(f"{self._copy}-shm").unlink(missing_ok=True)
        store = Store(f"sqlite:///{self._copy}")
        yield store
        store.close()


class PostgresLedger:
    """A database of a server."""

    def __init__(self, url: str, server: Postgres) -> None:
        self.url = url
        self.server = server

    def look(self, key: str) -> Rows:
        store = Store(self.url)
        try:
            self._wait_until_quiet(store)
            return rows_of(store, key)
        finally:
            store.close()

    @staticmethod
    def _wait_until_quiet(store: Store) -> None:
        moment, deadline = datetime.now(UTC), time.monotonic() + QUIET_S
        while store._db.read(lambda connection: connection.scalar(_UNDER_WAY, {"moment": moment})):
            assert time.monotonic() < deadline, "a transaction of a dead process does not end"
            time.sleep(0.005)


def rows_of(store: Store, key: str) -> Rows:
    """Read a batch."""
    rows: Rows = {}
    if store.current_revision() is None:
        return rows
    batch_id, after_id = batch_id_of(key), 0
    while page := store.submissions(batch_id, after_id=after_id, limit=_PAGE):
        rows.update((row.recipient, row) for row in page)
        after_id = page[-1].id
    if store.find_batch(batch_id) is not None:
        summary, states = store.summary(batch_id), [str(row.state) for row in rows.values()]
        counted = (summary.total, summary.accepted, summary.unknown, summary.sending)
        assert counted == (len(rows), *(states.count(state) for state in ("accepted", "unknown", "sending")))
    return rows
