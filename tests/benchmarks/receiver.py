"""A receiver under load, in a process of its own: the real one, or one that commits each report by itself, or none.

``python -m tests.benchmarks.receiver WAY STORE_URL PORT FOLDER``. Everything but how reports are committed is the
product's: server, application, log.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.receiver import CallbackCredentials, create_app
from airflow_provider_mm7.receiver.serve import serve
from airflow_provider_mm7.store import NewReport, Store, open_store
from tests.benchmarks import message

PREFIX = "/mm7"
PATH = f"{PREFIX}/callback"
#: PostgreSQL commits in parallel, with as many connections as the store's pool has; SQLite has one writer.
_POSTGRESQL_THREADS = 15


class Writer(Protocol):
    """What the receiver commits reports with."""

    async def put(self, item: Any) -> bool:
        """Commit one."""

    def close(self) -> None:
        """End."""


class Forget:
    """Parse only: a report is acknowledged once it is read, and forgotten."""

    async def put(self, item: Any) -> bool:
        return True

    def close(self) -> None:
        return


class Each:
    """A commit for each report, in as many threads as can commit at once."""

    def __init__(self, store: Callable[[], Store], threads: int) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(threads)

    async def put(self, item: NewReport) -> bool:
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._pool, self._store().add_reports, [item]))[0]

    def close(self) -> None:
        self._pool.shutdown(wait=True)


class _Credentials:
    def lookup(self, conn_id: str) -> CallbackCredentials:
        return CallbackCredentials(login=message.LOGIN, password=message.PASSWORD)


def main(way: str, url: str, port: int, folder: Path) -> int:
    """Serve until SIGTERM.

    :param way: ``parse``, ``each`` or ``group``.
    :param url: of the store.
    """
    logging.basicConfig(
        filename=folder / "receiver.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    store = open_store(url)

    def opened() -> Store:
        return open_store(url)

    app = create_app(credentials=_Credentials(), store=opened, sink=FolderSink(folder / "inbound"), prefix=PREFIX)
    runtime = app.state.receiver.start()
    if way != "group":
        runtime.writer.close()
        threads = 1 if store.dialect == "sqlite" else _POSTGRESQL_THREADS
        runtime.writer = Forget() if way == "parse" else Each(opened, threads)
    serve(app, host="127.0.0.1", port=port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
