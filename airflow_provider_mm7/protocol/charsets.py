"""Texts in the encodings that peers name, and in those that they mean."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from functools import lru_cache

#: Where a superset is in use under the name of the subset, it is the superset that is read (WHATWG Encoding Standard
#: section 4.2, but for us-ascii, which peers declare over UTF-8).
_SUPERSETS = {
    "ascii": "utf-8",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "shift_jis": "cp932",
}
#: Names that Python does not know, with the codec that it has for them: registered ones (IANA's Character Sets), those
#: that Java and browsers use beside them, and numbers (IANA's MIBenum), which WSP has in place of names (WAP-230's
#: Well-known-charset) and gateways write out.
LABELS = {
    "cseuckr": "euc_kr",
    "cseucpkdfmtjapanese": "euc_jp",
    "csgb2312": "gb2312",
    "csgbk": "gbk",
    "csunicode": "utf-16",
    "cswindows31j": "cp932",
    "gb_2312-80": "gb2312",
    "iso-10646-ucs-2": "utf-16",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-8-i": "iso8859-8",
    "ms874": "cp874",
    "ucs-2": "utf-16",
    "ucs2": "utf-16",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "windows-936": "gbk",
    "windows-949": "cp949",
    "x-euc-jp": "euc_jp",
    "x-gbk": "gbk",
    "x-sjis": "shift_jis",
    "x-windows-874": "cp874",
    "x-windows-949": "cp949",
    "x-windows-950": "cp950",
    "3": "ascii",
    **{str(4 + part): f"iso8859-{part + 1}" for part in range(9)},
    "17": "shift_jis",
    "18": "euc_jp",
    "38": "euc_kr",
    "39": "iso2022_jp",
    "106": "utf-8",
    "109": "iso8859-13",
    "111": "iso8859-15",
    "113": "gbk",
    "114": "gb18030",
    "1000": "utf-16",
    "1015": "utf-16",
    "2024": "cp932",
    "2025": "gb2312",
    "2026": "big5",
    "2084": "koi8-r",
    "2088": "koi8-u",
    "2101": "big5hkscs",
    "2109": "cp874",
    **{str(1000 + page): f"cp{page}" for page in range(1250, 1259)},
    "2259": "tis-620",
}
#: CESU-8 (Unicode Technical Report 26): a character beyond the BMP as two surrogates of three bytes each. Java and
#: Oracle's databases write it under the name of UTF-8.
_CESU_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
#: Of these that are read in one text. A message has a few, and each takes microseconds.
_MAX_CESU = 100_000
_BEYOND_ASCII = re.compile("[^\0-\x7f\ufffd]")
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@lru_cache(maxsize=64)
def codecs_of(label: str) -> tuple[str, ...]:
    """Find Python's codecs for the name of a charset.

    :return: in the order to try, the one that bears the name last; empty for a name that Python does not know.
    """
    try:
        name = codecs.lookup(LABELS.get(label.strip().lower(), label)).name
    except (LookupError, ValueError):
        return ()
    return (_SUPERSETS[name], name) if name in _SUPERSETS else (name,)


def decode(data: bytes, names: Iterable[str]) -> str:
    """Decode by the first codec that fits, UTF-8 after those that are named; every byte means something in the end.

    A wrong letter is better than a lost message, and one wrong byte than a text of wrong letters.

    :param names: Python's names.
    """
    for codec in (*names, "utf-8"):
        try:
            # bytes.decode, not codecs.decode: that would also unpack ``zlib``.
            return data.decode(codec)
        except (LookupError, ValueError):
            continue
    mended = decode_broken_utf8(data)
    if mended is not None:
        return mended
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode_broken_utf8(data: bytes) -> str | None:
    """Decode what is UTF-8 but for some bytes, which become U+FFFD; CESU-8 is read.

    :return: None where no character beyond ASCII is whole: it is another encoding.
    """
    text = _CESU_PAIR.sub(_as_utf8, data, count=_MAX_CESU).decode("utf-8", "replace")
    return text if _BEYOND_ASCII.search(text) else None


def decode_utf16(data: bytes) -> str:
    """Decode UTF-16 of either order of bytes; a character cut off becomes U+FFFD.

    Without a byte order mark it is big-endian (RFC 2781 section 4.3), unless zeros stand mostly where little-endian has
    those of ASCII.

    :raises UnicodeDecodeError: it is not UTF-16; what has no zeros may be anything.
    """
    codec = "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
    return data.decode("utf-16" if data.startswith(UTF_16_MARKS) else codec, "replace" if b"\0" in data else "strict")


def join_surrogates(text: str) -> str:
    """Join pairs of surrogates; what is left of them becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _as_utf8(pair: re.Match[bytes]) -> bytes:
    return join_surrogates(pair[0].decode("utf-8", "surrogatepass")).encode("utf-8")
