"""The reading of texts whose encoding is named wrongly, or not at all."""

from __future__ import annotations

import codecs
import time

import pytest

from airflow_provider_mm7.protocol.charsets import LABELS, codecs_of, decode, decode_utf16, join_surrogates
from tests.protocol.test_hostile import BOUND_S, MIB


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("GB2312", ("gb18030", "gb2312")),
        ("ks_c_5601-1987", ("cp949", "euc_kr")),
        ("Latin1", ("cp1252", "iso8859-1")),
        ("utf-8", ("utf-8",)),
        ("Windows-31J", ("cp932",)),
        ("csGB2312", ("gb18030", "gb2312")),
        ("windows-874", ("cp874",)),
        (" ISO-8859-8-I", ("iso8859-8",)),
        ("4", ("cp1252", "iso8859-1")),
        ("12", ("iso8859-9",)),
        ("2025", ("gb18030", "gb2312")),
        ("2251", ("cp1251",)),
        ("x-unknown", ()),
        ("", ()),
        ("a\0b", ()),
    ],
)
def test_codecs_of_a_name(label: str, names: tuple[str, ...]) -> None:
    assert codecs_of(label) == names


@pytest.mark.parametrize("label", sorted(LABELS))
def test_python_has_what_a_name_stands_for(label: str) -> None:
    assert codecs_of(label)[-1] == codecs.lookup(LABELS[label]).name


@pytest.mark.parametrize("text", ["STOP", "Tēnā koe", "Привет, STOP", "Да.", "5 €", "a", "\U0001f600 ok"])
@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-16-le"])
def test_the_order_of_bytes_shows(text: str, codec: str) -> None:
    assert decode_utf16(text.encode(codec)).removeprefix("\ufeff") == text


def test_without_mark_and_zeros_it_is_big_endian() -> None:
    assert decode_utf16("土星".encode("utf-16-be")) == "土星"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be", "utf-16-le"])
def test_what_is_cut_off_within_a_character_is_read(codec: str) -> None:
    assert decode_utf16("STOP".encode(codec) + b"\0") == "STOP\ufffd"


def test_what_has_no_zeros_and_is_no_utf_16_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_utf16(b"Hello")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a\ud83d\ude00b", "a\U0001f600b"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83dx\U0001f600", "\ufffdx\U0001f600"),
    ],
)
def test_surrogates_are_joined(text: str, expected: str) -> None:
    assert join_surrogates(text) == expected


@pytest.mark.parametrize(
    "unit",
    [b"\xff", b"\xed\xa0\xbd", b"\xed\xa0\xbd\xed\xb8\x80", b"\xed\xa0\xbd\xed\xb8\x80a", b"\xed\xa0", b"\xc3\xbc\xff"],
)
def test_wrong_bytes_take_linear_time(unit: bytes) -> None:
    start = time.monotonic()
    decode(unit * (8 * MIB // len(unit)) + b"\xff", ["gb18030"])
    assert time.monotonic() - start < BOUND_S
