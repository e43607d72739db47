"""A second reader of what arrives: the multipart as Python's own ``email`` package sees it.

The product's codec must not be the only witness of what the product sent. So the sandbox reads structure, part headers
and media through the standard library and never through :mod:`airflow_provider_mm7.protocol`.

A batch sends the same media again and again, and the standard parser takes milliseconds for each: what follows the
SOAP part is looked up among the bytes seen before (compared as bytes, not as a digest) and parsed once.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, replace
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from typing import Any

#: Bytes of media remembered for messages that carry the same again.
CACHE_BYTES = 64 * 1024 * 1024
#: RFC 2046 section 5.1.1 knows no bound; deeper nesting than this is no MMS.
MAX_DEPTH = 8
#: Characters of text that even a light record keeps.
LIGHT_TEXT = 500
MAX_PARTS = 200

_PARSER: BytesParser[Message[str, str]] = BytesParser(policy=policy.compat32)
#: Defects that the vendor's own printed examples have, or that change nothing.
_HARMLESS_DEFECTS = frozenset({"MissingHeaderBodySeparatorDefect"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One MIME leaf.

    :ivar size: bytes after decoding.
    :ivar body: those bytes; None once they are no longer kept.
    :ivar text: the characters of a text part, None for others and for long ones no longer kept.
    """

    content_type: str
    content_id: str | None
    content_location: str | None
    name: str | None
    transfer_encoding: str
    size: int
    sha256: str
    body: bytes | None = None
    text: str | None = None

    @property
    def media_type(self) -> str:
        """Without parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    def light(self) -> Leaf:
        """Without its bytes, for records of which only the facts are kept."""
        return replace(self, body=None, text=self.text if len(self.text or "") <= LIGHT_TEXT else None)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the record."""
        described: dict[str, Any] = {
            "content_type": self.content_type,
            "content_id": self.content_id,
            "content_location": self.content_location,
            "transfer_encoding": self.transfer_encoding,
            "size": self.size,
            "sha256": self.sha256,
        }
        if self.name is not None:
            described["name"] = self.name
        if self.text is not None:
            described["text"] = self.text
        return described


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the independent reader saw.

    :ivar soap: the root part's decoded bytes.
    :ivar root_id: Content-ID of the root part without ``<>``.
    :ivar leaves: every leaf but the root, in order.
    :ivar tree: nested content types: ``{"content_type", "content_id", "parts"}``.
    :ivar identifiers: Content-IDs and Content-Locations of top-level parts, to which Content may point.
    :ivar problems: what is wrong with the MIME structure.
    :ivar chunks: the raw body; media that many messages share are one object.
    :ivar fresh_bytes: how many of those bytes no earlier message had.
    """

    soap: bytes
    root_id: str | None
    leaves: tuple[Leaf, ...]
    tree: dict[str, Any]
    identifiers: frozenset[str]
    problems: tuple[str, ...]
    chunks: tuple[bytes, ...]
    fresh_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outer:
    """The Content-Type of the HTTP request, taken apart once."""

    media_type: str
    parameters: dict[str, str]

    @classmethod
    def of(cls, content_type: str) -> _Outer:
        """Read a header value."""
        header: Message[str, str] = Message(policy=policy.compat32)
        header["Content-Type"] = " ".join(content_type.split())
        parameters = header.get_params() or []
        return cls(
            media_type=header.get_content_type(),
            parameters={name.lower(): value for name, value in parameters[1:] if isinstance(value, str)},
        )

    @property
    def shown(self) -> str:
        """The media type with its charset."""
        charset = self.parameters.get("charset")
        return self.media_type + (f"; charset={charset.lower()}" if charset else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """One top-level part besides the root."""

    leaves: tuple[Leaf, ...]
    tree: dict[str, Any]
    identifiers: frozenset[str]
    problems: tuple[str, ...]


class StructureReader:
    """Reads bodies, remembering media. Used from one thread."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache: OrderedDict[bytes, tuple[bytes, _Branch]] = OrderedDict()
        self._room = cache_bytes

    def read(self, body: bytes, content_type: str, *, media: bool = True) -> Reading:
        """Read one body.

        :param body: of the HTTP request.
        :param content_type: value of its Content-Type header.
        :param media: False reads no further than the SOAP part, for bodies that are too long anyway.
        """
        outer = _Outer.of(content_type)
        if not outer.media_type.startswith("multipart/"):
            tree: dict[str, Any] = {"content_type": outer.shown, "content_id": None, "parts": []}
            return Reading(
                soap=body, root_id=None, leaves=(), tree=tree, identifiers=frozenset(), problems=(), chunks=(body,),
                fresh_bytes=len(body),
            )  # fmt: skip
        boundary = outer.parameters.get("boundary")
        spans = _split(body, boundary.encode("utf-8", "surrogateescape")) if boundary else None
        if not media:
            spans = spans[:1] if spans else [(0, 0)]
        if spans is None:
            return self._read_odd(body, content_type, outer)
        return self._read_segments(body, outer, spans)

    def _read_segments(self, body: bytes, outer: _Outer, spans: list[tuple[int, int]]) -> Reading:
        (root_start, root_end), *others = spans
        root = _PARSER.parsebytes(body[root_start:root_end], headersonly=True)
        branches: list[_Branch] = []
        chunks: list[bytes] = []
        position, fresh = 0, len(body)
        for start, end in others:
            shared, branch, known = self._branch(body[start:end])
            branches.append(branch)
            chunks += [body[position:start], shared]
            position = end
            fresh -= len(shared) if known else 0
        chunks.append(body[position:])
        return _reading(outer, root, branches, tuple(chunks), fresh)

    def _branch(self, segment: bytes) -> tuple[bytes, _Branch, bool]:
        found = self._cache.get(segment)
        if found is not None:
            self._cache.move_to_end(segment)
            return (*found, True)
        branch = _branch(_PARSER.parsebytes(segment))
        self._cache[segment] = (segment, branch)
        self._room -= 2 * len(segment)  # the raw bytes, and about as much decoded
        while self._room < 0 and len(self._cache) > 1:
            gone, _ = self._cache.popitem(last=False)
            self._room += 2 * len(gone)
        return segment, branch, False

    def _read_odd(self, body: bytes, content_type: str, outer: _Outer) -> Reading:
        """Everything that is not split by the plain rule: preambles, LF line ends, no closing boundary."""
        whole = _PARSER.parsebytes(b"Content-Type: " + content_type.encode("utf-8", "replace") + b"\r\n\r\n" + body)
        parts: list[Any] = whole.get_payload() if whole.is_multipart() else []  # type: ignore[assignment]
        problems = tuple(_defects(whole))
        if not parts:
            empty = EmailMessage()
            reading = _reading(outer, empty, [], (body,), len(body))
            return replace(reading, problems=(*problems, "the multipart has no part"))
        wanted = _strip_id(outer.parameters.get("start"))
        root = next((part for part in parts if wanted and _strip_id(part.get("Content-ID")) == wanted), parts[0])
        reading = _reading(outer, root, [_branch(part) for part in parts if part is not root], (body,), len(body))
        return replace(reading, problems=problems + reading.problems)


