"""A raw HTTP message, as captures and documentation print it."""

from __future__ import annotations

import re
import zlib

from airflow_provider_mm7.exceptions import MultipartError
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits, exceeded
from airflow_provider_mm7.protocol.mime import read_fields

_START_LINE = re.compile(
    rb"\s{0,16}(?:[A-Z]{1,16} [^\r\n]{1,8000} HTTP/[0-9.]{1,4}|HTTP/[0-9.]{1,4} [0-9]{3}[^\r\n]{0,500})\r?\n"
)
#: Interim answers, 100 Continue above all, stand before the final one (RFC 9110 section 15.2).
_INTERIM = re.compile(
    rb"(?:\s{0,16}HTTP/[0-9.]{1,4} 1[0-9]{2}[^\r\n]{0,500}\r?\n(?:[^\r\n]{1,500}\r?\n){0,16}\r?\n){0,4}"
)
_FIELD_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,75}[ \t]*:[^\r\n]{0,8000}\r?\n")
_GZIP = b"\x1f\x8b"
#: zlib's parameter for gzip's own header and trailer.
_GZIP_WBITS = 16 + zlib.MAX_WBITS
#: Writers fill a buffer of some kilobytes before they send it.
_MAX_CHUNKS = 100_000
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")


def read_http(raw: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[bytes, str | None]:
    """Take the HTTP headers off a message.

    Content-Length is not believed: documentation prints ``nnnn``, and a file with LF is shorter than what was sent.

    :param raw: start line, headers and body, headers and body, or a body alone; lines end with CRLF or LF.
    :param limits: ``header_bytes`` and, for a compressed body, ``body_bytes``.
    :return: the body, and the Content-Type where there is one.
    :raises ProtocolError: headers too long, or chunks or a compressed body cut off.
    """
    start = _START_LINE.match(raw, _INTERIM.match(raw).end())  # type: ignore[union-attr]
    if start is None and not _FIELD_LINE.match(raw):
        return raw, None
    fields, at = read_fields(raw, start.end() if start else 0, len(raw), limits=limits)
    body = raw[at:]
    if "chunked" in fields.get("transfer-encoding", "").lower() and _CHUNK.match(body):
        body = _join_chunks(body)
    # Some captures keep the header of a body that they have unpacked.
    if "gzip" in fields.get("content-encoding", "").lower() and body.startswith(_GZIP):
        body = _unpack(body, limits)
    return body, fields.get("content-type")


def _unpack(body: bytes, limits: Limits) -> bytes:
    unpacker = zlib.decompressobj(wbits=_GZIP_WBITS)
    try:
        unpacked = unpacker.decompress(body, limits.body_bytes + 1)
    except zlib.error as exc:
        raise MultipartError("the compressed body cannot be unpacked") from exc
    if len(unpacked) > limits.body_bytes:
        raise exceeded("body_bytes", limits.body_bytes)
    if not unpacker.eof:
        raise MultipartError("the compressed body is cut off")
    return unpacked


def _join_chunks(body: bytes) -> bytes:
    """Join a chunked body (RFC 9112 section 7.1)."""
    pieces: list[bytes] = []
    at = 0
    while match := _CHUNK.match(body, at):
        if len(pieces) == _MAX_CHUNKS:
            raise exceeded("chunks", _MAX_CHUNKS)
        size = int(match[1], 16)
        if size == 0:
            return b"".join(pieces)
        pieces.append(body[match.end() : match.end() + size])
        at = match.end() + size
        at += 2 if body.startswith(b"\r\n", at) else 1
    raise MultipartError("the chunked body is cut off")
