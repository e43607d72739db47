"""Recipients files as records: CSV and JSON Lines, streamed, each record with the line it begins in.

Memory does not depend on the file: no more than a line and a piece of the stream are held.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, cast

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.media.source import scheme_of
from airflow_provider_mm7.sending.outcome import quote
from airflow_provider_mm7.sending.recipients.source import FIELD, ByteStream

#: Bytes of one line: a hundred times what a message can show, and a bound for files that are no lines at all.
MAX_LINE_BYTES = 1024 * 1024
#: Bytes asked of a stream at a time.
READ_BYTES = 256 * 1024
#: Column separators; the one that the header line has most of.
DELIMITERS = (",", ";", "\t")
#: Characters of a column's name in an error.
_MAX_SHOWN = 40
_BOM = "\ufeff"
#: The column of a number that came without columns.
BARE = "recipient"

Values = Mapping[str, object]


class Format(StrEnum):
    """How records stand in a file."""

    CSV = "csv"
    JSONL = "jsonl"


_SUFFIXES = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """A recipients file's name, taken apart.

    :ivar stem: without suffixes.
    :ivar suffix: ``.csv``, ``.jsonl`` or ``.ndjson``.
    """

    stem: str
    suffix: str
    format: Format
    gzipped: bool

    @classmethod
    def of(cls, uri: str, *, field: str = FIELD) -> FileName:
        """Read the suffixes of a name.

        :raises InputError: they tell no format.
        """
        lower = uri.lower()
        gzipped = lower.endswith(".gz")
        plain = uri[:-3] if gzipped else uri
        for suffix, kind in _SUFFIXES.items():
            if plain.lower().endswith(suffix):
                return cls(stem=plain[: -len(suffix)], suffix=suffix, format=kind, gzipped=gzipped)
        if scheme_of(uri) in ("http", "https"):
            # Its address may hold a password or a signature.
            raise InputError(field, f"{scheme_of(uri)}://... is not read over HTTP(S)", "Copy it to a store")
        raise InputError(
            field, f"{uri}: its name tells no format", "Name it .csv, .jsonl or .ndjson (recipients also .gz)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a file.

    :ivar line: of the file, from 1, in which it begins; of a list, its place in it.
    :ivar values: column to value; empty where there is a problem.
    :ivar bare: whether it is a number and no columns.
    :ivar problem: why it cannot be used.
    """

    line: int
    values: Values = field(default_factory=dict)
    bare: bool = False
    problem: str | None = None


def read_file(
    stream: ByteStream, name: FileName, *, header: str | None = None, chunked: bool = False
) -> Iterator[Record]:
    """Read the records of a file or of a chunk of one.

    :param header: the header line, where the stream begins after it.
    :param chunked: whether the stream may begin and end anywhere in the file: a record stands on one line.
    :raises InputError: the file cannot be read on; names the line.
    """
    lines = read_lines(Gunzip(stream) if name.gzipped else stream)
    if name.format is Format.JSONL:
        return read_jsonl(lines)
    return read_csv(lines, header=header, chunked=chunked)


def read_list(items: Iterable[object]) -> Iterator[Record]:
    """Read numbers, or mappings of columns, as another task gave them."""
    for place, item in enumerate(items, start=1):
        if isinstance(item, Mapping):
            yield Record(line=place, values={str(key): value for key, value in item.items()})
        elif isinstance(item, str) or type(item) is int:
            yield Record(line=place, values={BARE: item}, bare=True)
        else:
            yield Record(line=place, problem=f"is of type {type(item).__name__}, not a number or a mapping of columns")


