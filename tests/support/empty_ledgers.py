"""Ledgers with empty tables on both databases: migrated once, then copied or emptied, which takes a hundredth."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import Store
from airflow_provider_mm7.store.tables import metadata
from tests.support.postgres_server import Postgres

_OTHERS = sa.text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: Tables whose files hold something, be it of a transaction that was rolled back.
_WRITTEN = sa.text("SELECT relname FROM pg_class WHERE relname = ANY(:names) AND pg_relation_size(oid) > 0")


def empty_ledger(path: Path) -> str:
    """Put an empty ledger into a new file.

    :return: its URL.
    """
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory(prefix="mm7-tests-ledger-") as folder:
        path = Path(folder) / "mm7.db"
        store = Store(f"sqlite:///{path}")
        store.upgrade()
        # The last connection leaves no write-ahead log behind.
        store.close()
        return path.read_bytes()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: Postgres) -> Iterator[Store]:
    """The database behind :func:`postgres_ledger_url`."""
    with postgres_server.database() as url:
        store = Store(url)
        store.upgrade()
        yield store
        store.close()


@pytest.fixture
def postgres_ledger_url(migrated_postgres: Store) -> str:
    """URL of a ledger on PostgreSQL that is as new: nobody is connected, nothing is in it, ids begin at one."""

    def empty(connection: sa.Connection) -> None:
        connection.execute(_OTHERS)
        names = [table.name for table in metadata.sorted_tables]
        if written := connection.scalars(_WRITTEN, {"names": names}).all():
            connection.execute(sa.text(f"TRUNCATE {', '.join(written)} RESTART IDENTITY CASCADE"))

    migrated_postgres._db.write(empty)
    return migrated_postgres._db.url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger on SQLite, then on PostgreSQL."""
    if request.param == "postgres":
        return cast(str, request.getfixturevalue("postgres_ledger_url"))
    return empty_ledger(tmp_path / "mm7.db")
