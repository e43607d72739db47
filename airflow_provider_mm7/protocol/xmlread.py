"""XML as peers write it, read without entities, DTD, network or unbounded depth.

What is not well-formed is refused, with the repairs that peers force: in tags names with a double colon, and prefixes
that nobody declared; in texts ``&``, ``<`` and characters that XML wants written otherwise or not at all. Whatever else
is wrong, a document cut off included, stays an error, since half an answer must never be read as a whole one.
"""

from __future__ import annotations

import codecs
import re
import sys
from functools import lru_cache
from typing import NoReturn

from lxml import etree

from airflow_provider_mm7.exceptions import XmlError
from airflow_provider_mm7.protocol.charsets import codecs_of, decode, decode_broken_utf8, join_surrogates
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits, exceeded
from airflow_provider_mm7.protocol.parts import SOAP_NAMESPACE
from airflow_provider_mm7.protocol.scalars import NOT_XML

_PARSER = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)

_DECLARATION = re.compile(r"<\?xml\s[^<>]*?\?>")
_DECLARED_ENCODING = re.compile(rb"""<\?xml\s[^<>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
#: What may stand before the root element, a DTD excepted.
_PROLOG = re.compile(r"(?:\s++|<\?.*?(?:\?>|\Z)|<!--.*?(?:-->|\Z))*+", re.DOTALL)

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
#: XML 1.0 appendix F: UTF-16 without a byte order mark shows by the NUL beside the first character.
_UNMARKED = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
#: Encodings that peers declare. Python's other codecs (punycode, idna, unicode_escape...) are no encodings of XML, and
#: some of them are slow. UTF-16 is none here: a document in it is known by its first bytes, and one that only says so
#: is not in it.
_ENCODINGS = re.compile(
    r"utf-8|ascii|iso8859-\d+|cp125\d|koi8-[ru]|tis-620|cp874"
    r"|gb2312|gbk|gb18030|big5|big5hkscs|cp950|euc_kr|cp949|euc_jp|shift_jis|cp932|iso2022_jp"
)


def parse_xml(
    data: bytes, *, charset: str | None = None, limits: Limits = DEFAULT_LIMITS, repair: bool = True
) -> etree._Element:
    """Parse a document.

    :param data: its bytes, byte order mark and white space before it allowed, NUL and white space after it.
    :param charset: of the Content-Type, used where the document declares no encoding.
    :param limits: ``soap_bytes`` and ``xml_depth``.
    :param repair: whether what is not well-formed is tried once more.
    :return: the root element; comments and processing instructions are gone.
    :raises XmlError: not well-formed, or it has a DTD.
    :raises LimitExceeded: too large or too deep.
    """
    if len(data) > limits.soap_bytes:
        raise exceeded("soap_bytes", limits.soap_bytes)
    # Senders in C count the zero that ends their string.
    text = _decode(data, charset).lstrip("\ufeff \t\r\n").rstrip("\0 \t\r\n")
    text = _DECLARATION.sub("", text, count=1) if text.startswith("<?xml") else text
    tags = text.count("<")
    if tags > limits.xml_tags:
        raise exceeded("xml_tags", limits.xml_tags)
    if text.count("=") > limits.xml_attributes:
        raise exceeded("xml_attributes", limits.xml_attributes)
    if text.count("xmlns") > limits.namespaces:
        raise exceeded("namespaces", limits.namespaces)
    try:
        root = _parse(text)
    except etree.XMLSyntaxError as exc:
        root = _parse_repaired(text, exc) if repair else _refuse(exc)
    # A document of n tags is at most n deep: most messages need no look.
    if tags > limits.xml_depth and _deeper_than(limits.xml_depth)(root):
        raise exceeded("xml_depth", limits.xml_depth)
    return root


def local_name(element: etree._Element) -> str:
    """Give an element's name without its namespace: peers' namespaces differ, their names do not."""
    return element.tag.rpartition("}")[2]


def _parse(text: str) -> etree._Element:
    _refuse_dtd(text)
    return etree.fromstring(text.encode("utf-8"), _PARSER)


def _decode(data: bytes, charset: str | None) -> str:
    """Decode by byte order mark, declaration, charset, in this order; what does not decode so is UTF-8 or Latin-1.

    Where declaration and charset differ and one of them is UTF-8, that one is tried first: other text is hardly ever
    UTF-8 by chance, while most bytes are something in the other encodings.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strictly(data[len(mark) :], encoding)
    start = data[:64].lstrip()
    for mark, encoding in _UNMARKED:
        if start.startswith(mark):
            return _strictly(data, encoding)
    declared = _DECLARED_ENCODING.match(start + data[64:320])
    named = (*_codecs(declared[1].decode("ascii") if declared else ""), *_codecs(charset or ""))
    return decode(data, sorted(named, key="utf-8".__ne__))


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        mended = decode_broken_utf8(data) if encoding == "utf-8" else None
        if mended is None:
            raise XmlError(f"the document is marked as {encoding} and is not") from exc
        return mended


def _codecs(label: str) -> tuple[str, ...]:
    names = codecs_of(label)
    return names if names and _ENCODINGS.fullmatch(names[-1]) else ()


def _refuse_dtd(text: str) -> None:
    if "<!DOCTYPE" in text and text.startswith("<!DOCTYPE", _PROLOG.match(text).end()):  # type: ignore[union-attr]
        raise XmlError("the document has a DTD, which SOAP 1.1 section 3 forbids")


@lru_cache(maxsize=8)
def _deeper_than(depth: int) -> etree.XPath:
    """Make the question whether an element lies below ``depth`` others; it takes linear time."""
    return etree.XPath(f"boolean({'/*' * (depth + 1)})")


#: Stepped over whole; an unclosed one runs to the end, so that no input is scanned twice.
_OPAQUE = r"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)"
_TAG_NAME = re.compile(_OPAQUE + r"|<(/?[\w.-]++)::(?=[\w])", re.DOTALL)
_TAG = re.compile(_OPAQUE + r"|<(/?[\w:.-]++[^<>]*+)>", re.DOTALL)
#: ``&`` that begins none of XML's own entities, with the number that it may refer to; ``<`` that begins no markup.
_LOOSE = re.compile(
    _OPAQUE + r"|<\?.*?(?:\?>|\Z)"
    r"|&(?!(?:amp|lt|gt|quot|apos);)(?:#(?:([0-9]++)|x([0-9A-Fa-f]++));)?|<(?!/?[A-Za-z_]|[!?])",
    re.DOTALL,
)
#: Places to mend in texts. More is no slip of a peer, and each takes a microsecond.
_MAX_LOOSE = 100_000
#: Digits of a character's number, leading zeros aside. More are no character, and take long to make a number of.
_MAX_DIGITS = 7
_ROOT_NAME = re.compile(r"<([\w:.-]++)")
_PREFIX = re.compile(r"(?:\A/?|\s)([A-Za-z_][\w.-]{0,63}):[A-Za-z_]")
_DECLARED_PREFIX = re.compile(r"""\sxmlns:([\w.-]{1,64})\s*=\s*(?:"([^"<&]*)"|'([^'<&]*)')""")
#: Beginning of the namespace names that stand in for ones nobody knows.
UNDECLARED = "urn:undeclared:"
#: Prefixes to declare. More is no slip of a peer.
_MAX_UNDECLARED = 8


def _parse_repaired(text: str, error: etree.XMLSyntaxError) -> etree._Element:
    """Parse once more with the repairs; ``error`` is what the document said as it stands."""
    repaired = _declare_prefixes(_TAG_NAME.sub(_single_colon, _mend_texts(text)))
    if repaired != text:
        try:
            return _parse(repaired)
        except etree.XMLSyntaxError:
            pass
    return _refuse(error)


def _refuse(error: etree.XMLSyntaxError) -> NoReturn:
    raise XmlError(f"not well-formed: line {error.position[0]}, column {error.position[1]}") from None


def _mend_texts(text: str) -> str:
    """Escape ``&`` and ``<`` that peers left as they are, and replace characters that no document can hold.

    ``&nbsp;`` becomes text: no entity of HTML is one of XML, and none is expanded. References to two surrogates in a
    row, as software writes them that counts in UTF-16, become the character that the pair stands for.
    """
    if text.count("&") > _MAX_LOOSE:
        return text
    mended, replaced = NOT_XML.subn("\ufffd", join_surrogates(_LOOSE.sub(_mended, text)), count=_MAX_LOOSE)
    return mended if replaced < _MAX_LOOSE else text


def _mended(match: re.Match[str]) -> str:
    found, decimal, hexadecimal = match[0], match[1], match[2]
    if not decimal and not hexadecimal:
        return {"&": "&amp;", "<": "&lt;"}.get(found, found)
    digits = (decimal or hexadecimal).lstrip("0")
    code = int(digits or "0", 10 if decimal else 16) if len(digits) <= _MAX_DIGITS else sys.maxunicode + 1
    if code > sys.maxunicode:
        return "\ufffd"
    # One that XML can hold stays a reference: it may be one to ``<``.
    return chr(code) if NOT_XML.match(chr(code)) else found


def _single_colon(match: re.Match[str]) -> str:
    return f"<{match[1]}:" if match[1] else match[0]


def _declare_prefixes(text: str) -> str:
    """Declare on the root element the prefixes that are used and that it does not declare.

    A prefix that is declared elsewhere gets that name; the prefix of an undeclared root gets the SOAP namespace that
    the document declares under another prefix, as on the vendor's page, or the registered one.
    """
    root = _ROOT_NAME.match(text, _PROLOG.match(text).end())  # type: ignore[union-attr]
    if root is None:
        return text
    used: dict[str, None] = {}
    declared: dict[str, str] = {}
    on_root: set[str] = set()
    for tag in _TAG.finditer(text, root.start()):
        if tag[1]:
            used.update(dict.fromkeys(_PREFIX.findall(tag[1])))
            names = {prefix: double or single for prefix, double, single in _DECLARED_PREFIX.findall(tag[1])}
            on_root |= names.keys() if tag.start() == root.start() else set()
            for prefix, uri in names.items():
                declared.setdefault(prefix, uri)
    missing = used.keys() - on_root - {"xml", "xmlns"}
    if len(missing) > _MAX_UNDECLARED:
        return text
    root_prefix = root[1].removesuffix(":Envelope")
    soap = next((uri for uri in declared.values() if "/soap" in uri), SOAP_NAMESPACE)
    added = "".join(
        f' xmlns:{prefix}="{declared.get(prefix) or (soap if prefix == root_prefix else UNDECLARED + prefix)}"'
        for prefix in sorted(missing)
    )
    return text[: root.end()] + added + text[root.end() :]
