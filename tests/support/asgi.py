"""A real uvicorn on a free loopback port, in a thread, for any ASGI application."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

#: Nothing on loopback takes this long: a longer wait is a hang.
WAIT_S = 30


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class LiveServer:
    """A running server.

    :ivar port: where it listens on 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        defaults: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "on", "ws": "none"}
        self._server = _Server(uvicorn.Config(app, **(defaults | options)))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it listens."""
        self._thread.start()
        assert self._server.up.wait(WAIT_S), "the server did not start"

    def begin_stop(self) -> None:
        """Ask it to end, as SIGTERM does."""
        self._server.should_exit = True

    def stop(self) -> None:
        """End it and wait."""
        self.begin_stop()
        self._thread.join(WAIT_S)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not end"

    def connect(self) -> socket.socket:
        """Open a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)


@contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[LiveServer]:
    """Serve an application for the time of a with block.

    :param app: the application.
    :param options: of :class:`uvicorn.Config`.
    """
    server = LiveServer(app, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def read_answer(connection: socket.socket) -> http.client.HTTPResponse:
    """Read one HTTP answer from a raw connection; its body is read by ``.read()``."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer
