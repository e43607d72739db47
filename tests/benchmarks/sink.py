"""An MMSC that costs next to nothing: takes any POST with a Content-Length and accepts it. Run as a process of its own.

One thread over epoll. Of a request it reads the head and the SOAP part; the rest is thrown away by the kernel without
being copied (``MSG_TRUNC``, tcp(7)), so that the sink is not what a benchmark measures. Answers may be held back for a
latency, during which other connections are served.

``GET /_sink/stats`` tells what arrived, ``POST /_sink/reset?latency_ms=50`` forgets it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import heapq
import json
import re
import select
import socket
import sys
import time
from collections import Counter
from itertools import count
from urllib.parse import parse_qs, urlsplit

#: Bytes that are read while the head or the TransactionID is looked for.
HEAD_BYTES = 1 << 14
#: Bytes of a request in which its TransactionID must stand.
LOOK_BYTES = 1 << 16
#: Bytes thrown away at once.
DISCARD_BYTES = 1 << 20
BACKLOG = 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_TRANSACTION = re.compile(rb"TransactionID[^<>]*>\s*([^<\s]*)")

#: TS 23.140 clause 6.1.2: SubmitRsp, with the request's TransactionID.
_ANSWER = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<soap-env:Envelope xmlns:soap-env="http://schemas.xmlsoap.org/soap/envelope/"><soap-env:Header>'
    b'<mm7:TransactionID xmlns:mm7="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"'
    b' soap-env:mustUnderstand="1">%b</mm7:TransactionID></soap-env:Header><soap-env:Body>'
    b'<SubmitRsp xmlns="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3">'
    b"<MM7Version>5.3.0</MM7Version><Status><StatusCode>1000</StatusCode><StatusText>Success</StatusText></Status>"
    b"<MessageID>%b</MessageID></SubmitRsp></soap-env:Body></soap-env:Envelope>"
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"


class Connection:
    """One client's connection and how far its request has come."""

    __slots__ = ("close_after", "data", "left", "requests", "sock", "target", "transaction_id")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        #: What was read and is not understood yet.
        self.data = b""
        #: Bytes of the body that have not arrived; None until the head has.
        self.left: int | None = None
        self.target = b""
        self.transaction_id: bytes | None = None
        self.close_after = False
        self.requests = 0


