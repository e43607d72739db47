"""Ledgers in which messages wait for their delivery reports, copied for each measurement."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.store import State, Store
from airflow_provider_mm7.store.base import utc_now
from airflow_provider_mm7.store.batches import batch_id_of
from airflow_provider_mm7.store.tables import DUE_NOW, NO_REPORT, batch_count, submission
from tests.benchmarks.callers import number
from tests.support.postgres_server import Postgres

#: Messages that were accepted, as ``m-0``, ``m-1``...: more than are reported on in a round.
MESSAGES = 30_000
BATCH = "benchmark"


def fill(url: str) -> None:
    """Make the tables, and a batch whose messages were all accepted."""
    store = Store(url)
    store.upgrade()
    batch_id = store.open_batch(BATCH, conn_id="mm7_default").batch_id
    now = utc_now()
    rows = [
        {
            "batch_id": batch_id,
            "row_no": 0,
            "recipient": number(index),
            "recipient_key": number_key(number(index)),
            "state": State.ACCEPTED,
            "attempts": 1,
            "not_before": DUE_NOW,
            "message_id": f"m-{index}",
            "delivery": NO_REPORT,
            "updated_at": now,
        }
        for index in range(MESSAGES)
    ]
    counted = {"batch_id": batch_id, "state": State.ACCEPTED, "delivery": NO_REPORT, "n": MESSAGES}

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(submission), rows)
        connection.execute(sa.insert(batch_count), counted)

    store._db.write(write)
    store.close()


def delivered(url: str) -> int:
    """Tell how many messages of the batch have a report."""
    store = Store(url)
    try:
        batch_id = batch_id_of(BATCH)
        return sum(store.delivery_of_batches([batch_id])[batch_id].by_status.values())
    finally:
        store.close()


class SQLiteLedgers:
    """Files in a folder, on the disk that is to be measured."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        self._numbers = count(1)
        folder.mkdir(parents=True, exist_ok=True)
        fill(f"sqlite:///{self._template}")

    @contextmanager
    def ledger(self) -> Iterator[str]:
        """Give the URL of a fresh copy, and remove it in the end."""
        path = self._folder / f"{next(self._numbers)}.db"
        shutil.copyfile(self._template, path)
        try:
            yield f"sqlite:///{path}"
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()


class PostgresLedgers:
    """Databases of a server."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._numbers = count(1)
        server.execute("CREATE DATABASE template_sent")
        fill(server.url("template_sent"))

    @contextmanager
    def ledger(self) -> Iterator[str]:
        """Give the URL of a fresh copy, and remove it in the end."""
        name = f"sent_{next(self._numbers)}"
        self._server.execute(f"CREATE DATABASE {name} TEMPLATE template_sent")
        try:
            yield self._server.url(name)
        finally:
            self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")
