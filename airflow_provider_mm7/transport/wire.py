"""Connections that spend little on what is the same in every request.

urllib3 connects, speaks TLS, finds the way through proxies and keeps the pool. What it and http.client do for any
request and any answer would cost more than everything else of a message, so the usual case is done here: the head of a
POST is worked out once, by them, and leaves together with the body; an answer with a plain head and a Content-Length is
read as it is. Any other answer is theirs to read, from its first byte.
"""

from __future__ import annotations

import copy
import io
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPResponse as PlainResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from airflow_provider_mm7.exceptions import OutcomeUnknown

#: Seconds since its last answer after which a connection is not used again. The shortest keep-alive among common
#: servers is 2 s (gunicorn); under load a connection idles for milliseconds.
MAX_IDLE_S = 1.0
#: Bytes of an answer that are read; a SubmitRsp has about 1 KB.
MAX_ANSWER_BYTES = 1 << 20
READ_CHUNK_BYTES = 1 << 16
#: Bytes handed at once to a connection that takes no list of pieces. The connect time-out bounds each piece, so that a
#: large message may take a slow line, and one that does not move ends.
SEND_CHUNK_BYTES = 1 << 16
#: Pieces that one system call takes; Linux allows 1,024 (UIO_MAXIOV).
_MAX_PIECES = 256

#: Alerts by which a server refuses the client's certificate, or the lack of one (RFC 8446 clause 6.2), as OpenSSL names
#: them.
CERTIFICATE_ALERTS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)

#: A head that is read in one way by everybody (RFC 9112 clauses 4 and 5), of an answer that has a body.
_USUAL_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)([2-5][0-9]{2}) [^\r\n\0]*\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)+\r\n"
)
#: What of it matters. Framing and coding other than by Content-Length are left to urllib3.
_MATTERS = re.compile(
    rb"\r\n(content-length|content-type|retry-after|connection|transfer-encoding|content-encoding):"
    rb"[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)",
    re.IGNORECASE,
)
_LENGTH = re.compile(rb"[0-9]{1,7}")
_LENGTH_PLACE = b"\r\nContent-Length: 0\r\n"


