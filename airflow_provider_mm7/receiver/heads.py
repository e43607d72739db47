"""What uvicorn leaves open over httptools: the size and time of heads, folds in them, and bodies in small chunks.

Strangers send heads: nobody's credentials are known before. Over h11, which uvicorn takes where httptools is not
installed, a head is bounded and unfolded by itself.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a head, and of whatever else is no body (trailers). A callback's head has under 2 KB.
MAX_HEAD_BYTES = 64 * 1024
#: Seconds for a whole head, and for the first one after connecting. A carrier sends it in one piece.
HEAD_TIMEOUT_S = 15.0

#: A line whose folds are replaced: a field, so not the request line; and none that tells where the request ends, since
#: a proxy that reads such a fold in another way would see another request.
_FOLDABLE = re.compile(rb"(?!content-length:|transfer-encoding:)[!#-'*+.^-z|~0-9A-Z-]+:", re.IGNORECASE)
#: Bytes of a line in which that is looked for.
_NAME_BYTES = 80

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Unfolder:
    """Takes the folds out of one head as it comes, for a parser that is as strict as before.

    Senders in Java fold a long Content-Type. RFC 9112 section 5.2 has a server refuse a fold or replace it by a space.

    :ivar done: whether the end of the head has come.
    """

    def __init__(self) -> None:
        self.done = False
        #: The end of what came: perhaps the beginning of a fold, or of the end.
        self._held = b""
        #: The beginning of the line that is being read.
        self._line = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes.

        :param data: of the head, and of what follows it.
        :return: what the parser can be given, with what was held back before.
        """
        data = self._held + data
        end = data.find(b"\r\n\r\n")
        self.done = end >= 0
        if not self.done:
            end = max(len(data.rstrip(b"\r\n")), len(data) - 3)
        elif data.find(b"\r\n ", 0, end) < 0 and data.find(b"\r\n\t", 0, end) < 0:
            return data
        first, *others = data[:end].split(b"\r\n")
        self._line += first[: _NAME_BYTES - len(self._line)]
        pieces = [first]
        for line in others:
            if line.startswith((b" ", b"\t")) and _FOLDABLE.match(self._line):
                pieces.append(b" " + line[1:])
            else:
                self._line = line[:_NAME_BYTES]
                pieces.append(b"\r\n" + line)
        self._held = data[end:]
        if self.done:
            pieces.append(self._held)
        return b"".join(pieces)


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests' heads are bounded in size and time, and may be folded.

    :cvar head_timeout_s: seconds for a whole head.
    """

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Of a body, as the parser gave them. Uvicorn copies what it has of a body for each.
        self._pieces: list[bytes] = []
        #: Bytes since the last that belonged to a whole head or to a body.
        self._pending = 0
        self._went_on = self._in_body = False
        self._between = True
        #: Of the head that is being read. None within a request, and for a head that a caller sends right behind a
        #: request, without waiting for the answer: where it begins is not known here, and its folds are refused.
        self._unfolder: Unfolder | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head.

        :param transport: the connection.
        """
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more.

        :param exc: why, if not in order.
        """
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they lead nowhere.

        :param data: the bytes.
        """
        self._went_on = False
        received = len(data)
        if self._between and self._unfolder is None:
            self._unfolder = Unfolder()
        if self._unfolder is not None:
            data = self._unfolder.feed(data)
            self._unfolder = None if self._unfolder.done else self._unfolder
        super().data_received(data)
        self._pass_body()
        if self._went_on:
            self._pending = 0
            return
        self._pending += received
        if self.transport.is_closing():
            return
        if self._pending > MAX_HEAD_BYTES:
            self.send_400_response("The head of the request is too large.")
        elif self.cycle is None or self.cycle.response_complete:
            self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a head; trailers are no part of it (RFC 9110 section 6.5.1).

        :param name: its name.
        :param value: its value.
        """
        if not self._in_body:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_body = self._between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_body = self._went_on = True
        self._have_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body.

        :param body: the piece.
        """
        self._went_on = True
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._went_on = self._between = True
        self._pass_body()
        super().on_message_complete()

    def _pass_body(self) -> None:
        if self._pieces:
            super().on_body(b"".join(self._pieces))
            self._pieces.clear()

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = asyncio.get_running_loop().call_later(self.head_timeout_s, self._too_slow)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()
