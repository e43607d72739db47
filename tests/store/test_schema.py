from __future__ import annotations

import multiprocessing
import os
import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_provider_mm7.exceptions import StoreNotMigrated, StoreUnavailable
from airflow_provider_mm7.store import InboundPart, NewInbound, Store, open_store, schema
from airflow_provider_mm7.store.tables import VERSION_TABLE, inbound, metadata
from tests.store.make import open_in_process

pytestmark = pytest.mark.long


def set_revision(store: Store, revision: str) -> None:
    statement = sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")
    store._db.write(lambda connection: connection.execute(statement))


def test_migrations_make_the_tables_that_the_code_knows(store_url: str) -> None:
    store = Store(store_url)
    store.upgrade()
    with store._db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    store.close()


def test_sqlite_text_of_the_tables_is_the_same(tmp_path: Path) -> None:
    """What a comparison of metadata does not see: partial indexes, AUTOINCREMENT, names of constraints."""
    store = Store(f"sqlite:///{tmp_path}/mm7.db")
    store.upgrade()
    names = sa.text("SELECT name, sql FROM sqlite_master WHERE name LIKE '%mm7%' AND sql IS NOT NULL")
    with store._db.engine.connect() as connection:
        stored = {row.name: " ".join(row.sql.split()) for row in connection.execute(names)}
    stored.pop(VERSION_TABLE)
    # SQLite quotes the name of a table that a migration has rebuilt.
    stored = {name: sql.replace(f'"{name}"', name) for name, sql in stored.items()}
    dialect = store._db.engine.dialect
    wanted = {table.name: str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables}
    for table in metadata.sorted_tables:
        wanted |= {str(index.name): str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes}
    assert {name: sorted(sql.replace(",", " ").split()) for name, sql in stored.items()} == {
        name: sorted(sql.replace(",", " ").split()) for name, sql in wanted.items()
    }
    store.close()


def test_postgres_indexes_are_the_same(postgres_url: str) -> None:
    made: dict[int, dict[str, str]] = {}
    store = Store(postgres_url)
    query = sa.text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'mm7%'")
    for make in (store.upgrade, lambda: metadata.create_all(store._db.engine)):
        make()
        with store._db.engine.begin() as connection:
            made[len(made)] = {row.indexname: row.indexdef for row in connection.execute(query)}
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
    made[0] = {name: text for name, text in made[0].items() if VERSION_TABLE not in name}
    assert made[0] == made[1]
    store.close()


def test_upgrading_again_changes_nothing(store_url: str) -> None:
    store = Store(store_url)
    assert store.current_revision() is None
    store.upgrade()
    batch = store.open_batch("k", conn_id="c")
    store.upgrade()
    assert store.current_revision() == schema.head()
    assert store.find_batch(batch.batch_id) == batch
    store.close()


def test_a_newer_database_is_refused_by_everything(store_url: str) -> None:
    store = Store(store_url)
    store.upgrade()
    set_revision(store, "9999")
    for attempt in (store.upgrade, store.require_head, lambda: open_store(store_url)):
        with pytest.raises(StoreNotMigrated, match="revision 9999") as caught:
            attempt()
        assert caught.value.revision == "9999"  # type: ignore[attr-defined]
    assert store.current_revision() == "9999"
    store.close()


def test_open_store_migrates_sqlite_and_asks_for_it_on_postgres(store_url: str) -> None:
    if store_url.startswith("sqlite"):
        with pytest.raises(StoreNotMigrated):
            open_store(store_url, migrate=False)
        store = open_store(store_url)
    else:
        with pytest.raises(StoreNotMigrated, match="airflow mm7 db upgrade"):
            open_store(store_url)
        store = open_store(store_url, migrate=True)
    assert open_store(store_url) is store
    assert store.check().ok
    store.close()


def test_tables_of_others_are_left_alone(store_url: str) -> None:
    store = Store(store_url)
    if store.dialect == "sqlite":
        Path(str(store._db.path)).touch()
    with store._db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('airflow')"))
    store.upgrade()
    with store._db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "airflow"
    names = sa.inspect(store._db.engine).get_table_names()
    assert all(name.startswith("mm7_") or name == "alembic_version" for name in names)
    store.close()


