"""The sandbox as one ASGI application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Route

from airflow_provider_mm7.sandbox.auth import make_authenticator
from airflow_provider_mm7.sandbox.callbacks import CallbackQueue
from airflow_provider_mm7.sandbox.control import Control, Guard, guarded
from airflow_provider_mm7.sandbox.door import Door
from airflow_provider_mm7.sandbox.judge import Judge
from airflow_provider_mm7.sandbox.mmsc import MMSC
from airflow_provider_mm7.sandbox.page import Page
from airflow_provider_mm7.sandbox.record import RecordBook
from airflow_provider_mm7.sandbox.reports import Spelling
from airflow_provider_mm7.sandbox.script import Script
from airflow_provider_mm7.sandbox.settings import Settings
from airflow_provider_mm7.sandbox.validation import SchemaCheck
from airflow_provider_mm7.sandbox.wire import Receive, Scope, Send

#: Names an XML Schema file to hold requests against, as ``--schema`` does.
SCHEMA_VARIABLE = "MM7_XSD"


def create_app(settings: Settings | None = None) -> Starlette:
    """Build the sandbox.

    :param settings: what it is told; the defaults otherwise.
    :return: an ASGI application. Scenarios that misbehave below HTTP need :mod:`airflow_provider_mm7.sandbox.server`
        beneath it; another server merely drops the connection.
    """
    settings = settings or Settings()
    book = RecordBook(keep=settings.keep, keep_bytes=settings.keep_bytes)
    script, callbacks, spelling = Script(), CallbackQueue(settings), Spelling(settings.quirks)
    schema_path = settings.schema or os.environ.get(SCHEMA_VARIABLE, "")
    door = Door(
        settings,
        authenticator=make_authenticator(settings.auth, settings.login, settings.password, settings.digest_algorithm),
        judge=Judge(settings, SchemaCheck(schema_path) if schema_path else None),
        mmsc=MMSC(settings, book=book, script=script, callbacks=callbacks, spelling=spelling),
        book=book,
        script=script,
        callbacks=callbacks,
    )
    guard = Guard(settings)
    page = Page(settings, book=book, callbacks=callbacks)
    show = guarded(guard, page.show)

    class Front:
        """``/``: people see the page, clients that were told no path post to it, or test it with their credentials."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] not in {"GET", "HEAD"} or "authorization" in Headers(scope=scope):
                await door(scope, receive, send)
                return
            response = await show(Request(scope, receive))
            await response(scope, receive, send)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        callbacks.stop()

    control = Control(settings, book=book, script=script, callbacks=callbacks, spelling=spelling)
    routes = [
        Route("/mm7", door),
        Route("/", Front()),
        *page.routes(guard),
        *control.routes(guard),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
