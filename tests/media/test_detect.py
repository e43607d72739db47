from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import MediaTypeUnknown
from airflow_provider_mm7.media import SUPPORTED_TYPES, detect_type, media_type_on_wire, registered_type
from tests.media.samples import REFUSED, SUPPORTED, TAKEN_BY_NAME, iso_media

#: Types that need their name, since the bytes have two readings.
TIED_BY_NAME = {"3gp-isom"}


@pytest.mark.parametrize(
    ("name", "body", "expected"), [row[1:] for row in SUPPORTED], ids=[row[0] for row in SUPPORTED]
)
def test_type_comes_from_the_bytes(name: str, body: bytes, expected: str) -> None:
    assert detect_type(body, name=name) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [row[2:] for row in SUPPORTED if row[0] not in TIED_BY_NAME],
    ids=[row[0] for row in SUPPORTED if row[0] not in TIED_BY_NAME],
)
def test_no_name_is_needed(body: bytes, expected: str) -> None:
    assert detect_type(body) == expected


@pytest.mark.parametrize(("name", "body"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_mms_does_not_carry_is_refused_whatever_its_name(name: str, body: bytes) -> None:
    with pytest.raises(MediaTypeUnknown) as caught:
        detect_type(body, name=name, declared="image/jpeg", source=f"s3://news/{name}")
    assert caught.value.source == f"s3://news/{name}"


def test_a_wrong_name_or_declaration_does_not_outvote_the_bytes() -> None:
    png = next(body for what, _, body, _ in SUPPORTED if what == "png")
    assert detect_type(png, name="photo.jpg", declared="text/html") == "image/png"


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("clip.3gp", None, "video/3gpp"),
        ("clip.mp4", None, "video/mp4"),
        ("clip", "video/3gpp", "video/3gpp"),
        ("clip.mp4", "video/3gpp", "video/mp4"),
        ("clip", None, "video/mp4"),
    ],
)
def test_name_then_declaration_break_a_tie(name: str, declared: str | None, expected: str) -> None:
    body = iso_media(b"isom", b"isom", b"3gp4")
    assert detect_type(body, name=name, declared=declared) == expected


@pytest.mark.parametrize(
    ("name", "body", "expected"), [row[1:] for row in TAKEN_BY_NAME], ids=[row[0] for row in TAKEN_BY_NAME]
)
def test_a_name_or_else_a_declaration_makes_do_with_less(name: str, body: bytes, expected: str) -> None:
    assert detect_type(body, name=name) == expected
    assert detect_type(body, name="a", declared=expected) == expected
    for other in ("a.jpg", "a.txt", "a"):
        with pytest.raises(MediaTypeUnknown):
            detect_type(body, name=other)
    with pytest.raises(MediaTypeUnknown):
        detect_type(body, name="a.jpg", declared=expected)


def test_empty_object_is_refused() -> None:
    with pytest.raises(MediaTypeUnknown):
        detect_type(b"", name="a.txt")


@given(
    body=st.binary(max_size=300), name=st.text(max_size=12), start=st.sampled_from([row[2][:12] for row in SUPPORTED])
)
def test_any_bytes_have_a_supported_type_or_a_typed_error(body: bytes, name: str, start: bytes) -> None:
    for candidate in (body, start + body):
        with contextlib.suppress(MediaTypeUnknown):
            assert detect_type(candidate, name=name) in SUPPORTED_TYPES


def test_vendor_spellings_are_the_ones_of_its_page_and_lead_back() -> None:
    spelled = {name: media_type_on_wire(name, "vendor") for name in SUPPORTED_TYPES}
    assert {name: wire for name, wire in spelled.items() if name != wire} == {
        "audio/mpeg": "audio/mpeg3",
        "video/mpeg": "image/mp4",
        "video/mp4": "image/mpeg",
        "video/3gpp": "image/3gpp",
        "video/quicktime": "image/quicktime",
    }
    assert [registered_type(wire) for wire in spelled.values()] == list(SUPPORTED_TYPES)
    assert [media_type_on_wire(name, "registered") for name in SUPPORTED_TYPES] == list(SUPPORTED_TYPES)
    assert registered_type('Text/Plain; charset="utf-8"') == "text/plain"
