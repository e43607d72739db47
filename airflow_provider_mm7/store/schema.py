"""The schema: Alembic's migrations, run under a lock, and what revision a database has."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from airflow_provider_mm7.exceptions import StoreNotMigrated, StoreUnavailable
from airflow_provider_mm7.store.database import Database, lock_names
from airflow_provider_mm7.store.tables import VERSION_TABLE

UPGRADE_COMMAND: Final = "airflow mm7 db upgrade"

#: Advisory lock of a migration. Names from 0 on belong to the buckets of message ids.
_MIGRATION_LOCK: Final = -1

# Alembic works through module-level proxies: one migration at a time in a process.
_migrating = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_migrating=threading.Lock()))


@lru_cache(maxsize=1)
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent / "migrations"))


def head() -> str:
    """Revision that this package needs."""
    revision = _script().get_current_head()
    if revision is None:
        raise AssertionError("the package holds no migration")
    return revision


def known(revision: str) -> bool:
    """Whether this package has the migration."""
    return any(script.revision == revision for script in _script().walk_revisions())


def current_revision(database: Database) -> str | None:
    """Revision of the database, None when it holds no tables of ours."""
    path = database.path
    if path is not None and not path.exists():
        return None
    return database.read(_revision)


def require_head(database: Database) -> None:
    """Refuse a database of another revision.

    :raises StoreNotMigrated: older, newer, or empty.
    """
    _compare(database, current_revision(database))


def upgrade(database: Database) -> None:
    """Bring the schema to this package's revision. Safe when several processes do it at once.

    :raises StoreNotMigrated: the database is newer than this package.
    :raises StoreUnavailable: the database cannot be used.
    """

    def migrate(connection: sa.Connection) -> None:
        lock_names(connection, {_MIGRATION_LOCK})
        revision = _revision(connection)
        if revision == head():
            return
        if revision is not None and not known(revision):
            _compare(database, revision)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    with _migrating:
        if database.path is None:
            database.write(migrate)
            return
        with _file_lock(database.path):
            _create(database.path)
            # Write-ahead logging is a property of the file; switching to it takes the whole file, and does not wait.
            with database.translated(), database.engine.connect() as connection:
                driver = connection.connection.driver_connection
                if driver is not None:
                    driver.execute("PRAGMA journal_mode=WAL").close()
            database.write(migrate)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    return revision


def _compare(database: Database, revision: str | None) -> None:
    if revision == head():
        return
    if revision is None:
        problem, remedy = "holds no mm7 tables", f"Run: {UPGRADE_COMMAND}"
    elif known(revision):
        problem, remedy = f"is at the older revision {revision}", f"Run: {UPGRADE_COMMAND}"
    else:
        problem = f"is at revision {revision}, which this version of airflow-provider-mm7 does not know"
        remedy = f"Upgrade the package on this machine; {UPGRADE_COMMAND} cannot go back"
    raise StoreNotMigrated(f"The store {database.url_masked} {problem}. {remedy}", revision=revision, head=head())


def _create(path: Path) -> None:
    # O_EXCL: an existing database must not be opened here, since closing it would drop SQLite's locks in this process.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreUnavailable(f"The store {path} cannot be created: {reason}", reason=reason) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
