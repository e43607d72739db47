"""MIME headers: fields with parameters, folded lines, encoded names. Nothing is guessed from bodies."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from email.header import decode_header, make_header
from urllib.parse import quote, unquote

from airflow_provider_mm7.protocol.limits import Limits, exceeded

#: A parameter. An unquoted value runs to the next semicolon, so ``type=text/xml`` and boundaries with spaces are read;
#: an unclosed quote runs to the end, so that no input is scanned twice.
_PARAMETER = re.compile(r';\s*+([^=;\s"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)|([^;]*+))', re.DOTALL)
#: A piece of a value that stands in several parameters, ``name*0`` and so on (RFC 2231 section 3).
_PIECE = re.compile(r"([^*]+)\*([0-9]{1,3})(\*?)")
_AROUND_ID = ' \t\r\n"'
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
#: A token (RFC 9110 section 5.1), which is stricter than RFC 5322: ``<env:Envelope`` in a part without header is no
#: field. Names longer than a line are no names.
_FIELD = re.compile(rb"([!#-'*+.^-z|~0-9A-Z-]{1,76})[ \t]*:")
#: Characters of a file name that are decoded: no file system takes more, and decoding takes long.
_MAX_NAME = 1024
_CONTENT_FIELD = re.compile(rb"[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[A-Za-z-]{1,40}[ \t]*:")


def parse_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Split a structured header value.

    :param value: ``multipart/related; type=text/xml; boundary="a b"``.
    :return: the value before the first semicolon in lower case, and the parameters by lower-case name; the first of
        a name counts. A value in pieces is joined.
    """
    essence = _before_comment(value.partition(";")[0])
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value):
        text = _QUOTED_PAIR.sub(r"\1", quoted) if quoted else token
        # A blank at the end of a piece stands within the value.
        parameters.setdefault(name.lower(), text if quoted and "*" in name else text.strip())
    if "*0" in value:
        _join_pieces(parameters)
    if "charset" in parameters:
        parameters["charset"] = _before_comment(parameters["charset"])
    return essence.lower(), parameters


def _join_pieces(parameters: dict[str, str]) -> None:
    """Join ``name*0``, ``name*1`` to ``name``, and to ``name*`` where the first one is encoded."""
    pieces: dict[str, dict[int, tuple[str, str]]] = {}
    for key, text in parameters.items():
        if match := _PIECE.fullmatch(key):
            pieces.setdefault(match[1], {})[int(match[2])] = match[3], text
    for name, numbered in pieces.items():
        found = [numbered[number] for number in sorted(numbered)]
        star = found[0][0]
        joined = "".join(quote(text) if star and not encoded else text for encoded, text in found)
        parameters.setdefault(name + star, joined)


def _before_comment(text: str) -> str:
    """Drop a comment (RFC 2045 section 5.1 shows ``text/plain; charset=us-ascii (Plain text)``)."""
    return text.partition("(")[0].strip()


def strip_id(value: str) -> str:
    """Take ``<>``, white space and a stray ``cid:`` off a Content-ID or ``start``.

    WSP begins a quoted text with a quote that nothing closes (WAP-230 section 8.4.2.1), and gateways leave it there.
    """
    bare = _unbracketed(value.strip(_AROUND_ID))
    return _unbracketed(bare[4:].strip()) if bare[:4].lower() == "cid:" else bare


def _unbracketed(value: str) -> str:
    # What follows the bracket is a comment.
    return (value[1:].partition(">")[0] if value.startswith("<") else value.removesuffix(">")).strip()


def file_name(parameters: Mapping[str, str], key: str) -> str | None:
    """Read a ``name`` or ``filename`` parameter, plain, RFC 2231 or RFC 2047 encoded.

    :param parameters: of Content-Type or Content-Disposition.
    :param key: ``name`` or ``filename``.
    """
    extended = parameters.get(key + "*", "")[:_MAX_NAME]
    if extended:
        charset, _, encoded = extended.split("'", 2) if extended.count("'") > 1 else ("utf-8", "", extended)
        try:
            return unquote(encoded, encoding=charset or "utf-8", errors="replace")
        except LookupError:
            return unquote(encoded, errors="replace")
    plain = parameters.get(key)
    if plain and "=?" in plain and len(plain) <= _MAX_NAME:
        try:
            return str(make_header(decode_header(plain)))
        except (LookupError, ValueError, binascii.Error):
            return plain
    return plain or None


def read_fields(data: bytes, start: int, end: int, *, limits: Limits) -> tuple[dict[str, str], int]:
    """Read header fields up to the line that separates them from the body.

    A line that can be no field ends them too: peers leave out the separator, or the fields altogether. So does a line
    of white space alone (the vendor's page prints one), unless a ``Content-`` field follows it.

    :param data: what holds the entity.
    :param start: where its fields start.
    :param end: where the entity ends.
    :param limits: ``header_bytes`` and ``header_lines``.
    :return: values by lower-case name, unfolded, the first of a name; and where the body starts.
    :raises LimitExceeded: more bytes or lines of fields.
    """
    fields: dict[str, str] = {}
    name = ""
    lines: list[bytes] = []
    at = start
    limit = limits.header_bytes
    lines_left = limits.header_lines
    while at < end:
        eol = data.find(b"\n", at, min(end, start + limit))
        blank = eol >= 0 and not data[at:eol].strip(b" \t\r")
        if blank and not (data[at] in b" \t" and _CONTENT_FIELD.match(data, eol + 1, end)):
            at = eol + 1
            break
        match = _FIELD.match(data, at, end)
        if match is None and not (name and data[at] in b" \t"):
            break
        if eol < 0:
            if end - start > limit:
                raise exceeded("header_bytes", limit)
            eol = end
        lines_left -= 1
        if lines_left < 0:
            raise exceeded("header_lines", limits.header_lines)
        if match:
            _keep(fields, name, lines)
            name, lines = match[1].decode("ascii").lower(), [data[match.end() : eol]]
        else:
            lines.append(data[at:eol])
        at = min(eol + 1, end)
    _keep(fields, name, lines)
    return fields, at


def _keep(fields: dict[str, str], name: str, lines: list[bytes]) -> None:
    if name and name not in fields:
        raw = b" ".join(line.strip() for line in lines)
        try:
            fields[name] = raw.decode("utf-8")
        except UnicodeDecodeError:
            fields[name] = raw.decode("latin-1")
