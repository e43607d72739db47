from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError, MediaTypeUnknown, SmilError
from airflow_provider_mm7.media import MediaObject, build_parts
from airflow_provider_mm7.protocol import encode_content
from tests.media.samples import ICALENDAR, MIDI, SMIL, VCARD, VCARD_LATIN_1, image, iso_media, mp3_frames

GIF = image("GIF")


def an_object(name: str, body: bytes = GIF) -> MediaObject:
    return MediaObject(uri=f"s3://news/{name}", body=body, name=name)


def test_the_vendors_example() -> None:
    text, picture = build_parts("Science news, new Saturn pictures...", [an_object("saturn.gif")])
    assert text.content_type == "text/plain; charset=us-ascii"
    assert text.body == b"Science news, new Saturn pictures..."
    assert (text.content_id, text.content_location) == ("text_0.txt", "text_0.txt")
    assert (picture.content_type, picture.body) == ("image/gif", GIF)
    assert (picture.content_id, picture.content_location) == ("saturn.gif", "saturn.gif")


def test_texts_come_first_and_empty_ones_are_left_out() -> None:
    parts = build_parts(["one", "", " \n", "Tēnā koe"], [an_object("a.gif")])
    assert [(part.content_id, part.content_type) for part in parts] == [
        ("text_0.txt", "text/plain; charset=us-ascii"),
        ("text_1.txt", "text/plain; charset=utf-8"),
        ("a.gif", "image/gif"),
    ]
    assert parts[1].body == "Tēnā koe".encode()
    assert build_parts(None, []) == ()


def test_text_objects_carry_a_charset_and_their_bytes() -> None:
    objects = [an_object("n.txt", "Grüße\r\n".encode()), an_object("e.ics", ICALENDAR), an_object("c.vcf", VCARD)]
    parts = build_parts(None, objects)
    assert [part.content_type for part in parts] == [
        "text/plain; charset=utf-8",
        "text/calendar; charset=us-ascii",
        "text/vcard; charset=us-ascii",
    ]
    assert [part.body for part in parts] == [found.body for found in objects]


def test_a_vcard_that_names_its_charset_itself_carries_none() -> None:
    (part,) = build_parts(None, [an_object("c.vcf", VCARD_LATIN_1)])
    assert (part.content_type, part.body) == ("text/vcard", VCARD_LATIN_1)


def test_vendor_spelling_reaches_the_parts() -> None:
    objects = [an_object("a.mp3", mp3_frames()), an_object("a.mp4", iso_media(b"mp42")), an_object("a.mid", MIDI)]
    wire = [part.content_type for part in build_parts(None, objects, spelling="vendor")]
    assert wire == ["audio/mpeg3", "image/mpeg", "audio/midi"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("saturn.gif", "saturn.gif"),
        ("Saturn-2_b.GIF", "Saturn-2_b.GIF"),
        ("mõ jö.gif", "mo_jo.gif"),
        ("土星.gif", "media.gif"),
        ("0123", "0123.gif"),
        ("a.b.c.gif", "a_b_c.gif"),
        (".gif", "gif.gif"),
        ("..", "media.gif"),
        ('x"\r\nX-Evil: 1<y>.gif', "x_X-Evil_1_y.gif"),
        ("x" * 300 + ".gif", "x" * 32 + ".gif"),
        ("", "media.gif"),
        ("50%25 off?.gif", "50_25_off.gif"),
        ("back\\slash.gif", "back_slash.gif"),
    ],
)
def test_names_become_safe_tokens(name: str, safe: str) -> None:
    (part,) = build_parts(None, [an_object(name)])
    assert (part.content_id, part.content_location, part.name) == (safe, safe, safe)


def test_names_are_unique_whatever_their_case() -> None:
    names = ["a.gif", "A.gif", "a.gif", "a_1.gif", "text_0.txt"]
    bodies = [GIF] * 4 + [b"words"]
    parts = build_parts("hello", [an_object(name, body) for name, body in zip(names, bodies, strict=True)])
    assert [part.content_id for part in parts] == [
        "text_0.txt", "a.gif", "A_1.gif", "a_2.gif", "a_1_1.gif", "text_0_1.txt",
    ]  # fmt: skip


@given(names=st.lists(st.text(max_size=40), max_size=8))
def test_any_names_give_parts_that_can_be_encoded(names: list[str]) -> None:
    parts = build_parts("text", [an_object(name) for name in names])
    ids = [part.content_id or "" for part in parts]
    assert len({name.lower() for name in ids}) == len(names) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z0-9]{1,5}", name) for name in ids)
    encode_content(parts, content_id="content", boundary="boundary")


def test_unknown_type_names_the_object() -> None:
    with pytest.raises(MediaTypeUnknown, match=r"s3://news/a\.jpg"):
        build_parts(None, [an_object("a.jpg", b"<html></html>")])


def test_smil_is_no_medium() -> None:
    with pytest.raises(SmilError, match="parameter smil"):
        build_parts(None, [an_object("a.smil", SMIL)])


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        build_parts("half \ud83d", [])
    assert caught.value.field == "text"