def read_lines(stream: ByteStream) -> Iterator[tuple[int, str]]:
    r"""Split a stream of UTF-8 into numbered lines, their ends kept. A line ends with CRLF, LF or CR.

    :raises InputError: a line is not UTF-8, holds NUL, or is too long.
    """
    for number, line in enumerate(_split(stream), start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise _unreadable(number, "is not UTF-8", "Save the file as UTF-8") from None
        if "\0" in text:
            raise _unreadable(number, "holds a NUL byte", "Save the file as UTF-8 text")
        yield number, text.removeprefix(_BOM) if number == 1 else text


def _split(stream: ByteStream) -> Iterator[bytes]:
    rest, count = b"", 0
    while data := stream.read(READ_BYTES):
        # Bytes split at CR, LF and CRLF alone, unlike text.
        lines = (rest + data).splitlines(keepends=True)
        # Without LF it may go on; with CR too, since that may be half of CRLF.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        for line in lines:
            count += 1
            _check_length(line, count)
            yield line
        _check_length(rest, count + 1)
    if rest:
        yield rest


def _check_length(line: bytes, number: int) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise _unreadable(number, f"has more than {MAX_LINE_BYTES} bytes", "Give a file of lines")


def read_csv(lines: Iterator[tuple[int, str]], *, header: str | None = None, chunked: bool = False) -> Iterator[Record]:
    """Read CSV (RFC 4180) with a header line.

    :param header: the header line, where the lines begin after it.
    """
    if header is None:
        header = next((line for _, line in lines if line.strip()), None)
        if header is None:
            return
    columns, delimiter = read_header(header)
    for line, fields in _rows(lines, delimiter, chunked=chunked):
        if not any(map(str.strip, fields)):
            continue
        if len(fields) == len(columns):
            values = {name: value for name, value in zip(columns, fields, strict=True) if name}
            yield Record(line=line, values=values)
        else:
            yield Record(line=line, problem=f"has {len(fields)} columns where the header has {len(columns)}")


def read_header(line: str) -> tuple[tuple[str, ...], str]:
    """Return the columns of a header line, and the delimiter.

    :raises InputError: a name stands twice, or a quote is left open.
    """
    text = line.removeprefix(_BOM).rstrip("\r\n")
    outside = "".join(text.split('"')[::2])
    delimiter = max(DELIMITERS, key=outside.count)
    try:
        (fields,) = csv.reader([text], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise InputError(
            FIELD, "the header line has an open quote", "Write each column's name on the first line"
        ) from None
    columns = tuple(name.strip() for name in fields)
    named = [name for name in columns if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise InputError(FIELD, f"the header names {show_names(twice)} twice", "Give each column a name of its own")
    return columns, delimiter


def show_names(names: Iterable[str]) -> str:
    """Name columns in an error. A file without header has numbers in their place: those are masked."""
    return ", ".join(repr((quote(name) or "")[:_MAX_SHOWN]) for name in names)


def _rows(lines: Iterator[tuple[int, str]], delimiter: str, *, chunked: bool) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield each row with the line it begins in."""
    first = last = 0

    def feed() -> Iterator[str]:
        nonlocal first, last
        for number, line in lines:
            if chunked and line.count('"') % 2:
                raise _unreadable(
                    number,
                    "has an odd number of quotes, and a chunked file has each record on one line",
                    "Send the file whole, or take the line breaks out of its values",
                )
            first = first or number
            last = number
            yield line

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while True:
        first = 0
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise _unreadable(first or last, f"begins a record that is no CSV ({exc})", "Check its quotes") from None
        yield first, fields


def read_jsonl(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    """Read JSON Lines: one object a line."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            yield Record(line=number, problem="is not JSON")
            continue
        if isinstance(value, dict):
            yield Record(line=number, values=value)
        else:
            yield Record(line=number, problem="is no JSON object")


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


class Gunzip:
    """What a gzipped stream holds.

    :param stream: gzip, of any number of members.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._file = gzip.GzipFile(fileobj=cast(BinaryIO, stream), mode="rb")

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end.

        :raises InputError: it is not gzip, or ends too early.
        """
        try:
            return self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InputError(
                FIELD, "the file is no gzip, or not all of it", "Check that it was uploaded whole"
            ) from None


def _unreadable(line: int, problem: str, remedy: str) -> InputError:
    return InputError(FIELD, f"line {line} {problem}", remedy, line=line)
