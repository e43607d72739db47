"""Slides of a message, from its SMIL."""

from __future__ import annotations

import hashlib

import pytest

from airflow_provider_mm7.sandbox.slides import MAX_SLIDES, slides_of
from airflow_provider_mm7.sandbox.structure import Leaf


def leaf(name: str, media_type: str = "image/gif", body: bytes | None = b"x", text: str | None = None) -> Leaf:
    return Leaf(
        content_type=media_type,
        content_id=name,
        content_location=None,
        name=None,
        transfer_encoding="base64",
        size=1,
        sha256=hashlib.sha256(b"x").hexdigest(),
        body=body,
        text=text,
    )


def show(smil: str, *names: str) -> list[list[list[str]]]:
    """Slides, their rows, the names of the parts in them."""
    leaves = [leaf("smil", "application/smil", smil.encode()), *(leaf(name) for name in names)]
    return [[[piece.name for piece in row] for row in slide.rows] for slide in slides_of(leaves)]


LAYOUT = """<head><layout><root-layout width="240" height="320"/>
<region id="Image" top="80" left="0" height="240" width="240"/><region id="Text" top="0" height="25%" width="100%"/>
<region id="L" left="0" top="0" width="50%" height="100%"/>
<region id="R" left="120" top="10" width="50%" height="100%"/>
</layout></head>"""


def test_each_par_is_a_slide_and_what_none_names_comes_last() -> None:
    smil = '<smil><body><par><img src="b"/></par><par><img src="cid:a"/><audio src="cid:c"/></par></body></smil>'
    assert show(smil, "a", "b", "c", "d") == [[["b"]], [["a"], ["c"]], [["d"]]]


def test_regions_say_what_stands_above_what() -> None:
    par = '<par><img src="a" region="Image"/><text src="b" region="Text"/><audio src="c"/></par>'
    assert show(f"<smil>{LAYOUT}<body>{par}</body></smil>", "a", "b", "c") == [[["b"], ["a"], ["c"]]]


def test_regions_may_stand_side_by_side() -> None:
    par = '<par><img src="a" region="R"/><img src="b" region="L"/></par>'
    assert show(f"<smil>{LAYOUT}<body>{par}</body></smil>", "a", "b") == [[["b", "a"]]]


@pytest.mark.parametrize(
    ("dur", "seconds"),
    [("8s", 8), ("1500ms", 1.5), ("2min", 120), ("3", 3), ("indefinite", None), ("", None), ("1e9s", None)],
)
def test_how_long_a_slide_stays(dur: str, seconds: float | None) -> None:
    smil = f'<smil><body><par dur="{dur}"><img src="a"/></par></body></smil>'
    (slide,) = slides_of([leaf("s", "application/smil", smil.encode()), leaf("a")])
    assert slide.duration_s == seconds


@pytest.mark.parametrize(
    "smil",
    [
        "",
        "no markup",
        "<smil><body><par><img src='cid:nothing'/></par></body></smil>",
        "<smil><body><par></par></body></smil>",
        '<?xml version="1.0" encoding="no-such"?><smil/>',
        '<!DOCTYPE smil [<!ENTITY a "a"><!ENTITY b "&a;&a;">]><smil><body><par><img src="&b;"/></par></body></smil>',
    ],
)
def test_nothing_is_hidden_by_a_document_that_says_nothing(smil: str) -> None:
    assert show(smil, "x", "y") == [[["x"], ["y"]]]


def test_a_torn_document_is_read_as_far_as_it_goes() -> None:
    assert show('<smil><body><par><img src="b"/></par><par><img', "a", "b") == [[["b"]], [["a"]]]


def test_no_more_slides_than_a_person_could_want() -> None:
    smil = "<smil><body>" + '<par><img src="a"/></par>' * (MAX_SLIDES + 50) + "</body></smil>"
    assert len(show(smil, "a")) == MAX_SLIDES


def test_a_message_without_smil_is_one_slide() -> None:
    (slide,) = slides_of([leaf("a"), leaf("b")])
    assert [[one.name for one in row] for row in slide.rows] == [["a"], ["b"]]
    assert slides_of([]) == []


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("image/gif", "image"),
        ("image/mpeg", "video"),
        ("audio/mpeg3", "audio"),
        ("text/plain", "text"),
        ("text/html", "file"),
        ("image/svg+xml", "file"),
        ("application/xhtml+xml", "file"),
        ("audio/amr", "file"),
    ],
)
def test_only_types_of_our_choosing_are_rendered(media_type: str, kind: str) -> None:
    (slide,) = slides_of([leaf("a", media_type, text="t" if media_type.startswith("text/") else None)])
    assert slide.rows[0][0].kind == kind


def test_bytes_that_are_no_longer_kept_are_not_rendered() -> None:
    (slide,) = slides_of([leaf("a", body=None)])
    assert slide.rows[0][0].kind == "file"
