"""A loopback HTTP server that does on each connection just what a test tells it, byte by byte."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Bound for every wait on the server's side.
TIMEOUT_S = 20.0


@dataclass
class Request:
    """What a client sent: start line and headers as text, body as bytes."""

    head: str
    body: bytes

    def header(self, name: str) -> str | None:
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


@dataclass
class Exchange:
    """One connection: read what is needed, answer what is wanted."""

    sock: socket.socket
    server: ScriptedServer

    def read_head(self) -> tuple[str, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.sock.recv(65536)
            if not chunk:
                return "", data
            data += chunk
        head, _, rest = data.partition(b"\r\n\r\n")
        return head.decode("latin-1"), rest

    def read(self) -> Request:
        head, body = self.read_head()
        request = Request(head, b"")
        length = int(request.header("Content-Length") or 0)
        while len(body) < length:
            chunk = self.sock.recv(65536)
            if not chunk:
                break
            body += chunk
        request.body = body
        self.server.requests.append(request)
        return request

    def answer(
        self,
        status: str = "200 OK",
        body: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        lines = {"Content-Type": "text/xml", "Content-Length": str(len(body) if length is None else length)}
        lines.update(headers or {})
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items()) + "\r\n"
        self.sock.sendall(head.encode() + body)

    def reset(self) -> None:
        """Close with RST, so that the client sees a reset and no end of stream."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Exchange], None]


@dataclass
class ScriptedServer:
    """Runs ``script`` for every connection; :attr:`requests` is what it received."""

    script: Script
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    #: 0: any that is free.
    wanted_port: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.wanted_port))
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/mm7"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT_S)
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with sock:
                self.script(Exchange(sock, self))
        except OSError:
            # The client went away, which is what many scripts are about.
            sock.close()

    def close(self) -> None:
        self.released.set()
        # Wakes accept() on every platform, where close() alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(TIMEOUT_S)
        for thread in self._threads:
            thread.join(TIMEOUT_S)


@contextmanager
def scripted(script: Script, *, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[ScriptedServer]:
    """Run a scripted server for the length of a ``with`` block."""
    server = ScriptedServer(script, tls, wanted_port=port)
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