def _split(body: bytes, boundary: bytes) -> list[tuple[int, int]] | None:
    """Start and end of each top-level part of a body written by the plain rule of RFC 2046; None for any other."""
    delimiter = b"\r\n--" + boundary
    if not body.startswith(delimiter[2:] + b"\r\n"):
        return None
    spans = []
    start = len(delimiter)
    while (end := body.find(delimiter, start)) >= 0:
        spans.append((start, end))
        start = end + len(delimiter)
        if body.startswith(b"--", start):
            return spans if not body[start + 2 :].strip() else None
        if not body.startswith(b"\r\n", start):
            # A longer boundary that begins like ours is a look-alike within a part; leave such bodies to the parser.
            return None
        start += 2
    return None


def _reading(
    outer: _Outer,
    root: Message[str, str],
    branches: list[_Branch],
    chunks: tuple[bytes, ...],
    fresh: int,
) -> Reading:
    root_id = _strip_id(root.get("Content-ID"))
    root_tree: dict[str, Any] = {"content_type": _shown_type(root), "content_id": root_id, "parts": []}
    tree = {
        "content_type": outer.shown,
        "content_id": None,
        "parts": [root_tree, *(branch.tree for branch in branches)],
    }
    problems = [*_defects(root), *_outer_problems(outer, root, root_id)]
    for branch in branches:
        problems += branch.problems
    soap = root.get_payload(decode=True) if not root.is_multipart() else None
    return Reading(
        soap=soap if isinstance(soap, bytes) else b"",
        root_id=root_id,
        leaves=tuple(leaf for branch in branches for leaf in branch.leaves),
        tree=tree,
        identifiers=frozenset().union(*(branch.identifiers for branch in branches)),
        problems=tuple(problems),
        chunks=chunks,
        fresh_bytes=fresh,
    )


