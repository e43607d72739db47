"""The receiver inside Airflow's API server, at ``/mm7``.

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
        if app is None:
            yield
            return
        async with app.router.lifespan_context(app):
            yield

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


def _mountable() -> FastAPI:
    """Return the receiver in a FastAPI application: Airflow runs the lifespan of these and of no others.

    So signs of life reach the store from the API server's start on, and its end finishes callbacks under way.
    """
    from fastapi import FastAPI

    receiver = LazyReceiver()
    app = FastAPI(title="MM7 receiver", lifespan=receiver.lifespan, openapi_url=None, docs_url=None, redoc_url=None)
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
    """Mounts the receiver of the MMSC's callbacks."""

    name = "mm7"
    fastapi_apps = _MadeWhenAsked()
