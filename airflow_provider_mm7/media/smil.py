"""The slide show of a message: SMIL as handsets understand it (OMA MMS Conformance, chapter on MMS SMIL)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from airflow_provider_mm7.exceptions import SmilError
from airflow_provider_mm7.media.detect import registered_type
from airflow_provider_mm7.media.parts import UniqueNames
from airflow_provider_mm7.protocol.parts import Part

SMIL_TYPE = "application/smil"
#: Name of the SMIL part, unless another part has it.
SMIL_NAME = "presentation.smil"
#: Seconds a slide without audio or video stays; the reader may turn the page earlier.
STILL_SLIDE_S = 8
#: Seconds of a slide with audio or video: its own length is not known here, and a shorter slide would cut it.
MOVING_SLIDE_S = 60
#: Pixels of the root layout: a QVGA screen held upright, which handsets scale.
LAYOUT_WIDTH, LAYOUT_HEIGHT = 240, 320
#: Share of the screen for the picture when a text stands under it, in per cent.
IMAGE_SHARE = 75
#: Bytes of a document; written ones have a few hundred.
MAX_SMIL_BYTES = 64 * 1024

#: Elements that show a part, and the kinds of parts they may show. ``image`` is no SMIL element, but the vendor's page
#: prints it; ``ref`` leaves the kind to the handset.
_MEDIA_ELEMENTS: Mapping[str, frozenset[str]] = {
    "img": frozenset({"image"}),
    "image": frozenset({"image"}),
    "video": frozenset({"video", "image"}),
    "audio": frozenset({"audio"}),
    "text": frozenset({"text"}),
    "ref": frozenset({"image", "video", "audio", "text", "other"}),
}


@dataclass(slots=True)
class _Slide:
    visual: Part | None = None
    text: Part | None = None
    audio: Part | None = None


def kind_of(part: Part) -> str:
    """``image``, ``video``, ``audio`` or ``text``; ``other`` for what no slide shows (calendar, vCard)."""
    registered = registered_type(part.content_type)
    if registered.startswith("text/"):
        return "text" if registered == "text/plain" else "other"
    major = registered.partition("/")[0]
    return major if major in ("image", "video", "audio") else "other"


def auto_smil(parts: Sequence[Part]) -> Part | None:
    """Write the SMIL document for given parts.

    The n-th text goes under the n-th picture or video, sound beside pictures in their order. Parts that no slide shows
    (calendar entries, vCards) stay attached without one.

    :param parts: parts with Content-IDs, as :func:`build_parts` makes them.
    :return: the SMIL part; None when no part can be shown, and the message goes without.
    """
    slides = _slides(parts)
    if not slides:
        return None
    smil = etree.Element("smil")
    _write_layout(etree.SubElement(smil, "head"), slides)
    body = etree.SubElement(smil, "body")
    for slide in slides:
        _write_slide(body, slide)
    document = etree.tostring(smil, encoding="utf-8", pretty_print=True)
    # CRLF is the line break of text in MIME (RFC 2046 clause 4.1.1): with it the document travels readable, as 7bit.
    return _part(document.replace(b"\n", b"\r\n"), parts)


def validate_smil(document: bytes, parts: Sequence[Part]) -> Part:
    """Check a user's SMIL document against the parts it shows, and make it a part, byte for byte.

    :param document: the document, UTF-8 or declared in an ASCII-compatible encoding.
    :param parts: the other parts of the message.
    :return: the SMIL part.
    :raises SmilError: what is wrong, and where.
    """
    root = _parse(document)
    if _local_name(root) != "smil":
        raise _invalid(f"the root element is <{_local_name(root)}>, not <smil>")
    body = next((child for child in root if _local_name(child) == "body"), None)
    if body is None:
        raise _invalid("has no <body>")
    regions = {region.get("id") for region in root.iter() if _local_name(region) == "region"}
    shown = [element for element in body.iter() if _local_name(element) in _MEDIA_ELEMENTS]
    if not shown:
        raise _invalid("shows nothing: its <body> has no img, text, audio or video")
    known = _references(parts)
    kinds = {element: _check_medium(element, known, regions) for element in shown}
    for slide in body.iter():
        if _local_name(slide) == "par":
            _check_slide(slide, kinds)
    return _part(document, parts)


def _slides(parts: Sequence[Part]) -> list[_Slide]:
    visuals = [part for part in parts if kind_of(part) in ("image", "video")]
    texts = [part for part in parts if kind_of(part) == "text"]
    sounds = [part for part in parts if kind_of(part) == "audio"]
    slides = [_Slide(visual=visual) for visual in visuals]
    slides += [_Slide() for _ in range(len(texts) - len(slides))]
    for slide, text in zip(slides, texts, strict=False):
        slide.text = text
    # A video brings its own sound.
    silent = [slide for slide in slides if slide.visual is None or kind_of(slide.visual) == "image"]
    added = [_Slide() for _ in range(len(sounds) - len(silent))]
    for slide, sound in zip([*silent, *added], sounds, strict=False):
        slide.audio = sound
    return slides + added


def _write_layout(head: etree._Element, slides: Sequence[_Slide]) -> None:
    has_image = any(slide.visual for slide in slides)
    has_text = any(slide.text for slide in slides)
    layout = etree.SubElement(head, "layout")
    etree.SubElement(layout, "root-layout", width=str(LAYOUT_WIDTH), height=str(LAYOUT_HEIGHT))
    split = LAYOUT_HEIGHT * (IMAGE_SHARE if has_text else 100) // 100 if has_image else 0
    if has_image:
        _write_region(layout, "Image", top=0, height=split)
    if has_text:
        _write_region(layout, "Text", top=split, height=LAYOUT_HEIGHT - split)


def _write_region(layout: etree._Element, name: str, *, top: int, height: int) -> None:
    facts = {"id": name, "left": "0", "top": str(top), "width": str(LAYOUT_WIDTH), "height": str(height)}
    etree.SubElement(layout, "region", {**facts, "fit": "meet" if name == "Image" else "scroll"})


def _write_slide(body: etree._Element, slide: _Slide) -> None:
    moves = slide.audio is not None or (slide.visual is not None and kind_of(slide.visual) == "video")
    par = etree.SubElement(body, "par", dur=f"{MOVING_SLIDE_S if moves else STILL_SLIDE_S}s")
    if slide.visual is not None:
        element = "video" if kind_of(slide.visual) == "video" else "img"
        etree.SubElement(par, element, src=f"cid:{slide.visual.content_id}", region="Image")
    if slide.text is not None:
        etree.SubElement(par, "text", src=f"cid:{slide.text.content_id}", region="Text")
    if slide.audio is not None:
        etree.SubElement(par, "audio", src=f"cid:{slide.audio.content_id}")


def _part(document: bytes, parts: Sequence[Part]) -> Part:
    names = UniqueNames([name for part in parts for name in (part.content_id, part.content_location) if name])
    name = names.claim(SMIL_NAME)
    return Part(content_type=SMIL_TYPE, body=document, content_id=name, content_location=name, name=name)


def _parse(document: bytes) -> etree._Element:
    if len(document) > MAX_SMIL_BYTES:
        raise _invalid(f"has {len(document)} bytes, over {MAX_SMIL_BYTES}")
    if b"\0" in document:
        raise _invalid("is not UTF-8")
    # A plain DOCTYPE is common and harmless, since nothing is loaded; declarations of its own are where attacks live.
    if re.search(rb"<!DOCTYPE[^>]*\[|<!ENTITY", document, re.IGNORECASE):
        raise _invalid("its DOCTYPE has declarations of its own (an internal subset)")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, dtd_validation=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(document.strip(), parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise _invalid(f"is not well-formed XML ({exc})") from exc
    if any(isinstance(node, etree._Entity) for node in root.iter()):
        raise _invalid("refers to an entity that XML does not define")
    return root


def _references(parts: Sequence[Part]) -> dict[str, Part]:
    """Every spelling of a reference to a part; a Content-ID wins over a name."""
    known: dict[str, Part] = {}
    for part in parts:
        if part.content_id:
            known[f"cid:{part.content_id}"] = part
    for part in parts:
        for name in (part.content_location, part.name, part.content_id):
            if name:
                known.setdefault(name, part)
    return known


def _check_medium(element: etree._Element, known: Mapping[str, Part], regions: set[str | None]) -> str:
    """Check one element that shows a part.

    :return: the kind of its part.
    """
    name, src = _local_name(element), (element.get("src") or "").strip()
    where = f"<{name}> in line {element.sourceline}"
    if not src:
        raise _invalid(f"{where} has no src")
    part = known.get(src) or known.get(unquote(src))
    if part is None:
        have = ", ".join(sorted(key for key in known if key.startswith("cid:"))) or "none"
        raise _invalid(f"{where}: src={src!r} names no part of the message (parts: {have})")
    kind = kind_of(part)
    if kind not in _MEDIA_ELEMENTS[name]:
        raise _invalid(f"{where}: src={src!r} is {part.content_type.partition(';')[0]}")
    region = element.get("region")
    if region is not None and region not in regions:
        raise _invalid(f"{where}: region {region!r} is not in the layout")
    return kind


def _check_slide(slide: etree._Element, kinds: Mapping[etree._Element, str]) -> None:
    """A slide has at most one image or video, one text, and one sound, which is not beside a video."""
    counts = {"image": 0, "video": 0, "audio": 0, "text": 0, "other": 0}
    for element in slide.iter():
        if element in kinds:
            counts[kinds[element]] += 1
    where = f"the slide in line {slide.sourceline}"
    if counts["image"] + counts["video"] > 1:
        raise _invalid(f"{where} has more than one image or video")
    if counts["text"] > 1:
        raise _invalid(f"{where} has more than one text")
    if counts["audio"] > 1:
        raise _invalid(f"{where} has more than one audio")
    if counts["audio"] and counts["video"]:
        raise _invalid(f"{where} has audio beside a video")


def _local_name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _invalid(problem: str) -> SmilError:
    return SmilError("SMIL document", problem, "Correct the document, or use smil='auto'", field="smil")
