"""Statements that go to the driver as they are: their errors are SQLAlchemy's all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.store import Store
from airflow_provider_mm7.store.prepared import Prepared
from airflow_provider_mm7.store.tables import rate
from tests.store.make import planned
from tests.support.postgres_server import Postgres

PID = Prepared(lambda _: sa.select(sa.func.pg_backend_pid()))


def test_a_refused_statement_shows_no_value(store: Store) -> None:
    secret = "+64211234567"
    add = Prepared(lambda _: sa.insert(rate).values(conn_id=sa.bindparam("conn_id"), next_at=sa.null()))
    with pytest.raises(StoreError, match="refused") as caught:
        store._db.write(lambda connection: add.run(connection, conn_id=secret))
    assert not isinstance(caught.value, StoreUnavailable)
    assert secret not in repr(caught.value)
    # The transaction is over, and its connection free.
    assert planned(store, 2) is not None


def test_a_row_that_cannot_be_fetched_is_an_error_of_ours(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mm7.db")
    # SQLite hands out the first row before it comes to the second, whose absolute value no integer can hold.
    each = sa.func.json_each(f"[1, {-(2**63)}]").table_valued("value").c.value
    rows = Prepared(lambda _: sa.select(sa.func.abs(each)))
    with pytest.raises(StoreError):
        store._db.read(rows.rows)
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_connection_that_is_lost_is_used_no_more(postgres_server: Postgres, driver: str) -> None:
    with postgres_server.database(driver=driver) as url:
        store, other = Store(url), Store(url)
        store.upgrade()
        pids: list[int] = []

        def work(connection: sa.Connection) -> None:
            ((pid,),) = PID.rows(connection)
            pids.append(pid)
            other._db.write(lambda one: one.execute(sa.select(sa.func.pg_terminate_backend(pid))))
            PID.rows(connection)

        with pytest.raises(StoreUnavailable):
            store._db.write(work)
        ((pid,),) = store._db.read(PID.rows)
        assert pids != [pid]
        store.close()
        other.close()
