"""The pages with a user of the test's choice in place of Airflow's, in process or on a loopback port."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from airflow_provider_mm7.media import FolderSink, LocalFiles
from airflow_provider_mm7.pages import Forbidden, NotLoggedIn, create_pages
from airflow_provider_mm7.store import InboundPart, Store

#: Seconds until the server listens, or has ended.
DEADLINE_S = 30.0

#: Where the plugin mounts the pages.
MOUNT = "/mm7/ui"


@dataclass
class User:
    """Whoever looks; tests change it.

    :ivar dags: DAGs that the user may read; None: all.
    """

    logged_in: bool = True
    may_open: bool = True
    dags: frozenset[str] | None = None
    numbers: bool = True

    async def viewer(self, request: Request) -> User:
        """Stand in for Airflow's session."""
        if not self.logged_in:
            raise NotLoggedIn
        if not self.may_open:
            raise Forbidden
        return self

    def readable(self, dag_ids: Iterable[str]) -> set[str]:
        """Return those of them that the user may read."""
        return {dag_id for dag_id in dag_ids if self.dags is None or dag_id in self.dags}

    def sees_numbers(self, *, dag_id: str | None, conn_id: str) -> bool:
        """Tell whether whole numbers may be shown."""
        return self.numbers


def pages_of(store: Store, user: User) -> Starlette:
    """The pages where the plugin mounts them."""
    pages = create_pages(access=user, store=lambda: store, media=LocalFiles)
    return Starlette(routes=[Mount(MOUNT, pages)])


def keep(folder: Path, parts: Iterable[tuple[str, str, bytes]]) -> tuple[InboundPart, ...]:
    """Keep parts of an inbound message as the receiver does.

    :param parts: name, type and bytes.
    """
    sink = FolderSink(folder)
    return tuple(
        InboundPart(
            content_type=content_type,
            content_id=name,
            content_location=name,
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            uri=sink.store(f"m/{place}", body, content_type),
        )
        for place, (name, content_type, body) in enumerate(parts)
    )


class PageServer:
    """Serves an application on a free loopback port, in a thread.

    :param app: the application.
    """

    def __init__(self, app: Starlette) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Address of the pages, without a final slash."""
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}{MOUNT}"

    def _run(self) -> None:
        startup = self._server.startup

        async def started(sockets: object = None) -> None:
            await startup()
            self._started.set()

        self._server.startup = started  # type: ignore[method-assign]
        self._server.run()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(DEADLINE_S):
            raise RuntimeError("the server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE_S)
