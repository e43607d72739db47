from __future__ import annotations

import multiprocessing
import os
import pickle
import secrets
import signal
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from airflow_provider_mm7.exceptions import InputError, StoreError, StoreUnavailable
from airflow_provider_mm7.store import NewSubmission, Settlement, State, Store, database, open_store
from airflow_provider_mm7.store.database import Database
from airflow_provider_mm7.store.prepared import Prepared
from airflow_provider_mm7.store.tables import rate, submission
from airflow_provider_mm7.store.url import masked, parse
from tests.store.make import claim, numbers, planned, settled
from tests.support.postgres_server import Postgres

LOCK = Prepared(lambda _: sa.select(submission.c.id).where(submission.c.id == sa.bindparam("key")).with_for_update())


class TestUrl:
    @pytest.mark.parametrize(
        ("given", "driver"),
        [
            ("postgres://u:p@h/db", "postgresql+psycopg"),
            ("postgresql://u:p@h/db", "postgresql+psycopg"),
            ("postgresql+psycopg2://u:p@h/db", "postgresql+psycopg2"),
            ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg"),
            ("sqlite:////tmp/x.db", "sqlite+pysqlite"),
        ],
    )
    def test_drivers(self, given: str, driver: str) -> None:
        assert parse(given).drivername == driver

    def test_psycopg2_where_psycopg_is_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_mm7.store.url.find_spec", lambda name: name == "psycopg2" or None)
        assert parse("postgres://h/db").drivername == "postgresql+psycopg2"
        monkeypatch.setattr("airflow_provider_mm7.store.url.find_spec", lambda name: None)
        with pytest.raises(InputError, match="postgres"):
            parse("postgres://h/db")

    @pytest.mark.parametrize(
        "given", ["", "nonsense", "mysql://h/db", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory"]
    )
    def test_refused(self, given: str) -> None:
        with pytest.raises(InputError):
            parse(given)

    def test_passwords_are_not_shown(self) -> None:
        shown = masked(parse("postgresql://u:s3cret@h/db?password=s3cret&sslkey=s3cret"))
        assert "s3cret" not in shown
        with pytest.raises(InputError) as caught:
            parse("mysql://u:s3cret@h/db")
        assert "s3cret" not in str(caught.value)


class TestErrors:
    def test_a_refused_statement_shows_no_value(self, store: Store) -> None:
        batch = planned(store)

        def twice(connection: sa.Connection) -> None:
            row = connection.execute(sa.select(submission)).mappings().one()
            connection.execute(sa.insert(submission), [{**row, "id": row["id"] + 1}])

        with pytest.raises(StoreError) as caught:
            store._db.write(twice)
        shown = "".join(traceback.format_exception(caught.value))
        assert numbers(1)[0] not in shown
        assert numbers(1)[0][1:] not in shown
        assert type(caught.value) is StoreError
        assert store.summary(batch.batch_id).total == 1

    def test_a_driver_that_tells_the_password(self) -> None:
        database = Database("postgresql://u:s3cret@h/db")
        told = OperationalError("SELECT 1", {}, RuntimeError("cannot connect with password s3cret\nnumber +6421"))
        with pytest.raises(StoreUnavailable, match="cannot connect") as caught, database.translated():
            raise told
        shown = "".join(traceback.format_exception(caught.value))
        assert "+6421" not in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert "RuntimeError(" not in shown

    def test_errors_survive_pickling(self, tmp_path: Path) -> None:
        (tmp_path / "mm7.db").mkdir()
        with pytest.raises(StoreUnavailable) as caught:
            open_store(f"sqlite:///{tmp_path}/mm7.db")
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again), again.reason) == (StoreUnavailable, str(caught.value), caught.value.reason)  # type: ignore[attr-defined]

    def test_a_locked_sqlite_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_provider_mm7.store.database.BUSY_TIMEOUT_S", 0.05)
        store = open_store(f"sqlite:///{tmp_path}/mm7.db")
        other = sqlite3.connect(tmp_path / "mm7.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.open_batch("k", conn_id="c")
        other.execute("ROLLBACK")
        other.close()
        store.open_batch("k", conn_id="c")
        store.close()

    def test_a_full_disk(self, tmp_path: Path) -> None:
        store = open_store(f"sqlite:///{tmp_path}/mm7.db")
        batch = planned(store, 2)

        @sa.event.listens_for(store._db.engine, "begin")
        def full(connection: sa.Connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")

        with pytest.raises(StoreUnavailable, match="full"):
            store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(5000)])
        assert store.summary(batch.batch_id).total == 2
        store.close()

    @pytest.mark.postgres
    def test_no_server_and_wrong_password(self, postgres_server: Postgres) -> None:
        url = postgres_server.url()
        wrong = url.replace(postgres_server.password, "wr0ng-secret")
        gone = url.replace(str(postgres_server.port), "1")
        for bad in (wrong, gone):
            with pytest.raises(StoreUnavailable) as caught:
                open_store(bad)
            shown = "".join(traceback.format_exception(caught.value))
            assert "wr0ng-secret" not in shown
            assert postgres_server.password not in shown

    @pytest.mark.postgres
    def test_both_drivers(self, postgres_server: Postgres) -> None:
        with postgres_server.database(driver="psycopg2") as url:
            store = open_store(url, migrate=True)
            batch = planned(store, 3)
            store.settle(batch.batch_id, settled(claim(store, batch)))
            assert store.summary(batch.batch_id).accepted == 3
            assert store._db.engine.driver == "psycopg2"
            store.close()


