"""Stands before an HTTP server, passes on what is said, and counts what is asked for."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter
from types import TracebackType
from typing import Self

#: Clients send the head of a request at once, so it begins a piece of what is read.
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
PIECE_BYTES = 1 << 16


class Wiretap:
    """A listening port whose connections lead to another one.

    :param port: of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: (method, path with query) -> times.
        self.asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def gets(self, part: str) -> dict[str, int]:
        """Return how often each object was asked for whose path holds this."""
        found: Counter[str] = Counter()
        with self._lock:
            for (method, target), times in self.asked.items():
                path = target.partition("?")[0]
                if method == "GET" and part in path:
                    found[path] += times
        return dict(found)

    def forget(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self.asked.clear()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, listens in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, listens), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, listens: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if listens and (match := _REQUEST.match(piece)):
                    with self._lock:
                        self.asked[match[1].decode(), match[2].decode("latin-1")] += 1
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A close alone does not wake the accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