def _outer_problems(outer: _Outer, root: Message[str, str], root_id: str | None) -> list[str]:
    """RFC 2387 section 3: type and start of multipart/related."""
    problems = []
    if outer.media_type != "multipart/related":
        problems.append(f"the outer Content-Type is {outer.media_type}, not multipart/related")
    kind = outer.parameters.get("type")
    if not kind:
        problems.append("the outer Content-Type has no type parameter")
    elif kind.lower() != root.get_content_type():
        problems.append(f"the outer type is {kind}, the root part is {root.get_content_type()}")
    start = outer.parameters.get("start")
    if not start:
        problems.append("the outer Content-Type has no start parameter")
    elif root_id is None:
        problems.append("the root part has no Content-ID")
    elif _strip_id(start) != root_id:
        problems.append("start names no part" if not start.startswith("<") else "start is not the root's Content-ID")
    elif not start.strip().startswith("<"):
        problems.append("start has no angle brackets")
    return problems


def _branch(part: Message[str, str], depth: int = 1) -> _Branch:
    """One part and what is below it."""
    own_id = _strip_id(part.get("Content-ID"))
    location = part.get("Content-Location")
    identifiers = frozenset(one for one in (own_id, location and str(location).strip()) if one)
    problems = list(_defects(part))
    tree: dict[str, Any] = {"content_type": _shown_type(part), "content_id": own_id, "parts": []}
    if not part.is_multipart():
        leaf = _leaf(part, own_id, location)
        problems += _defects(part, after_decoding=True)
        return _Branch(leaves=(leaf,), tree=tree, identifiers=identifiers, problems=tuple(dict.fromkeys(problems)))
    children: list[Any] = part.get_payload()  # type: ignore[assignment]
    if depth >= MAX_DEPTH or len(children) > MAX_PARTS:
        problems.append("the MIME structure is nested too deeply or has too many parts")
        return _Branch(leaves=(), tree=tree, identifiers=identifiers, problems=tuple(problems))
    leaves: list[Leaf] = []
    for child in children:
        below = _branch(child, depth + 1)
        leaves += below.leaves
        tree["parts"].append(below.tree)
        problems += below.problems
    return _Branch(leaves=tuple(leaves), tree=tree, identifiers=identifiers, problems=tuple(problems))


def _leaf(part: Message[str, str], content_id: str | None, location: str | None) -> Leaf:
    decoded = part.get_payload(decode=True)
    body = decoded if isinstance(decoded, bytes) else b""
    text = None
    if part.get_content_maintype() == "text" or part.get_content_type() == "application/smil":
        charset = part.get_content_charset() or "utf-8"
        try:
            text = body.decode("utf-8" if charset == "us-ascii" else charset, "replace")
        except LookupError:
            text = body.decode("latin-1")
    return Leaf(
        content_type=_shown_type(part),
        content_id=content_id,
        content_location=str(location).strip() if location else None,
        name=part.get_filename(),
        transfer_encoding=str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower(),
        size=len(body),
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
        text=text,
    )


def _defects(part: Message[str, str], *, after_decoding: bool = False) -> list[str]:
    names = [type(defect).__name__ for defect in part.defects]
    if not after_decoding and part.is_multipart() is False and part.get_content_maintype() == "multipart":
        names.append("NotReadableMultipart")
    return [f"MIME defect {name} in {part.get_content_type()}" for name in names if name not in _HARMLESS_DEFECTS]


def _shown_type(part: Message[str, str]) -> str:
    """The media type with its charset, as a reader would write it."""
    charset = part.get_content_charset()
    return part.get_content_type() + (f"; charset={charset}" if charset else "")


def _strip_id(value: str | None) -> str | None:
    """A Content-ID without white space and angle brackets."""
    stripped = re.sub(r"^<|>$", "", str(value).strip()) if value else ""
    return stripped or None
