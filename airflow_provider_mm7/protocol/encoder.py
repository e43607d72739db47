"""Multipart as we write it (RFC 2045, 2046, 2387), on requests-toolbelt's MultipartEncoder.

Nothing here is random: boundaries are arguments. Within encoded content no line begins with ``--``, since base64 has no
hyphen and a text that has such a line travels as base64: no boundary can ever occur in it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from requests_toolbelt.multipart.encoder import MultipartEncoder
from urllib3.fields import RequestField

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol.mime import parse_parameters
from airflow_provider_mm7.protocol.parts import Part

#: One MMSC rejects odd boundary characters that are legal. RFC 2046 section 5.1.1: at most 70.
_BOUNDARY = re.compile(r"[A-Za-z0-9]{1,70}")
#: What needs no escaping in a cid: URL (RFC 2392), so that the href and the header spell it alike.
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@=+$~*!-]{1,200}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,900}")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
#: RFC 2045 section 2.7: lines of 7bit data have at most 998 characters, end with CRLF and hold no NUL. CR or LF alone
#: and a line that could be a delimiter go to base64 as well.
_SEVEN_BIT = re.compile(rb"(?:(?!--)[^\x00\r\n\x80-\xff]{0,998}+(?:\r\n|\Z))*+")

#: Bytes from which a chunk is shared and not copied: below, a copy costs less than a system call of its own.
SHARED_FROM_BYTES = 16 * 1024

Headers = Mapping[str, str]


class RelatedEncoder(MultipartEncoder):  # type: ignore[misc]  # no stubs
    """The toolbelt's encoder for parts with MIME headers of their own, in place of form fields.

    :param parts: headers and encoded body of each part.
    :param boundary: plain letters and digits.
    :param subtype: ``related`` or ``mixed``.
    :param parameters: of the Content-Type, before the boundary.
    :raises InputError: the boundary is not plain.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Headers, bytes]],
        *,
        boundary: str,
        subtype: str,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise InputError("boundary", "is not 1 to 70 letters and digits", "Use uuid4().hex.")
        self._subtype = subtype
        self._parameters = {**(parameters or {}), "boundary": boundary}
        super().__init__(parts, boundary=boundary)

    def _iter_fields(self) -> Iterator[RequestField]:
        for headers, body in self.fields:
            yield RequestField("", body, headers=headers)

    @property
    def content_type(self) -> str:
        """Value of the Content-Type header."""
        parameters = "".join(f'; {name}="{value}"' for name, value in self._parameters.items())
        return f"multipart/{self._subtype}{parameters}"

    def chunks(self) -> tuple[bytes, ...]:
        """Give the bytes of ``read()`` in pieces, with each body as the object it was given."""
        pieces: list[bytes] = []
        lead = b""
        for part, (_, body) in zip(self.parts, self.fields, strict=True):
            pieces += (lead + self._encoded_boundary + part.headers, body)
            lead = b"\r\n"
        return (*pieces, f"\r\n{self.boundary}--\r\n".encode("ascii"))


