"""The receiver and the MMS page inside Airflow's API server, at ``/mm7``.

The receiver takes ``/mm7/callback`` with credentials of its own; the page, ``/mm7/ui``, is for Airflow's users, with
their session and permissions.

Airflow imports this module in every component. The application is made when somebody asks for it, which is the API
server (and ``airflow plugins``); what it stands on is imported, and the store opened, when the server starts.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

URL_PREFIX = "/mm7"
#: Path of the page below it.
PAGE = "/ui"

#: Where Airflow's UI shows the page, and with which query. It fills the names in.
_PLACES: dict[str, str] = {
    "nav": "",
    "dag": "?dag_id={DAG_ID}",
    "dag_run": "?dag_id={DAG_ID}&run_id={RUN_ID}",
    "task": "?dag_id={DAG_ID}&task_id={TASK_ID}",
    "task_instance": "?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}",
}
# Addresses are relative to Airflow's own: it may live below a path.
_BASE = f"{URL_PREFIX.removeprefix('/')}{PAGE}/"
_EXTERNAL_VIEWS: list[Any] = [
    {
        "name": "MMS",
        "href": f"{_BASE}{query}",
        "destination": place,
        "url_route": "mms" if place == "nav" else f"mms_{place}",
        "icon": f"{_BASE}icon.svg",
        "icon_dark_mode": f"{_BASE}icon-dark.svg",
    }
    for place, query in _PLACES.items()
]

log = logging.getLogger(__name__)


class LazyReceiver:
    """An ASGI application that becomes the receiver when it is first used.

    What keeps the receiver from being made (an option of ``[mm7]``) may not keep Airflow's API server from starting:
    it is logged, and callbacks are answered 503 until it is put right.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        :param scope: ASGI's scope.
        :param receive: ASGI's receive.
        :param send: ASGI's send.
        """
        app = await self._made()
        if app is not None:
            await app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"retry-after", b"60"), (b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"Service unavailable\n"})

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Run the receiver's lifespan inside another application's.

        :param _: the other application.
        """
        app = await self._made()
        if app is not None:
            async with app.router.lifespan_context(app):
                yield
            return
        try:
            yield
        finally:
            # Put right since: the first callback has begun what nobody else ends.
            if self._app is not None:
                await asyncio.to_thread(self._app.state.receiver.close)

    async def _made(self) -> Starlette | None:
        # Imports and a look at the configuration: off the event loop.
        return self._app or await asyncio.to_thread(self._make)

    def _make(self) -> Starlette | None:
        from airflow_provider_mm7.exceptions import InputError

        with self._lock:
            if self._app is None:
                try:
                    from airflow_provider_mm7.hooks.callbacks import create_receiver

                    self._app = create_receiver()
                except InputError as exc:
                    log.error("the MM7 receiver cannot start: %s", exc)  # noqa: TRY400
                except Exception as exc:
                    log.error("the MM7 receiver cannot start: %s", type(exc).__name__)  # noqa: TRY400
            return self._app


class LazyPages:
    """An ASGI application that becomes the pages when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        :param scope: ASGI's scope.
        :param receive: ASGI's receive.
        :param send: ASGI's send.
        """
        app = self._app
        if app is None:
            app = await asyncio.to_thread(self._make)
        await app(scope, receive, send)

    def _make(self) -> Starlette:
        with self._lock:
            if self._app is None:
                from airflow_provider_mm7.hooks.callbacks import open_airflow_store
                from airflow_provider_mm7.hooks.page_media import page_media
                from airflow_provider_mm7.pages import create_pages
                from airflow_provider_mm7.pages.session import AirflowAccess

                self._app = create_pages(access=AirflowAccess(), store=open_airflow_store, media=page_media)
            return self._app


def _mountable() -> FastAPI:
    """Return receiver and pages in a FastAPI application: Airflow runs the lifespan of these and of no others.

    So signs of life reach the store from the API server's start on, and its end finishes callbacks under way.
    """
    from fastapi import FastAPI

    receiver = LazyReceiver()
    app = FastAPI(title="MM7", lifespan=receiver.lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.mount(PAGE, LazyPages())
    app.mount("", receiver)
    return app


class _MadeWhenAsked:
    """``fastapi_apps`` of the class and of its instances: Airflow reads it in the API server only."""

    def __init__(self) -> None:
        self._apps: list[dict[str, Any]] = []

    def __get__(self, instance: object, owner: type | None = None) -> list[dict[str, Any]]:
        if not self._apps:
            from airflow_provider_mm7.hooks.masking import hide_secret_fields

            hide_secret_fields()
            self._apps.append({"app": _mountable(), "url_prefix": URL_PREFIX, "name": "mm7"})
        return self._apps


class MM7Plugin(AirflowPlugin):
    """Mounts the receiver of the MMSC's callbacks and the page, and shows the page in Airflow's UI."""

    name = "mm7"
    fastapi_apps = _MadeWhenAsked()
    external_views = _EXTERNAL_VIEWS
