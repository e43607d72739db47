"""Reading a request's body within bounds of size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import Receive

#: A refused caller may still be sending. Closing on it would reset the connection and destroy the answer before it is
#: read, so what comes is thrown away for a moment: at most so many bytes and seconds.
LINGER_BYTES = 4 * 1024 * 1024
LINGER_S = 2.0


class BodyTooLarge(Exception):
    """More bytes than the limit."""


class BodyTooSlow(Exception):
    """The body did not end in time."""


async def read_body(receive: Receive, *, limit: int, timeout_s: float) -> bytes:
    """Read a whole body, whatever its Content-Length promised.

    :param receive: ASGI's receive.
    :param limit: bytes allowed.
    :param timeout_s: seconds for the whole body: a peer that trickles bytes gains nothing.
    :raises BodyTooLarge: at the first byte over the limit.
    :raises BodyTooSlow: the time is over.
    :raises ClientDisconnect: the peer went away before the end.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > limit:
                    raise BodyTooLarge
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as exc:
        raise BodyTooSlow from exc


async def discard_body(receive: Receive) -> None:
    """Throw away what a refused caller still sends, within bounds.

    :param receive: ASGI's receive.
    """
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
