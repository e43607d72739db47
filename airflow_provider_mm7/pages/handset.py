"""A message as a handset shows it: slides from its SMIL, made of parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from lxml import etree

from airflow_provider_mm7.pages.media import kind_of

_SHOWS: Final = frozenset({"img", "image", "video", "audio", "text", "ref"})
#: Slides of a preview; a document of ten thousand is not a message.
_MOST_SLIDES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a message.

    :ivar name: for people.
    :ivar names: what a SMIL document may call it.
    :ivar address: of its bytes, below the pages; None where they are not to be had.
    :ivar text: of a text part.
    :ivar note: why it cannot be shown.
    """

    index: int
    content_type: str
    name: str
    names: tuple[str, ...]
    size: int
    address: str | None = None
    text: str | None = None
    note: str | None = None

    @property
    def kind(self) -> str:
        """``image``, ``audio``, ``video``, ``text`` or ``file``."""
        return kind_of(self.content_type)

    @property
    def is_smil(self) -> bool:
        """Whether this is a presentation."""
        return self.content_type.partition(";")[0].strip().lower() == "application/smil"


def slides_of(parts: Sequence[Part], smil: str | None) -> list[list[Part]]:
    """Return parts in the order in which a handset shows them: by the SMIL if there is one, all on one slide otherwise.

    Parts that the SMIL does not name come on a slide of their own at the end, so that nothing is hidden.
    """
    shown = [part for part in parts if not part.is_smil]
    slides: list[list[Part]] = []
    used: set[int] = set()
    for sources in _references(smil) if smil else ():
        slide = [found for source in sources if (found := _find(source, shown)) is not None]
        used |= {part.index for part in slide}
        if slide and len(slides) < _MOST_SLIDES:
            slides.append(slide)
    rest = [part for part in shown if part.index not in used]
    return [*slides, rest] if rest else slides


def _references(smil: str) -> Iterator[list[str]]:
    """Give the sources of each ``par``, or of the whole document where there is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True)
    try:
        root = etree.fromstring(smil.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return
    if root is None:
        return
    for par in list(root.iter("{*}par")) or [root]:
        yield [
            str(one.get("src")) for one in par.iter("{*}*") if etree.QName(one).localname in _SHOWS and one.get("src")
        ]


def _find(source: str, parts: Sequence[Part]) -> Part | None:
    source = source.strip()
    wanted = unquote(source[4:]) if source.lower().startswith("cid:") else source
    return next((part for part in parts if wanted in part.names), None)