def join_small(chunks: Iterable[bytes]) -> tuple[bytes, ...]:
    """Join neighbours that are small; large chunks stay the objects they are."""
    joined: list[bytes] = []
    small: list[bytes] = []
    for chunk in chunks:
        if len(chunk) < SHARED_FROM_BYTES:
            small.append(chunk)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(chunk)
    if small:
        joined.append(b"".join(small))
    return tuple(joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPart:
    """One part as it goes on the wire, to be shared by any number of contents.

    :ivar content_id: without ``<>``; None when the part has none.
    :ivar headers: its MIME headers.
    :ivar body: after the transfer encoding that the headers name.
    """

    content_id: str | None
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The media of a message, encoded once, to be shared by any number of payloads.

    :ivar content_id: by which Content refers to it.
    :ivar content_type: value of its Content-Type header.
    :ivar chunks: the inner multipart in pieces; a large body is the object of its :class:`EncodedPart`, not a copy.
    :ivar boundary: of the inner multipart.
    """

    content_id: str
    content_type: str
    chunks: tuple[bytes, ...]
    boundary: str

    @property
    def body(self) -> bytes:
        """The inner multipart as one bytes object (a copy)."""
        return b"".join(self.chunks)

    @property
    def size(self) -> int:
        """Bytes after encoding."""
        return sum(map(len, self.chunks))


def encode_part(part: Part, *, field: str = "part") -> EncodedPart:
    """Encode one part, once for all the messages that show it.

    :param field: by which errors name it.
    :raises InputError: something that no MIME header can carry.
    """
    headers, body = _encode_part(part, field)
    return EncodedPart(content_id=part.content_id, headers=headers, body=body)


def encode_content(
    parts: Sequence[Part | EncodedPart],
    *,
    content_id: str,
    boundary: str,
    smil: Part | None = None,
) -> Content:
    """Encode the media of a message.

    :param parts: what is shown, in order; what is encoded already is used as it is and not copied.
    :param content_id: by which Content will refer to the whole.
    :param boundary: plain letters and digits.
    :param smil: the presentation; with it the result is multipart/related and begins with it (RFC 2387), without it
        multipart/mixed.
    :return: an inner multipart, on the vendor's page even around a single part.
    :raises InputError: nothing to encode, or something that no MIME header can carry.
    """
    every: list[Part | EncodedPart] = [*parts] if smil is None else [smil, *parts]
    if not every:
        raise InputError("content", "holds no part", "Give a text or media.")
    check_content_id(content_id, "content_id")
    seen = {content_id}
    encoded = []
    for number, part in enumerate(every):
        if part.content_id in seen:
            raise InputError(f"parts[{number}].content_id", "occurs twice", "Give each part an id of its own.")
        seen.update(() if part.content_id is None else (part.content_id,))
        done = part if isinstance(part, EncodedPart) else encode_part(part, field=f"parts[{number}]")
        encoded.append((done.headers, done.body))
    parameters: dict[str, str] = {}
    if smil is not None:
        if smil.content_id is None:
            raise InputError("smil.content_id", "is missing", "Give the presentation an id, to start with it.")
        parameters = {"type": "application/smil", "start": f"<{smil.content_id}>"}
    encoder = RelatedEncoder(
        encoded, boundary=boundary, subtype="mixed" if smil is None else "related", parameters=parameters
    )
    return Content(
        content_id=content_id, content_type=encoder.content_type, chunks=join_small(encoder.chunks()), boundary=boundary
    )


def check_content_id(value: str, field: str) -> None:
    """Make sure that an id can stand in a header and in a cid: URL alike.

    :raises InputError: it cannot.
    """
    if not _CONTENT_ID.fullmatch(value):
        raise InputError(field, "is no plain Content-ID", "Use letters, digits and . _ - @ only.")


def _encode_part(part: Part, field: str) -> tuple[Headers, bytes]:
    headers = {"Content-Type": _content_type(part, field)}
    if part.content_id is not None:
        check_content_id(part.content_id, f"{field}.content_id")
        headers["Content-ID"] = f"<{part.content_id}>"
    if part.content_location is not None:
        headers["Content-Location"] = _header_value(part.content_location, f"{field}.content_location")
    is_text = part.content_type[:5].lower() == "text/" or "smil" in part.content_type[:30].lower()
    if is_text and _SEVEN_BIT.fullmatch(part.body):
        return headers, part.body
    headers["Content-Transfer-Encoding"] = "base64"
    # RFC 2045 section 6.8: lines of 76 characters. The last line break belongs to the delimiter.
    return headers, base64.encodebytes(part.body).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


def _content_type(part: Part, field: str) -> str:
    value = _header_value(part.content_type, f"{field}.content_type")
    essence, parameters = parse_parameters(value)
    if not _MEDIA_TYPE.fullmatch(essence) or essence.startswith("multipart/"):
        raise InputError(f"{field}.content_type", "is no media type of a single part", "Write it as image/gif.")
    if part.name is None or "name" in parameters:
        return value
    name = _header_value(part.name, f"{field}.name").replace("\\", "\\\\").replace('"', '\\"')
    return f'{value}; name="{name}"'


def _header_value(value: str, field: str) -> str:
    if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise InputError(field, "is not a line of ASCII text", "Use plain characters, at most 900.")
    return value
