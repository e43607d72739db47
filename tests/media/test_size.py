from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import MediaTooLarge
from airflow_provider_mm7.media import (
    MediaObject,
    build_parts,
    check_size,
    encoded_size,
    fetch_media,
    largest_raw_size,
    predicted_size,
)
from airflow_provider_mm7.media.source import refuse_size
from airflow_provider_mm7.protocol import encode_content
from tests.media.samples import image


class Shelf:
    """Objects by name, and which of them were read."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.read: list[str] = []

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        refuse_size(uri, len(self.objects[uri]), limit)
        self.read.append(uri)
        return MediaObject(uri=uri, body=self.objects[uri], name=uri)


@given(size=st.integers(0, 5000))
def test_encoded_size_is_that_of_the_standard_encoder(size: int) -> None:
    assert encoded_size(size) == len(base64.encodebytes(bytes(size)).replace(b"\n", b"\r\n"))


@given(room=st.integers(-10, 5000))
def test_largest_raw_size_fits_and_one_byte_more_does_not(room: int) -> None:
    raw = largest_raw_size(room)
    assert raw == 0 or encoded_size(raw) <= room
    assert encoded_size(raw + 1) > room


@given(text=st.text(min_size=1, max_size=300), padding=st.integers(0, 2000))
def test_prediction_never_refuses_what_fits(text: str, padding: int) -> None:
    body = image("GIF") + bytes(padding)
    parts = build_parts(text, [MediaObject(uri="a.gif", body=body, name="a.gif")])
    content = encode_content(parts, content_id="content", boundary="boundary")
    assert predicted_size(parts) <= content.size < predicted_size(parts) * 4 // 3 + 300 * len(parts) + 200


def test_what_cannot_fit_is_not_read() -> None:
    shelf = Shelf(small=bytes(1000), large=bytes(10_000))
    with pytest.raises(MediaTooLarge) as caught:
        fetch_media(shelf, ["small", "large"], max_bytes=12_000)
    assert shelf.read == ["small"]
    error = caught.value
    assert (error.source, error.size, error.limit) == ("large", 10_000, 12_000)
    assert all(word in str(error) for word in ("large", "10000", "12000", str(encoded_size(10_000))))


def test_earlier_objects_and_text_take_room() -> None:
    size = 3000
    both = 2 * encoded_size(size)
    for used, spare, fits in ((0, 0, True), (0, -1, False), (500, 500, True), (500, 499, False)):
        shelf = Shelf(one=bytes(size), two=bytes(size))
        if fits:
            assert [found.name for found in fetch_media(shelf, ["one", "two"], max_bytes=both + spare, used=used)] == [
                "one",
                "two",
            ]
        else:
            with pytest.raises(MediaTooLarge, match="two: has 3000 bytes"):
                fetch_media(shelf, ["one", "two"], max_bytes=both + spare, used=used)


def test_too_large_message_names_its_largest_object() -> None:
    objects = [(f"s3://news/{size}.gif", size) for size in (10, 30, 20)]
    check_size(100, 100, objects)
    with pytest.raises(
        MediaTooLarge, match=r"s3://news/30\.gif: with 30 bytes.* 101 bytes.* limit .* 100 bytes"
    ) as caught:
        check_size(101, 100, objects)
    assert (caught.value.size, caught.value.limit) == (30, 100)
    with pytest.raises(MediaTooLarge, match="message: has 101 bytes"):
        check_size(101, 100)


def test_parts_over_the_limit_are_refused_when_they_are_built() -> None:
    found = MediaObject(uri="s3://news/a.gif", body=image("GIF") + bytes(3000), name="a.gif")
    limit = encoded_size(len(found.body))
    build_parts(None, [found], max_bytes=limit)
    with pytest.raises(MediaTooLarge, match=r"s3://news/a\.gif"):
        build_parts(None, [found], max_bytes=limit - 1)
