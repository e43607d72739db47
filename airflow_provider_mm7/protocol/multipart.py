"""Multipart read as peers write it (RFC 2045, 2046, 2387, and docs/decisions/0001-reading-multipart.rst).

The body is never copied as a whole: containers are ranges of it, only leaves are cut out and decoded.
"""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_mm7.exceptions import MultipartError
from airflow_provider_mm7.protocol import mime
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits, exceeded

#: RFC 2045 section 5.2.
DEFAULT_CONTENT_TYPE = "text/plain; charset=us-ascii"

#: What WSP calls its multiparts, which are binary; gateways that write them out as MIME leave the name (OMA WAP-230
#: section 8.5).
_WAP_MULTIPARTS = frozenset(
    f"application/vnd.wap.multipart.{subtype}" for subtype in ("mixed", "related", "alternative")
)

_WHITE_SPACE = re.compile(rb"[ \t]*+")
_DASHED_LINE = re.compile(rb"^(--[^\r\n]{1,100}+)\r?$", re.MULTILINE)
#: A transfer encoding's name, in quotes or before a comment with some peers (RFC 2045 section 6.1 takes comments).
_TOKEN = re.compile(r'[\s"]*+([A-Za-z0-9-]++)')
_PADDING = re.compile(rb"=[=\s]*+")
#: Bytes before the first delimiter where we have to guess it.
_MAX_PREAMBLE = 64 * 1024
#: Places that look like a delimiter and are none. More than a few are no accident.
_MAX_LOOK_ALIKES = 10_000
#: Padding characters in one base64 body: one block of 1 KiB after the other in 2 MiB.
_MAX_PADDING = 4096
_LF, _CR = 10, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A MIME entity: a leaf with its decoded body, or a multipart with children.

    :ivar content_type: the whole header value; RFC 2045's default when absent.
    :ivar media_type: its type and subtype in lower case.
    :ivar parameters: its parameters by lower-case name.
    :ivar content_id: without ``<>``; None when absent.
    :ivar content_location: the header's value; None when absent.
    :ivar name: ``name`` of Content-Type or ``filename`` of Content-Disposition; None when absent.
    :ivar body: decoded bytes of a leaf.
    :ivar children: of a multipart; None for a leaf.
    """

    content_type: str
    media_type: str
    parameters: dict[str, str]
    content_id: str | None = None
    content_location: str | None = None
    name: str | None = None
    body: bytes = b""
    children: tuple[Entity, ...] | None = None

    def leaves(self) -> Iterator[Entity]:
        """Walk the leaves in the order of the wire."""
        if self.children is None:
            yield self
            return
        for child in self.children:
            yield from child.leaves()


def read_entity(body: bytes, content_type: str, *, limits: Limits = DEFAULT_LIMITS) -> Entity:
    """Read a body whose Content-Type stands outside it, in the HTTP headers.

    :param body: the whole body; a byte order mark before it is none of it.
    :param content_type: value of the header.
    :param limits: bounds; ``body_bytes`` is not checked here.
    :raises MultipartError: a multipart without its delimiters, or cut off.
    :raises LimitExceeded: nested too deep, too many parts, headers too long.
    """
    start = len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0
    return _Reader(body, limits).entity({"content-type": content_type}, start, len(body), depth=0)


def begins_with_preamble(body: bytes) -> bool:
    """Tell whether a body without Content-Type holds a line that can only be a delimiter."""
    return _DASHED_LINE.search(body, 0, _MAX_PREAMBLE) is not None


class _Reader:
    """State of one reading: the what may still come."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.parts_left = limits.parts
        self.look_alikes_left = _MAX_LOOK_ALIKES

    def entity(self, fields: dict[str, str], start: int, end: int, *, depth: int) -> Entity:
        """Read the entity whose body is ``data[start:end]``."""
        content_type = fields.get("content-type") or DEFAULT_CONTENT_TYPE
        media_type, parameters = mime.parse_parameters(content_type)
        boundary = parameters.get("boundary", "")
        children: tuple[Entity, ...] | None = None
        body = b""
        if media_type.startswith("multipart/") or (
            media_type in _WAP_MULTIPARTS and self.named_delimiter(boundary, start, end) is not None
        ):
            children = tuple(self.children(boundary, start, end, depth=depth + 1))
        else:
            body = _decode(self.data[start:end], fields.get("content-transfer-encoding", ""))
        disposition = mime.parse_parameters(fields.get("content-disposition", ""))[1]
        return Entity(
            content_type=content_type,
            media_type=media_type,
            parameters=parameters,
            content_id=mime.strip_id(fields.get("content-id", "")) or None,
            content_location=fields.get("content-location") or None,
            name=mime.file_name(parameters, "name") or mime.file_name(disposition, "filename"),
            body=body,
            children=children,
        )

    def children(self, boundary: str, start: int, end: int, *, depth: int) -> Iterator[Entity]:
        """Read the parts of a multipart whose body is ``data[start:end]``."""
        if depth > self.limits.mime_depth:
            raise exceeded("mime_depth", self.limits.mime_depth)
        ranges, closed = self.split(self.delimiter(boundary, start, end), start, end)
        # An unclosed multipart inside a closed one came whole: RFC 2046 section 5.1.2 lets the outer delimiter end it.
        if not closed and depth == 1:
            raise MultipartError("the multipart is cut off: its closing delimiter is missing")
        for part_start, part_end in ranges:
            fields, body_start = mime.read_fields(self.data, part_start, part_end, limits=self.limits)
            yield self.entity(fields, body_start, part_end, depth=depth)

    def delimiter(self, boundary: str, start: int, end: int) -> bytes:
        """Find how the parts are really delimited; some peers give no boundary, or another one."""
        named = self.named_delimiter(boundary, start, end)
        if named is not None:
            return named
        match = _DASHED_LINE.search(self.data, start, min(end, start + _MAX_PREAMBLE))
        if match is None:
            raise MultipartError("the multipart holds no delimiter")
        return match[1].rstrip()

    def named_delimiter(self, boundary: str, start: int, end: int) -> bytes | None:
        """Find the delimiter of a boundary; some peers count the leading ``--`` as part of it."""
        named = boundary.encode("utf-8", "replace")
        for candidate in (b"--" + named, named):
            if named and candidate.startswith(b"--") and next(self.lines(candidate, start, end), None):
                return candidate
        return None

    def lines(self, delimiter: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Find the delimiter lines: where each starts, where the next line starts, and whether it is the closing one.

        RFC 2046 section 5.1.1: at the start of a line, then optional ``--``, then only white space. So a boundary
        that is the beginning of another one is told from it, and look-alikes within media are none.
        """
        data = self.data
        at = data.find(delimiter, start, end)
        while at >= 0:
            after = at + len(delimiter)
            if at == start or data[at - 1] == _LF:
                closing = data.startswith(b"--", after, end)
                eol = _WHITE_SPACE.match(data, after + 2 * closing, end).end()  # type: ignore[union-attr]
                if eol < end and data[eol] == _CR:
                    eol += 1
                if eol == end or data[eol] == _LF:
                    yield at, min(eol + 1, end), closing
            self.look_alikes_left -= 1
            if self.look_alikes_left < 0:
                raise exceeded("look_alikes", _MAX_LOOK_ALIKES)
            at = data.find(delimiter, after, end)

    def split(self, delimiter: bytes, start: int, end: int) -> tuple[list[tuple[int, int]], bool]:
        """Cut a multipart's body into its parts.

        :return: range of each part, headers included, and whether the multipart was closed.
        """
        ranges: list[tuple[int, int]] = []
        opened = -1
        for at, after, closing in self.lines(delimiter, start, end):
            if opened >= 0:
                ranges.append((opened, self.line_end(opened, at)))
                self.count_part()
            opened = after
            if closing:
                return ranges, True
        if self.data[opened:end].strip():
            self.count_part()
            ranges.append((opened, end))
        return ranges, False

    def count_part(self) -> None:
        self.parts_left -= 1
        if self.parts_left < 0:
            raise exceeded("parts", self.limits.parts)

    def line_end(self, start: int, delimiter: int) -> int:
        """Give where a part ends: the line break before a delimiter belongs to the delimiter.

        Where the line that opened the part ended in LF alone, a CR before the next one is content: a picture's last
        byte may be one.
        """
        end = max(start, delimiter - 1)
        broken_by_crlf = self.data.endswith(b"\r\n", 0, start)
        return end - 1 if broken_by_crlf and end > start and self.data[end - 1] == _CR else end


def _decode(body: bytes, encoding: str) -> bytes:
    """Undo the transfer encoding. 7bit, 8bit, binary and whatever peers invent for them leave bytes as they are."""
    token = _TOKEN.match(encoding)
    match token[1].lower() if token else "":
        case "base64":
            return _decode_base64(body)
        case "quoted-printable":
            return binascii.a2b_qp(body)
        case _:
            return body


def _decode_base64(body: bytes) -> bytes:
    """Decode base64, and what is not in its alphabet is skipped (RFC 2045 section 6.8).

    Some encoders pad every block they write: nothing after the first padding is lost.
    """
    if body.count(b"=") > _MAX_PADDING:
        raise MultipartError("a base64 body is padded throughout")
    try:
        view, pieces, at = memoryview(body), [], 0
        for end in (*(match.end() for match in _PADDING.finditer(body)), len(body)):
            pieces.append(_decode_block(view[at:end]))
            at = end
        return b"".join(pieces)
    except binascii.Error as exc:
        raise MultipartError("a base64 body is cut off") from exc


def _decode_block(block: memoryview) -> bytes:
    try:
        return binascii.a2b_base64(block)
    except binascii.Error:
        # Padding that a peer left out is none of the content.
        return binascii.a2b_base64(bytes(block) + b"==")
