from __future__ import annotations

import base64
import email
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol import Part, RelatedEncoder, encode_content, encode_part
from airflow_provider_mm7.protocol.encoder import SHARED_FROM_BYTES, join_small

TEXT = Part(content_type="text/plain; charset=us-ascii", body=b"two\r\nlines", content_id="text_0.txt")
GIF = Part(content_type="image/gif", body=bytes(200), content_id="saturn.gif", content_location="saturn.gif")
SMIL = Part(content_type="application/smil", body=b"<smil/>", content_id="smil")


def test_mixed_without_a_presentation_even_for_one_part() -> None:
    content = encode_content([GIF], content_id="pics", boundary="b")
    assert content.content_type == 'multipart/mixed; boundary="b"'
    lines = content.body.split(b"\r\n")
    assert lines[:6] == [
        b"--b",
        b"Content-Type: image/gif",
        b"Content-Location: saturn.gif",
        b"Content-ID: <saturn.gif>",
        b"Content-Transfer-Encoding: base64",
        b"",
    ]
    assert [len(line) for line in lines[6:]] == [76, 76, 76, 40, 5, 0]
    assert base64.b64decode(b"".join(lines[6:10])) == GIF.body


def test_related_begins_with_the_presentation() -> None:
    content = encode_content([TEXT, GIF], content_id="pics", boundary="b", smil=SMIL)
    assert content.content_type == 'multipart/related; type="application/smil"; start="<smil>"; boundary="b"'
    head = f"Content-Type: {content.content_type}\r\n\r\n".encode()
    parts = [part for part in email.message_from_bytes(head + content.body).walk() if not part.is_multipart()]
    assert [part["Content-ID"] for part in parts] == ["<smil>", "<text_0.txt>", "<saturn.gif>"]
    assert [part.get_payload(decode=True) for part in parts] == [b"<smil/>", b"two\r\nlines", GIF.body]


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (b"", True),
        (b"a line", True),
        (b"two\r\nlines\r\n", True),
        (b"a -- b", True),
        (b"x" * 998, True),
        (b"x" * 999, False),
        (b"bare\nline feed", False),
        (b"bare\rreturn", False),
        (b"\0", False),
        ("naïve".encode(), False),
        (b"--b", False),
        (b"a\r\n--", False),
        (b"\r\n--b--\r\n", False),
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", "application/smil"])
def test_text_travels_as_it_is_where_mail_rules_allow_it(body: bytes, plain: bool, content_type: str) -> None:
    part = Part(content_type=content_type, body=body)
    content = encode_content([part], content_id="pics", boundary="b")
    assert (b"base64" not in content.body) is plain


def test_media_is_base64_even_if_it_looks_like_text() -> None:
    part = Part(content_type="image/svg+xml", body=b"<svg/>")
    assert b"base64" in encode_content([part], content_id="pics", boundary="b").body


def test_neighbours_that_are_small_are_joined_and_large_chunks_stay_the_objects_they_are() -> None:
    large, other = bytes(SHARED_FROM_BYTES), bytes(SHARED_FROM_BYTES + 1)
    joined = join_small([large, other, b"a", b"b", large, b"c"])
    assert joined == (large, other, b"ab", large, b"c")
    assert (joined[0] is large, joined[1] is other, joined[3] is large) == (True, True, True)
    assert join_small([b"a", large]) == (b"a", large)
    assert join_small([]) == ()


def test_an_encoded_part_is_shared_by_the_contents_that_show_it() -> None:
    large = replace(GIF, body=bytes(100_000))
    gif = encode_part(large)
    contents = [
        encode_content([replace(TEXT, body=words), gif], content_id="pics", boundary="b", smil=SMIL)
        for words in (b"one", b"another")
    ]
    assert all(any(chunk is gif.body for chunk in content.chunks) for content in contents)
    whole = encode_content(
        [replace(TEXT, body=b"one"), replace(GIF, body=bytes(100_000))], content_id="pics", boundary="b", smil=SMIL
    )
    assert contents[0] == whole
    with pytest.raises(InputError, match="occurs twice"):
        encode_content([gif, GIF], content_id="pics", boundary="b")
    with pytest.raises(InputError, match=r"^media\[3\]\.content_type: "):
        encode_part(replace(GIF, content_type="gif"), field="media[3]")


@pytest.mark.parametrize(
    ("content_type", "name", "expected"),
    [
        ("image/gif", "a.gif", 'image/gif; name="a.gif"'),
        ("image/gif", 'a"b\\.gif', 'image/gif; name="a\\"b\\\\.gif"'),
        ("image/gif; name=b.gif", "a.gif", "image/gif; name=b.gif"),
    ],
)
def test_the_name_stands_in_the_content_type(content_type: str, name: str, expected: str) -> None:
    part = replace(GIF, content_type=content_type, name=name)
    assert f"Content-Type: {expected}\r\n".encode() in encode_content([part], content_id="p", boundary="b").body


def encode(*parts: Part, **changes: Any) -> None:
    encode_content(parts, **{"content_id": "pics", "boundary": "b", **changes})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"content_type": "image/gif\r\nX: y"}, "parts[0].content_type"),
        ({"content_type": "gif"}, "parts[0].content_type"),
        ({"content_type": ""}, "parts[0].content_type"),
        ({"content_type": "multipart/mixed"}, "parts[0].content_type"),
        ({"content_id": "a b"}, "parts[0].content_id"),
        ({"content_id": "<a>"}, "parts[0].content_id"),
        ({"content_id": "a\r\n"}, "parts[0].content_id"),
        ({"content_id": ""}, "parts[0].content_id"),
        ({"content_id": "pics"}, "parts[0].content_id"),
        ({"content_location": "a\r\nb"}, "parts[0].content_location"),
        ({"content_location": " a"}, "parts[0].content_location"),
        ({"content_location": "ü.gif"}, "parts[0].content_location"),
        ({"name": "ü.gif"}, "parts[0].name"),
    ],
)
def test_what_no_header_can_carry_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(replace(GIF, **change))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("parts", "changes", "field"),
    [
        ([], {}, "content"),
        ([GIF, GIF], {}, "parts[1].content_id"),
        ([GIF], {"content_id": "a b"}, "content_id"),
        ([GIF], {"boundary": "a_b"}, "boundary"),
        ([GIF], {"boundary": ""}, "boundary"),
        ([GIF], {"smil": replace(SMIL, content_id=None)}, "smil.content_id"),
    ],
)
def test_ids_boundaries_and_presentations_are_checked(parts: list[Part], changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        encode(*parts, **changes)
    assert caught.value.field == field


def test_a_presentation_alone_and_parts_without_ids() -> None:
    encode(smil=SMIL)
    encode(replace(GIF, content_id=None), replace(GIF, content_id=None))


def test_the_chunks_are_what_the_toolbelt_reads_and_its_length_is_theirs() -> None:
    def encoder() -> RelatedEncoder:
        parts = (({"Content-Type": "text/xml"}, b"<a/>"), ({"Content-ID": "<x>"}, bytes(5000)))
        return RelatedEncoder(parts, boundary="b", subtype="related", parameters={"type": "text/xml"})

    joined = b"".join(encoder().chunks())
    assert joined == encoder().to_string()
    assert len(joined) == encoder().len
    assert encoder().content_type == 'multipart/related; type="text/xml"; boundary="b"'
    assert encoder().read(10) == joined[:10]
