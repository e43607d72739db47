"""The connection beneath HTTP, for answers that no HTTP framework would give: resets, halves and noise."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from typing import Any

import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Key of the asyncio transport in ``scope["extensions"]``.
TRANSPORT = "mm7.transport"


class _WithTransport:
    """Hands the connection's transport to the application, per connection."""

    def __init__(self, app: Application, transport: asyncio.Transport) -> None:
        self.app = app
        self.transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[TRANSPORT] = self.transport
        await self.app(scope, receive, send)


def protocol_class() -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol (httptools where installed, h11 otherwise) that shares its transport."""
    base: Any
    try:
        base = import_module("uvicorn.protocols.http.httptools_impl").HttpToolsProtocol
    except ImportError:
        base = import_module("uvicorn.protocols.http.h11_impl").H11Protocol

    class SandboxProtocol(base):  # type: ignore[misc]  # the base is chosen at run time
        app: Application

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.app = _WithTransport(self.app, transport)

    return SandboxProtocol


def transport_of(scope: Scope) -> asyncio.Transport:
    """The connection's transport.

    :raises ConnectionResetError: on a server that does not share it; the exception ends the connection there too.
    """
    transport = scope.get("extensions", {}).get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the sandbox's own server is needed to misbehave on the wire")
    return transport  # type: ignore[no-any-return]


async def reset(scope: Scope, receive: Receive) -> None:
    """End the connection with a TCP RST."""
    transport = transport_of(scope)
    # SO_LINGER with time 0 makes close() send RST instead of FIN (POSIX leaves it open, Linux and BSD do so).
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await until_gone(receive)


async def write_and_close(scope: Scope, receive: Receive, data: bytes) -> None:
    """Put bytes on the connection past the HTTP server, then close it."""
    transport = transport_of(scope)
    transport.write(data)
    transport.close()
    await until_gone(receive)


async def until_gone(receive: Receive) -> None:
    """Wait until the connection is closed, by us or by the peer."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Server(uvicorn.Server):
    """Ends at once when asked: connections that were promised an endless wait are cut."""

    #: Called once connections are taken.
    when_started: Callable[[], object] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.when_started is not None and self.started:
            self.when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection, then let uvicorn close the rest."""
        for connection in list(self.server_state.connections):
            transport: asyncio.Transport | None = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await super().shutdown(sockets)
