"""The public doors: bytes to an Envelope, a message to a Payload."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType

from airflow_provider_mm7.exceptions import InputError, MultipartError
from airflow_provider_mm7.protocol.encoder import Content, RelatedEncoder, join_small
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits, exceeded
from airflow_provider_mm7.protocol.messages import ContentRef, Message
from airflow_provider_mm7.protocol.mime import parse_parameters, strip_id
from airflow_provider_mm7.protocol.multipart import Entity, begins_with_preamble, read_entity
from airflow_provider_mm7.protocol.parts import Dialect, Envelope, Part, Payload
from airflow_provider_mm7.protocol.schema import OPERATIONS
from airflow_provider_mm7.protocol.soap import read_soap, write_soap

_XML_TYPES = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_SOAP_CONTENT_TYPE = 'text/xml; charset="utf-8"'
#: The elements a SOAP part can begin with, and the bytes within which one of them does.
_MM7_ELEMENT = re.compile(
    rb"<(?:[\w.-]{1,64}:{1,2})?(?:Envelope|Body|Fault|" + "|".join(OPERATIONS).encode() + rb")[\s/>]"
)
_FIRST_ELEMENTS = 4096
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def load(body: bytes, content_type: str | None, *, limits: Limits = DEFAULT_LIMITS) -> Envelope:
    """Read one MM7 message.

    :param body: body of an HTTP request or answer.
    :param content_type: its Content-Type; None, or one that does not fit, leaves it to the body: what begins with
        ``--`` is a multipart.
    :param limits: bounds on what is read.
    :raises ProtocolError: it is not MM7, or it is hostile.
    """
    if len(body) > limits.body_bytes:
        raise exceeded("body_bytes", limits.body_bytes)
    if content_type and len(content_type) > limits.header_bytes:
        raise exceeded("header_bytes", limits.header_bytes)
    media_type, parameters = parse_parameters(content_type or "")
    if not _is_multipart(body, media_type, parameters.get("boundary", "")):
        message, transaction_id, dialect = read_soap(body, charset=parameters.get("charset"), limits=limits)
        return Envelope(message=message, transaction_id=transaction_id, dialect=dialect)
    if not content_type or not media_type.startswith("multipart/"):
        content_type = "multipart/related"
    leaves = list(read_entity(body, content_type, limits=limits).leaves())
    root = _root(leaves, strip_id(parameters.get("start", "")))
    message, transaction_id, dialect = read_soap(root.body, charset=root.parameters.get("charset"), limits=limits)
    parts = tuple(
        Part(
            content_type=leaf.content_type,
            body=leaf.body,
            content_id=leaf.content_id,
            content_location=leaf.content_location,
            name=leaf.name,
        )
        for leaf in leaves
        if leaf is not root
    )
    return Envelope(message=message, transaction_id=transaction_id, parts=parts, dialect=dialect)


def _is_multipart(body: bytes, media_type: str, boundary: str) -> bool:
    """Tell by the body, and by its Content-Type where that leaves it open: what begins with ``<`` may be a preamble."""
    start = _first_bytes(body)
    if start[:1] == b"<":
        return (
            bool(boundary) and media_type.startswith("multipart/") and b"--" + boundary.encode(errors="replace") in body
        )
    return start == b"--" or media_type.startswith("multipart/") or begins_with_preamble(body)


def _root(leaves: list[Entity], start: str) -> Entity:
    """Find the SOAP part: the one that ``start`` names, else the first that is XML, else the first (RFC 2387).

    XML that speaks of MM7 goes before XML that does not: presentations and pages come as ``text/xml`` too, and a
    ``start`` may name one of them.
    """
    if not leaves:
        raise MultipartError("the multipart holds no part")
    named = [leaf for leaf in leaves if start and leaf.content_id == start]
    xml = [leaf for leaf in leaves if leaf.media_type in _XML_TYPES or _begins_as_xml(leaf)]
    speaking = (leaf for leaf in (*named, *xml) if _begins_as_xml(leaf) and _speaks_of_mm7(leaf))
    return next(speaking, None) or next(iter((*named, *xml)), leaves[0])


def _begins_as_xml(leaf: Entity) -> bool:
    return _first_bytes(leaf.body)[:1] == b"<"


def _speaks_of_mm7(leaf: Entity) -> bool:
    return _MM7_ELEMENT.search(_as_ascii(leaf.body[: 2 * _FIRST_ELEMENTS]), 0, _FIRST_ELEMENTS) is not None


def _first_bytes(body: bytes) -> bytes:
    return _as_ascii(body[:64]).lstrip(b" \t\r\n")[:2]


def _as_ascii(start: bytes) -> bytes:
    """Give markup in UTF-8 or UTF-16 without byte order mark, and without the half of UTF-16 that is zero."""
    return start.lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"")


def dump(
    message: Message,
    *,
    transaction_id: str | None,
    content: Content | None = None,
    dialect: Dialect = Dialect(),  # noqa: B008  # frozen
    boundary: str | None = None,
) -> Payload:
    """Write one MM7 message.

    :param message: what to say. Without ``contents`` it refers to ``content`` by itself.
    :param transaction_id: of the SOAP header; None leaves the header out.
    :param content: encoded media, used as they are and never copied.
    :param dialect: namespaces, and the version where the message names none.
    :param boundary: of the outer multipart, plain letters and digits; None derives one from the SOAP part.
    :return: XML alone without content, multipart/related with it.
    :raises InputError: the message would not be valid against the schema.
    """
    defaults: dict[str, object] = {"mm7_version": dialect.mm7_version}
    if content is not None:
        if not hasattr(message, "contents"):
            raise InputError("content", f"cannot travel with {type(message).__name__}", "Leave it out.")
        defaults["contents"] = (ContentRef(href=f"cid:{content.content_id}"),)
    soap = write_soap(message, transaction_id=transaction_id, dialect=dialect, defaults=defaults)
    if content is None:
        return Payload(content_type=_SOAP_CONTENT_TYPE, chunks=(soap,))
    return _with_content(soap, content, hashlib.sha256(soap).hexdigest()[:32] if boundary is None else boundary)


def _with_content(soap: bytes, content: Content, boundary: str) -> Payload:
    if boundary.startswith(content.boundary) or content.boundary.startswith(boundary):
        raise InputError("boundary", "begins like that of the content", "Use another one.")
    if b"--" + boundary.encode() in soap:
        raise InputError("boundary", "occurs in the message", "Use another one.")
    root_id = f"soap.{boundary}"
    headers = {"Content-Type": _SOAP_CONTENT_TYPE, "Content-ID": f"<{root_id}>"}
    if not soap.isascii():
        headers["Content-Transfer-Encoding"] = "8bit"
    encoder = RelatedEncoder(
        (
            (headers, soap),
            ({"Content-Type": content.content_type, "Content-ID": f"<{content.content_id}>"}, b""),
        ),
        boundary=boundary,
        subtype="related",
        parameters={"type": "text/xml", "start": f"<{root_id}>"},
    )
    *head, _, end = encoder.chunks()
    return Payload(content_type=encoder.content_type, chunks=join_small((*head, *content.chunks, end)))


def http_headers(payload: Payload, *, extra: Mapping[str, str] = _NO_HEADERS) -> dict[str, str]:
    """Give the HTTP headers of a request (TS 23.140 clause 8.7.7; SOAP 1.1 section 6.1.1 for the empty SOAPAction).

    :param payload: what will be sent.
    :param extra: headers of the connection; they replace ours, but never say what the body is.
    """
    fixed = {"Content-Type": payload.content_type, "Content-Length": str(len(payload))}
    taken = {name.lower() for name in fixed}
    headers = {"SOAPAction": '""', "MIME-Version": "1.0"}
    for name, value in extra.items():
        if name.lower() not in taken:
            headers = {ours: text for ours, text in headers.items() if ours.lower() != name.lower()}
            headers[name] = value
    return fixed | headers