class Outgoing:
    """A request body that knows whether its last byte was handed to the socket.

    With a Content-Length announced, a server that got less than the whole cannot have accepted the message (RFC 9112
    clause 8): a failure before the end is safe to send again, one after it is not.

    :ivar pieces: the body; shared pieces are not copied, since a hundred requests may share a megabyte.
    :ivar complete: whether it has left.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.complete = False

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for piece in self.pieces:
            if len(piece) <= SEND_CHUNK_BYTES:
                yield piece
                continue
            whole = memoryview(piece)
            for start in range(0, len(whole), SEND_CHUNK_BYTES):
                yield whole[start : start + SEND_CHUNK_BYTES]
        # Reached when the last send() has returned.
        self.complete = True

    def tell(self) -> int:
        """Tell Digest where to begin again."""
        return 0

    def seek(self, _: int) -> None:
        """Begin again: the server answered with HTTP 4xx, so nothing that was sent before counts."""
        self.complete = False


class HandshakeRefused(ssl.SSLError):
    """The server did not take our certificate, after our side of the handshake was done.

    In TLS 1.3 a client is done one step before the server: a request may leave before its certificate is looked at. The
    server must process Certificate and Finished before it reads what follows (RFC 8446 clause 4.4), so it has read none
    of the request.
    """

    def __init__(self, alert: ssl.SSLError) -> None:
        super().__init__(*alert.args)
        self.reason = alert.reason


class OneGo(Outgoing):
    """A body that leaves together with its head, and whose answer is read whole."""


class Answer:
    """A whole answer; its connection is free.

    :ivar headers: asked in lower case.
    """

    # What urllib3's pool looks at.
    version_string = "HTTP/1.1"
    length_remaining = 0

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection(HTTPConnection):
    """A connection of the pool. A :class:`OneGo` gets an :class:`Answer`, any other body what urllib3 gives."""

    _answered_at: float | None = None
    #: Whether the server may still refuse our certificate: TLS 1.3, and nothing was read since it connected.
    _unconfirmed = False
    #: The URL and the headers of a request in one go, and its head without the length.
    _head_of: tuple[object, ...] | None = None
    _head: tuple[bytes, bytes] = (b"", b"")
    #: The URL of the request in one go that waits for its answer.
    _in_one_go: str | None = None
    #: What came of an answer before it was left to http.client.
    _begun = b""
    _muted = False

    def request(  # type: ignore[override]  # as in its base class
        self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        """Send a request."""
        self._in_one_go = None
        if not isinstance(body, OneGo):
            super().request(method, url, body=body, headers=headers, **options)
            return
        before, after = self._head_for(url, headers or {})
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.timeout)
        self._in_one_go = url
        self._send_pieces([b"%b\r\nContent-Length: %d\r\n%b" % (before, len(body), after), *body.pieces])
        body.complete = True

    def _head_for(self, url: str, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return a request's head up to the line with its length, and from there on, as urllib3 would write it."""
        shared = {name: value for name, value in headers.items() if name != "Content-Length"}
        key = (url, *shared.items())
        if key != self._head_of:
            written: list[bytes] = []
            scribe = copy.copy(self)
            # A copy that sends nothing, with a buffer of its own (http.client's; a refused header would stay in it).
            scribe.__dict__ |= {"send": written.append, "_buffer": []}
            HTTPConnection.request(scribe, "POST", url, headers={**shared, "Content-Length": "0"})
            before, _, after = b"".join(written).partition(_LENGTH_PLACE)
            self._head_of, self._head = key, (before, after)
        return self._head

    def _send_pieces(self, pieces: list[bytes]) -> None:
        sock = self.sock
        if type(sock) is not socket.socket:
            # TLS takes one piece at a time.
            for piece in Outgoing(pieces):
                sock.sendall(piece)
            return
        left: list[bytes | memoryview] = [piece for piece in pieces if piece]
        while left:
            sent = sock.sendmsg(left[:_MAX_PIECES])
            done = 0
            while done < len(left) and sent >= len(left[done]):
                sent -= len(left[done])
                done += 1
            del left[:done]
            if sent:
                left[0] = memoryview(left[0])[sent:]

    def send(self, data: Any) -> None:
        """Send bytes, unless they have left already."""
        if not self._muted:
            super().send(data)

    def getresponse(self) -> Any:
        """Read the answer; whole, if the request left in one go."""
        url, self._in_one_go = self._in_one_go, None
        try:
            response = super().getresponse() if url is None else self._read_usual() or self._read_unusual(url)
        except ssl.SSLError as exc:
            if self._unconfirmed and exc.reason in CERTIFICATE_ALERTS:
                raise HandshakeRefused(exc) from exc
            raise
        self._unconfirmed = False
        self._answered_at = time.monotonic()
        return response

    def _read_usual(self) -> Answer | None:
        """Read an answer of the usual form; leave what came of any other in ``_begun``."""
        sock, limit_s = self.sock, _seconds(self.timeout)
        sock.settimeout(limit_s)
        deadline: float | None = None
        data = b""
        wanted = 0
        answer: tuple[int, dict[str, str]] | None = None
        while True:
            chunk = sock.recv(READ_CHUNK_BYTES)
            self._unconfirmed = False
            data += chunk
            if not wanted and (end := data.find(b"\r\n\r\n")) >= 0:
                answer, length = _usual(data[: end + 4])
                wanted = end + 4 + length
            if answer is not None and len(data) == wanted:
                return Answer(*answer, data[wanted - length :])
            if not chunk or (wanted and (answer is None or len(data) > wanted)) or len(data) > READ_CHUNK_BYTES:
                self._begun = data
                return None
            if limit_s is not None:
                deadline = deadline or time.monotonic() + limit_s
                if time.monotonic() > deadline:
                    raise OutcomeUnknown(_TOO_SLOW)

    def _read_unusual(self, url: str) -> Answer:
        """Have http.client and urllib3 read an answer, from its first byte."""
        self._muted = True
        try:
            # That a request has left is all that they need to know.
            super().request("POST", url, preload_content=False)
        finally:
            self._muted = False
        try:
            return read_whole(super().getresponse(), _seconds(self.timeout))
        finally:
            self._begun = b""

    def response_class(self, sock: Any, **options: Any) -> PlainResponse:  # type: ignore[override]
        """Make http.client's reader of one answer."""
        begun: Any = _Rewound(sock, self._begun)
        return PlainResponse(begun if self._begun else sock, **options)

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before it hands out a connection that was used before."""
        idled = self._answered_at is not None and time.monotonic() - self._answered_at >= MAX_IDLE_S
        return super().is_connected and not idled


class TlsConnection(Connection, HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        """Connect, as far as our side can tell."""
        super().connect()
        # Asked now: after an alert there is no telling.
        sock: Any = self.sock
        self._unconfirmed = sock.version() == "TLSv1.3"


_TOO_SLOW = "the MMSC's answer did not end within the read time-out"


def _seconds(timeout: Any) -> float | None:
    return timeout if isinstance(timeout, int | float) else None


def _usual(head: bytes) -> tuple[tuple[int, dict[str, str]] | None, int]:
    """Read a head: status and the headers that matter, and the length of the body; None where it is not usual."""
    found = _USUAL_HEAD.fullmatch(head)
    pairs = _MATTERS.findall(head)
    headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in pairs}
    if found is None or len(headers) != len(pairs) or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None, 0
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or "content-encoding" in headers or not _LENGTH.fullmatch(length.encode()):
        return None, 0
    return (int(found[1]), headers), int(length)


class _Rewound:
    """A socket of which some bytes were read, for a reader that wants them all."""

    def __init__(self, sock: Any, begun: bytes) -> None:
        self._sock, self._begun = sock, begun

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file of everything, from the first byte."""
        return io.BufferedReader(_RewoundFile(self._sock.makefile(mode, buffering=0), self._begun))