class Tally:
    """What arrived since the last reset. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.transactions: Counter[bytes] = Counter()
        self.connections = 0
        #: Requests on each connection that was closed.
        self.closed: list[int] = []
        self.in_flight = 0
        self.peak_in_flight = 0

    def as_json(self, open_connections: list[int], *, arrivals: bool) -> dict[str, object]:
        """Return counts, and the arrival times if they are asked for.

        :param open_connections: requests on each connection that is open.
        """
        named = sum(self.transactions.values())
        found: dict[str, object] = {
            "requests": len(self.arrivals),
            "duplicates": named - len(self.transactions),
            "without_transaction_id": len(self.arrivals) - named,
            "connections": self.connections,
            "per_connection": sorted(self.closed + open_connections, reverse=True),
            "peak_in_flight": self.peak_in_flight,
        }
        if arrivals:
            found["arrivals"] = self.arrivals
        return found


class Sink:
    """The server.

    :param latency_s: seconds between a whole request and its answer.
    """

    def __init__(self, port: int = 0, *, latency_s: float = 0.0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._latency_s = latency_s
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[float, int, Connection]] = []
        self._number = count(1)
        self._scratch = bytearray(DISCARD_BYTES)
        self._tally = Tally()

    def serve(self) -> None:
        """Serve until standard input ends: with its owner, however that ends."""
        listener, owner = self._listener.fileno(), sys.stdin.fileno()
        with contextlib.suppress(PermissionError):
            # What is no pipe or terminal cannot be waited for.
            self._poll.register(owner, select.EPOLLIN)
        while True:
            for fd, _ in self._events():
                if fd == listener:
                    self._accept()
                elif fd == owner:
                    return
                elif connection := self._connections.get(fd):
                    try:
                        self._read(connection)
                    except OSError:
                        self._forget(connection)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                connection = heapq.heappop(self._due)[2]
                try:
                    self._answer(connection)
                except OSError:
                    self._forget(connection)

    def _events(self) -> list[tuple[int, int]]:
        if not self._due:
            return self._poll.poll()
        # epoll waits in whole milliseconds, which would add 1 % to a latency of 50 ms; select does not.
        select.select([self._poll], (), (), max(self._due[0][0] - time.monotonic(), 0))
        return self._poll.poll(0)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = Connection(sock)
            self._poll.register(sock, select.EPOLLIN)

    def _forget(self, connection: Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None) is None:
            return
        connection.sock.close()
        if connection.requests:
            self._tally.closed.append(connection.requests)

    def _read(self, connection: Connection) -> None:
        if connection.left and connection.transaction_id is not None:
            most = min(connection.left, DISCARD_BYTES)
            try:
                got = connection.sock.recv_into(self._scratch, most, socket.MSG_TRUNC)
            except BlockingIOError:
                return
            if not got:
                self._forget(connection)
                return
            connection.left -= got
            if not connection.left:
                self._arrived(connection)
            return
        try:
            data = connection.sock.recv(HEAD_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._forget(connection)
            return
        connection.data += data
        if connection.left is None:
            self._read_head(connection)
        else:
            connection.left -= len(data)
            self._look(connection)

    def _read_head(self, connection: Connection) -> None:
        head, found, body = connection.data.partition(b"\r\n\r\n")
        if not found:
            return
        connection.target = head.split(b" ", 2)[1]
        length = _LENGTH.search(head)
        connection.left = (int(length[1]) if length else 0) - len(body)
        connection.close_after = _CLOSE.search(head) is not None
        connection.data = body
        if connection.left > 0 and not body and _EXPECT.search(head):
            connection.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._look(connection)

    def _look(self, connection: Connection) -> None:
        """Find the TransactionID in what has come of the body."""
        if match := _TRANSACTION.search(connection.data):
            # The value may be cut where the next piece begins.
            if match.end() < len(connection.data) or not connection.left:
                connection.transaction_id = match[1]
        elif len(connection.data) >= LOOK_BYTES or not connection.left:
            connection.transaction_id = b""
        if not connection.left:
            self._arrived(connection)

    def _arrived(self, connection: Connection) -> None:
        if connection.target.startswith(b"/_sink/"):
            self._control(connection)
            return
        now = time.monotonic()
        tally = self._tally
        tally.arrivals.append(now)
        if connection.transaction_id:
            tally.transactions[connection.transaction_id] += 1
        if not connection.requests:
            tally.connections += 1
        connection.requests += 1
        tally.in_flight += 1
        tally.peak_in_flight = max(tally.peak_in_flight, tally.in_flight)
        if self._latency_s:
            heapq.heappush(self._due, (now + self._latency_s, len(tally.arrivals), connection))
        else:
            self._answer(connection)

    def _answer(self, connection: Connection) -> None:
        self._tally.in_flight -= 1
        body = _ANSWER % (connection.transaction_id or b"", b"sink-%d" % next(self._number))
        self._send(connection, b'text/xml; charset="utf-8"', body)

    def _send(self, connection: Connection, content_type: bytes, body: bytes) -> None:
        connection.data, connection.left, connection.transaction_id = b"", None, None
        connection.sock.sendall(_HEAD % (content_type, len(body), body))
        if connection.close_after:
            self._forget(connection)

    def _control(self, connection: Connection) -> None:
        url = urlsplit(connection.target.decode("latin-1"))
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/_sink/reset":
            self._latency_s = float(asked.get("latency_ms", 0)) / 1000
            self._tally = Tally()
            for other in self._connections.values():
                other.requests = 0
        counts = [other.requests for other in self._connections.values() if other.requests]
        said = json.dumps(self._tally.as_json(counts, arrivals="arrivals" in asked)).encode()
        connection.sock.setblocking(True)
        self._send(connection, b"application/json", said)
        self._forget(connection)


def main() -> int:
    """Serve until standard input ends; the first line on standard output is the port."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS")
    asked = parser.parse_args()
    sink = Sink(asked.port, latency_s=asked.latency / 1000)
    gc.disable()
    print(sink.port, flush=True)
    sink.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