@pytest.mark.postgres
def test_a_killed_postgres_loses_nothing_and_is_found_again() -> None:
    with Postgres() as server, server.database() as url:
        store = open_store(url, migrate=True)
        batch = planned(store, 10)
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items[:4]))
        server.kill()
        with pytest.raises(StoreUnavailable):
            store.settle(batch.batch_id, settled(items[4:6]))
        server.start()
        assert store.settle(batch.batch_id, settled(items)) == 6
        assert store.summary(batch.batch_id).accepted == 10
        store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_plans_are_made_for_the_tables_as_they_are(postgres_server: Postgres, driver: str) -> None:
    with postgres_server.database(driver=driver) as url:
        store = Store(url)
        with suppress(ZeroDivisionError):
            store._db.read(lambda _: 1 // 0)
        assert store._db.read(lambda one: one.scalar(sa.text("SHOW plan_cache_mode"))) == "force_custom_plan"
        store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_the_server_notices_a_client_that_vanished(postgres_server: Postgres, driver: str) -> None:
    wanted = {
        "tcp_keepalives_idle": "30s",
        "tcp_keepalives_interval": "10s",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "1min",
        "idle_in_transaction_session_timeout": "1min",
    }
    with postgres_server.database(driver=driver) as url:
        store = Store(url)
        told = store._db.read(lambda one: {name: one.scalar(sa.text(f"SHOW {name}")) for name in wanted})
        store.close()
    # For TCP it shows what its system has set.
    assert told == {**wanted, "tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_user_timeout": "60000"}


@pytest.mark.postgres
def test_a_process_that_is_stopped_in_a_transaction_does_not_stop_the_others(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = planned(postgres_store, 3)
    claim(postgres_store, batch)
    monkeypatch.setitem(database._SESSION, "idle_in_transaction_session_timeout", "100ms")
    stopped = Store(postgres_store._db.url.render_as_string(hide_password=False))
    with stopped._db.engine.connect() as connection:
        connection.execute(sa.select(submission).with_for_update())
        assert postgres_store.settle_abandoned(batch.batch_id, is_alive=lambda _: False) == 3
        with pytest.raises(StoreUnavailable, match="25P03"), stopped._db.translated():
            connection.execute(sa.select(submission))
        connection.invalidate()
    stopped.close()


@pytest.mark.postgres
def test_a_server_on_a_unix_socket_takes_what_is_for_tcp() -> None:
    # A short path, in which the server's user may write.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with Postgres(fsync=False, settings={"unix_socket_directories": folder}) as server:
            at = f"host={folder}&port={server.port}"
            store = Store(server.url().replace(f"127.0.0.1:{server.port}/postgres", f"/postgres?{at}"))
            assert store._db.read(lambda one: one.scalar(sa.text("SHOW tcp_user_timeout"))) == "0"
            store.close()


@pytest.mark.postgres
def test_what_is_too_large_for_the_database_is_refused(postgres_store: Store) -> None:
    """The database is not down: whatever else came with it can be stored."""
    values = {"conn_id": secrets.token_hex(10_000), "next_at": datetime.now(UTC)}
    with pytest.raises(StoreError, match="refused") as caught:
        postgres_store._db.write(lambda connection: connection.execute(sa.insert(rate), values))
    assert not isinstance(caught.value, StoreUnavailable)


def lock(connection: sa.Connection, key: int) -> None:
    connection.execute(sa.select(submission.c.id).where(submission.c.id == key).with_for_update())


def lock_by_the_driver(connection: sa.Connection, key: int) -> None:
    LOCK.rows(connection, key=key)


@pytest.mark.postgres
@pytest.mark.parametrize("lock", [lock, lock_by_the_driver])
def test_a_deadlock_is_run_again(postgres_store: Store, lock: Callable[[sa.Connection, int], None]) -> None:
    """Two writes that lock two rows in opposite order: the one that PostgreSQL ends runs again."""
    batch = planned(postgres_store, 2)
    ids = [item.id for item in postgres_store.submissions(batch.batch_id)]
    barrier = threading.Barrier(2)
    runs: list[int] = []

    def work(order: list[int]) -> None:
        def lock_all(connection: sa.Connection) -> None:
            runs.append(1)
            first_time = len(runs) <= 2
            for key in order:
                lock(connection, key)
                if first_time and key == order[0]:
                    barrier.wait(30)

        postgres_store._db.write(lock_all)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, order) for order in (ids, ids[::-1])]:
            future.result(60)
    assert len(runs) >= 3


def in_child(store: Store, batch_id: str, answer: multiprocessing.queues.Queue[object]) -> None:
    items = claim(store, batch_id, 2, token="child")
    store.settle(batch_id, settled(items))
    answer.put([item.id for item in items])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_works_on_both_sides_of_a_fork(store: Store) -> None:
    batch = planned(store, 6)
    assert len(claim(store, batch, 2)) == 2
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.queues.Queue[object] = context.Queue()
    # The worst moment: another thread of the parent holds the engine's lock.
    with store._db._lock:
        child = context.Process(target=in_child, args=(store, batch.batch_id, answer), daemon=True)
        child.start()
    got = answer.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    rest = claim(store, batch, 10)
    assert len(rest) == 2
    assert not set(cast("list[int]", got)) & {item.id for item in rest}
    assert store.summary(batch.batch_id).accepted == 2


def test_a_process_killed_in_a_transaction_leaves_nothing_half_done(store: Store) -> None:
    batch = planned(store, 3)
    items = claim(store, batch)
    pid = os.fork()
    if pid == 0:
        engine = store._db.engine
        sa.event.listen(engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        store.settle(batch.batch_id, settled(items))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert store.summary(batch.batch_id).sending == 3
    assert store.settle(batch.batch_id, [Settlement(submission_id=items[0].id, state=State.REFUSED)]) == 1