def test_processes_that_open_a_new_database_at_the_same_moment(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(4, mp_context=context) as pool:
        barrier = manager.Barrier(4)
        futures = [pool.submit(open_in_process, store_url, barrier) for _ in range(4)]
        assert len({future.result(120) for future in futures}) == 1


def test_threads_that_open_new_databases_at_the_same_moment(tmp_path: Path) -> None:
    """Alembic works through globals of its module."""
    urls = [f"sqlite:///{tmp_path}/{n % 3}.db" for n in range(9)]
    with ThreadPoolExecutor(9) as pool:
        stores = list(pool.map(lambda url: open_store(url), urls))
    assert len({id(store) for store in stores}) == 3
    for store in stores:
        assert store.check().ok
        store.close()


class TestFile:
    def test_belongs_to_its_user_alone_and_survives_power_failures(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "mm7.db"
        old = os.umask(0)
        try:
            store = open_store(f"sqlite:///{path}")
            store.open_batch("k", conn_id="c")
        finally:
            os.umask(old)
        files = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        assert files.pop("mm7.db-wal") == files.pop("mm7.db-shm") == 0o600
        assert files == {"mm7.db": 0o600, "mm7.db.lock": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with store._db.engine.connect() as connection:
            asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
        assert told == ["wal", 2, 1, 30_000]
        store.close()

    def test_that_others_can_read_is_warned_of(self, tmp_path: Path) -> None:
        store = open_store(f"sqlite:///{tmp_path}/mm7.db")
        assert not any("read" in warning for warning in store.check().warnings)
        (tmp_path / "mm7.db").chmod(0o640)
        assert any("read" in warning for warning in store.check().warnings)
        store.close()

    def test_where_none_can_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreUnavailable):
            open_store(f"sqlite:///{tmp_path}/file/mm7.db")
        (tmp_path / "folder.db").mkdir()
        with pytest.raises(StoreUnavailable):
            open_store(f"sqlite:///{tmp_path}/folder.db")

    def test_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "mm7.db").write_text("dear diary, " * 1000)
        with pytest.raises(StoreUnavailable):
            open_store(f"sqlite:///{tmp_path}/mm7.db")


def migrate_to(store: Store, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with store._db.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_read_replies_from_before_they_were_counted_are_counted(store_url: str) -> None:
    """Migration 0002 again; a reply that nothing of ours was sent for counts nowhere."""
    store = Store(store_url)
    migrate_to(store, "0001")
    now = datetime(2026, 1, 20)  # noqa: DTZ001 - as the column of SQLite keeps it
    sent = {"batch_id": "b1", "row_no": 0, "state": "accepted", "attempts": 1, "not_before": now, "updated_at": now}
    told = {"kind": "read", "conn_id": "c", "sender_key": "", "received_at": now}
    with store._db.engine.begin() as connection:
        old = sa.MetaData()
        old.reflect(connection, only=["mm7_batch", "mm7_submission", "mm7_report"])
        connection.execute(old.tables["mm7_batch"].insert().values(batch_id="b1", key="k", conn_id="c", created_at=now))
        for n, delivery in enumerate(["Retrieved", "", ""]):
            who = {"recipient": f"{n}", "recipient_key": f"{n}", "message_id": "m1"}
            connection.execute(old.tables["mm7_submission"].insert().values(**sent, **who, delivery=delivery))
            if n < 2:
                reply = {**told, **who, "mm_status": "Read", "batch_id": "b1"}
                connection.execute(old.tables["mm7_report"].insert().values(**reply))
        other = {**told, "message_id": "m2", "recipient_key": "0", "mm_status": "Read"}
        connection.execute(old.tables["mm7_report"].insert().values(**other))
    store.upgrade()
    assert store.delivery_of_batches(["b1"])["b1"].by_read == {("Retrieved", "Read"): 1, ("", "Read"): 1}
    assert [one.read for one in store.submissions("b1")] == ["Read", "Read", None]
    store.close()


def test_messages_from_before_filters_can_be_filtered(store_url: str) -> None:
    """Migration 0002 makes of old rows what the store makes of new ones."""
    store = Store(store_url)
    migrate_to(store, "0001")
    with store._db.engine.begin() as connection:
        old = sa.MetaData()
        old.reflect(connection, only=["mm7_inbound"])
        values: dict[str, Any] = {
            "digest": "old",
            "conn_id": "mm7_default",
            "sender": "+64 21 123 4567/TYPE=PLMN",
            "recipients": ["111122", "Shop@B.example"],
            "text": "  Yes, please",
            "parts": [{"content_type": "text/plain; charset=utf-8"}, {"content_type": "image/gif"}],
            "received_at": datetime(2026, 1, 20),  # noqa: DTZ001 - as the column of SQLite keeps it
        }
        connection.execute(old.tables["mm7_inbound"].insert().values(**values))
    store.upgrade()
    parts = tuple(
        InboundPart(content_type=one["content_type"], content_id=None, content_location=None, size=0, sha256="", uri="")
        for one in values["parts"]
    )
    new = NewInbound(
        conn_id="mm7_default",
        digest="new",
        transaction_id=None,
        sender=values["sender"],
        subject=None,
        recipients=tuple(values["recipients"]),
        linked_id=None,
        date=None,
        text=values["text"],
        parts=parts,
    )
    store.add_inbound([new])
    query = sa.select(inbound.c.sender_key, inbound.c.recipient_keys, inbound.c.keyword, inbound.c.media_count)
    with store._db.engine.connect() as connection:
        before, after = connection.execute(query.order_by(inbound.c.id)).all()
    assert before == after == ("64211234567", "|111122|shop@b.example|", "yes", 1)
    store.close()
