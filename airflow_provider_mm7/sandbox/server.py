"""Runs the sandbox: in the foreground for people, in a thread for tests."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from types import TracebackType

import uvicorn

from airflow_provider_mm7.sandbox.app import create_app
from airflow_provider_mm7.sandbox.settings import Settings
from airflow_provider_mm7.sandbox.wire import Server, protocol_class

#: Connections waiting to be taken; a batch opens some hundred at the same moment.
BACKLOG = 2048
_SHUTDOWN_S = 1
_START_S = 10.0


def bind(settings: Settings) -> socket.socket:
    """A listening socket; port 0 picks a free one.

    :raises OSError: the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """``http://127.0.0.1:8077``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(settings: Settings) -> Server:
    """The server, not yet started."""
    config = uvicorn.Config(
        create_app(settings),
        http=protocol_class(),
        ws="none",
        lifespan="on",
        loop="asyncio",
        access_log=False,
        log_level=logging.WARNING,
        log_config=None,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    return Server(config)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    :raises OSError: the port is taken.
    """
    listener = bind(settings)
    server = make_server(settings)
    server.when_started = lambda: print(f"MM7 sandbox listening on {address_of(listener)}/mm7", flush=True)
    # What is there by now stays. A full collection over it holds up every answer for 70 ms, and dates arrivals late.
    gc.freeze()
    server.run(sockets=[listener])


class SandboxServer:
    """A sandbox in a thread of this process.

    .. code-block:: python

        with SandboxServer(Settings(port=0)) as sandbox:
            requests.post(sandbox.url, ...)

    :param settings: what it is told.
    """

    def __init__(self, settings: Settings) -> None:
        self._listener = bind(settings)
        #: ``http://127.0.0.1:PORT``.
        self.base_url = address_of(self._listener)
        #: Where clients post.
        self.url = f"{self.base_url}/mm7"
        self._server = make_server(settings)
        self._started = threading.Event()
        self._server.when_started = self._started.set
        self._thread = threading.Thread(
            target=self._server.run, args=([self._listener],), name="mm7-sandbox", daemon=True
        )

    def start(self) -> SandboxServer:
        """Start and wait until it answers.

        :raises TimeoutError: it did not start.
        """
        self._thread.start()
        if not self._started.wait(_START_S):
            raise TimeoutError("the sandbox did not start")
        return self

    def stop(self) -> None:
        """End it and every connection to it."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> SandboxServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