class _RewoundFile(io.RawIOBase):
    def __init__(self, rest: io.RawIOBase, begun: bytes) -> None:
        self._rest, self._begun = rest, begun

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._begun:
            return self._rest.readinto(buffer)
        taken = self._begun[: len(buffer)]
        buffer[: len(taken)] = taken
        self._begun = self._begun[len(taken) :]
        return len(taken)

    def close(self) -> None:
        self._rest.close()
        super().close()


def read_whole(response: BaseHTTPResponse, timeout_s: float | None) -> Answer:
    """Read an answer of any form, and free its connection.

    :param timeout_s: seconds for all of it.
    :raises OutcomeUnknown: it has no end.
    """
    try:
        if response.status < 200:
            # http.client takes 102 and 103 for the answer. The real one follows: this connection is closed.
            raise OutcomeUnknown(f"HTTP {response.status} in place of an answer")
        return Answer(response.status, response.headers, _read_body(response, timeout_s))
    finally:
        # To close it does not give its place in the pool back, where it is not read to its end.
        response.close()
        response.release_conn()


def _read_body(response: BaseHTTPResponse, timeout_s: float | None) -> bytes:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    unframed = "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
    body = bytearray()
    while True:
        try:
            chunk = response.read1(READ_CHUNK_BYTES, decode_content=True)
        except ReadTimeoutError:
            # Such an answer ends with its connection (RFC 9112 clause 6.3), which this server leaves open. Whether it
            # is whole is told by its XML.
            if unframed:
                return bytes(body)
            raise
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise OutcomeUnknown(f"the MMSC's answer is longer than {MAX_ANSWER_BYTES} bytes")
        if deadline is not None and time.monotonic() > deadline:
            raise OutcomeUnknown(_TOO_SLOW)
