"""A message as slides, as its SMIL wants them shown. Read without the product's SMIL code: it is the second witness."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from airflow_provider_mm7.sandbox.structure import Leaf

SMIL_TYPE = "application/smil"
#: What a browser may render from a message, and under which type: nothing here can hold a script. The vendor's literal
#: spellings are shown as what they stand for. Everything else is offered as a file.
SHOWABLE: Mapping[str, str] = {
    "image/jpeg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/bmp": "image/bmp",
    "image/webp": "image/webp",
    "audio/mpeg": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/wav": "audio/wav",
    "audio/mp4": "audio/mp4",
    "audio/ogg": "audio/ogg",
    "video/mp4": "video/mp4",
    "image/mp4": "video/mp4",
    "image/mpeg": "video/mp4",
    "video/3gpp": "video/3gpp",
    "image/3gpp": "video/3gpp",
    "video/webm": "video/webm",
    "video/quicktime": "video/quicktime",
    "image/quicktime": "video/quicktime",
}
#: Elements that show a part (OMA MMS Conformance; ``image`` is the vendor's).
_SMIL_MEDIA = frozenset({"img", "image", "video", "audio", "text", "ref"})
#: Slides of one message that are shown; the parts of the others come with the rest.
MAX_SLIDES = 100
_LENGTH = re.compile(r"\s*(\d{1,6}(?:\.\d+)?)\s*(px|%)?\s*")
_CLOCK = re.compile(r"\s*(\d{1,6}(?:\.\d+)?)\s*(h|min|s|ms)?\s*")
_UNITS = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 0.001, None: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part on a slide.

    :ivar index: place of the part in its message, which its address needs.
    :ivar leaf: the part.
    """

    index: int
    leaf: Leaf

    @property
    def kind(self) -> str:
        """``image``, ``audio``, ``video``, ``text``, or ``file``: not to be rendered, or no longer kept."""
        if self.leaf.media_type == "text/plain" and self.leaf.text is not None:
            return "text"
        shown_as = SHOWABLE.get(self.leaf.media_type) if self.leaf.body is not None else None
        return shown_as.partition("/")[0] if shown_as else "file"

    @property
    def name(self) -> str:
        """What the sender calls it; foreign text."""
        leaf = self.leaf
        return leaf.name or leaf.content_location or leaf.content_id or f"part {self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slide:
    """One ``par``.

    :ivar rows: from top to bottom; regions that stand side by side share a row.
    :ivar duration_s: how long a handset shows it by itself, where that is said.
    """

    rows: tuple[tuple[Piece, ...], ...]
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """Where a region stands, as shares of the layout from 0 to 1."""

    left: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """One media element of a ``par``."""

    source: str
    region: str


def slides_of(leaves: Sequence[Leaf]) -> list[Slide]:
    """Slides in the order in which a handset shows them: by the SMIL where there is one, all on one slide otherwise.

    Parts that the SMIL does not name come on a slide of their own at the end, so that nothing is hidden.
    """
    numbered = [Piece(index=index, leaf=leaf) for index, leaf in enumerate(leaves)]
    smil = next((one.leaf.body for one in numbered if one.leaf.media_type == SMIL_TYPE), None)
    media = [one for one in numbered if one.leaf.media_type != SMIL_TYPE]
    root = _parse(smil) if smil is not None else None
    slides, used = [], set()
    if root is not None:
        regions = _regions(root)
        for par in (_named(root, {"par"}) or [root])[:MAX_SLIDES]:
            pieces = [(found, one) for one in _references(par) if (found := _find(one.source, media)) is not None]
            used |= {piece.index for piece, _ in pieces}
            if pieces:
                slides.append(Slide(rows=_rows(pieces, regions), duration_s=_seconds(par.get("dur"))))
    rest = [one for one in media if one.index not in used]
    return [*slides, Slide(rows=tuple((one,) for one in rest))] if rest else slides


def _parse(smil: bytes) -> etree._Element | None:
    """The document's root; a torn one is read as far as it goes, as handsets do."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    try:
        root: etree._Element | None = etree.fromstring(smil, parser)
    except etree.XMLSyntaxError:
        return None
    return root


def _named(parent: etree._Element, names: frozenset[str] | set[str]) -> list[etree._Element]:
    return [one for one in parent.iter("{*}*") if etree.QName(one).localname in names]


def _references(par: etree._Element) -> list[_Reference]:
    return [
        _Reference(source=str(one.get("src")), region=str(one.get("region", "")))
        for one in _named(par, _SMIL_MEDIA)
        if one.get("src")
    ]


def _find(source: str, media: Sequence[Piece]) -> Piece | None:
    wanted = unquote(source[4:]) if source.lower().startswith("cid:") else source
    names = ((one, (one.leaf.content_id, one.leaf.content_location, one.leaf.name)) for one in media)
    return next((one for one, known in names if wanted in known), None)


def _regions(root: etree._Element) -> dict[str, _Region]:
    """Regions by their id; one without a usable place is left out."""
    whole = next(iter(_named(root, {"root-layout"})), None)
    width, height = (_share(whole.get(name) if whole is not None else None, 0.0) for name in ("width", "height"))
    regions = {}
    for one in _named(root, {"region"}):
        top, left = _share(one.get("top"), height), _share(one.get("left"), width)
        tall = _share(one.get("height"), height)
        bottom = (top or 0.0) + tall if tall else math.inf
        regions[str(one.get("id", ""))] = _Region(left=left or 0.0, top=top or 0.0, bottom=bottom)
    return regions


def _share(text: str | None, whole: float | None) -> float | None:
    """A length as a share of the whole; where the whole is unknown, pixels as they stand: only the order counts."""
    match = _LENGTH.fullmatch(text or "")
    if match is None:
        return None
    number = float(match[1])
    if match[2] == "%":
        return number / 100
    return number / whole if whole else number


def _rows(pieces: Sequence[tuple[Piece, _Reference]], regions: Mapping[str, _Region]) -> tuple[tuple[Piece, ...], ...]:
    """Pieces from top to bottom by their regions; what has none keeps its place in the document, below the others."""
    below = _Region(left=0.0, top=math.inf, bottom=math.inf)
    placed = sorted(((regions.get(one.region, below), piece) for piece, one in pieces), key=lambda pair: pair[0].top)
    rows: list[list[tuple[_Region, Piece]]] = []
    for region, piece in placed:
        beside = rows and region.top < math.inf and region.left != rows[-1][0][0].left
        if beside and region.top < rows[-1][0][0].bottom:
            rows[-1].append((region, piece))
        else:
            rows.append([(region, piece)])
    return tuple(tuple(piece for _, piece in sorted(row, key=lambda pair: pair[0].left)) for row in rows)


def _seconds(text: str | None) -> float | None:
    """SMIL clock values as handsets take them: ``8s``, ``8000ms``, ``8``."""
    match = _CLOCK.fullmatch(text or "")
    return float(match[1]) * _UNITS[match[2]] if match else None
