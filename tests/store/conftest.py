"""One contract, two databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import Store
from airflow_provider_mm7.store.tables import batch_count, inbound_claim, read_count, report, submission

START = datetime(2026, 1, 20, 9, 30, 47, tzinfo=UTC)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def now_of(store: Store) -> datetime:
    """The time as a store tells it: its clock's on SQLite, the database's on PostgreSQL."""
    return store._db.read(store._now)


def let_pass(store: Store, clock: Clock, seconds: float) -> None:
    """Let time pass for leases. PostgreSQL's clock obeys no test: there they go back."""
    clock.advance(seconds)
    if store.dialect == "postgresql":
        back = sa.literal(timedelta(seconds=seconds), sa.Interval())
        for table in (inbound_claim, submission):
            _write(store, sa.update(table).values(lease_until=table.c.lease_until - back))


def _write(store: Store, statement: sa.Update) -> None:
    store._db.write(lambda connection: connection.execute(statement))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "postgres":
        return cast(str, request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/mm7.db"


@pytest.fixture
def postgres_store(postgres_ledger_url: str, clock: Clock) -> Iterator[Store]:
    """A migrated store on PostgreSQL, for what only PostgreSQL has."""
    store = Store(postgres_ledger_url, clock=clock)
    yield store
    store.close()


@pytest.fixture
def store(either_ledger_url: str, clock: Clock) -> Iterator[Store]:
    """A migrated store; whatever a test did, the counts must agree with the rows in the end."""
    store = Store(either_ledger_url, clock=clock)
    yield store
    assert counted(store) == kept(store)
    assert reads_counted(store) == reads_kept(store)
    store.close()


def counted(store: Store) -> dict[tuple[str, str, str], int]:
    """Count the submissions themselves."""
    columns = (submission.c.batch_id, submission.c.state, submission.c.delivery)
    query = sa.select(*columns, sa.func.count()).group_by(*columns)
    return store._db.read(lambda connection: {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)})


def kept(store: Store) -> dict[tuple[str, str, str], int]:
    """Read the counts that are kept beside them."""
    query = sa.select(batch_count)
    rows = store._db.read(lambda connection: connection.execute(query).all())
    return {(row.batch_id, row.state, row.delivery): row.n for row in rows if row.n}


def reads_counted(store: Store) -> dict[tuple[str, str, str], int]:
    """Count the submissions that a read reply speaks of."""
    same = (report.c.message_id == submission.c.message_id) & (report.c.recipient_key == submission.c.recipient_key)
    columns = (submission.c.batch_id, submission.c.delivery, report.c.mm_status)
    query = (
        sa.select(*columns, sa.func.count())
        .select_from(submission.join(report, same))
        .where(report.c.kind == "read", report.c.batch_id.is_not(None))
        .group_by(*columns)
    )
    return store._db.read(lambda connection: {(row[0], row[1], row[2]): row[3] for row in connection.execute(query)})


def reads_kept(store: Store) -> dict[tuple[str, str, str], int]:
    """Read the counts that are kept beside them."""
    rows = store._db.read(lambda connection: connection.execute(sa.select(read_count)).all())
    return {(row.batch_id, row.delivery, row.read_status): row.n for row in rows if row.n}
