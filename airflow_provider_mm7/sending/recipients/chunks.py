"""A recipients file cut between its lines, without reading it: a look at its beginning and one at each cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.sending.recipients.reader import MAX_LINE_BYTES, FileName, Format, read_header, read_lines
from airflow_provider_mm7.sending.recipients.source import FIELD, ByteStream, Chunk, Files, Span

#: Airflow's default for ``[core] max_map_length``.
MAX_CHUNKS = 1024
#: Chunks where nothing is said.
DEFAULT_CHUNKS = 8
#: Bytes read at a cut at a time: longer than lines are.
LOOK_BYTES = 16 * 1024


def plan_chunks(files: Files, uri: str, *, chunks: int | None = None, chunk_bytes: int | None = None) -> list[Chunk]:
    """Cut a file into chunks that together hold each of its lines once.

    :param chunks: how many; fewer where the file has fewer lines than that.
    :param chunk_bytes: about how many bytes each, in place of their number.
    :return: none for a file without records.
    :raises InputError: the file cannot be cut.
    :raises MediaChanged: it changed meanwhile.
    """
    name = FileName.of(uri)
    if name.gzipped:
        raise InputError(FIELD, f"{uri}: a compressed file cannot be cut", "Give it uncompressed, or to one task")
    if chunks is not None and chunk_bytes is not None:
        raise InputError("chunks", "is given, and chunk_bytes too", "Give one of them")
    facts = files.facts(uri)
    whole = Span(start=0, end=facts.size, etag=facts.etag)
    header, start = None, 0
    if name.format is Format.CSV:
        found = _header(files, uri, whole)
        if found is None:
            return []
        header, start = found
    count = _count(facts.size - start, chunks, chunk_bytes)
    cuts = sorted({start, facts.size, *_cuts(files, uri, Span(start=start, end=facts.size, etag=facts.etag), count)})
    return [Chunk(uri=uri, start=begin, end=end, etag=facts.etag, header=header) for begin, end in pairwise(cuts)]


def _count(size: int, chunks: int | None, chunk_bytes: int | None) -> int:
    count = -(-size // chunk_bytes) if chunk_bytes else chunks or DEFAULT_CHUNKS
    if count > MAX_CHUNKS:
        remedy = (
            f"Give chunk_bytes of at least {-(-size // MAX_CHUNKS)}" if chunk_bytes else f"Give at most {MAX_CHUNKS}"
        )
        raise InputError(
            "chunk_bytes" if chunk_bytes else "chunks", f"makes {count} chunks, and {MAX_CHUNKS} are allowed", remedy
        )
    return count


def _cuts(files: Files, uri: str, span: Span, count: int) -> Iterator[int]:
    size = span.end - span.start
    for number in range(1, count):
        wanted = span.start + size * number // count
        if wanted > span.start:
            yield _line_start(files, uri, Span(start=wanted, end=span.end, etag=span.etag))


def _header(files: Files, uri: str, whole: Span) -> tuple[str, int] | None:
    """Return the header line and the byte after its end."""
    position = 0
    while position < whole.end:
        end = _line_start(files, uri, Span(start=position + 1, end=whole.end, etag=whole.etag))
        with files.open(uri, Span(start=position, end=end, etag=whole.etag)) as stream:
            line = "".join(text for _, text in read_lines(stream))
        if line.strip():
            read_header(line)
            return line.rstrip("\r\n"), end
        position = end
    return None


def _line_start(files: Files, uri: str, span: Span) -> int:
    """Find where the first line begins at or after the start of a span, which is not the file's first byte.

    :raises InputError: the line before is longer than lines may be.
    """
    # From the byte before: a line may begin just here. CR alone ends a line, too, unless LF follows.
    position = span.start - 1
    after_cr = False
    while position < span.end:
        if position - span.start > MAX_LINE_BYTES:
            raise InputError(FIELD, f"a line has more than {MAX_LINE_BYTES} bytes", "Give a file of lines")
        look = Span(start=position, end=min(position + LOOK_BYTES, span.end), etag=span.etag)
        with files.open(uri, look) as stream:
            data = _read(stream, look.end - look.start)
        if after_cr:
            return position + data.startswith(b"\n")
        ends = [found for found in (data.find(b"\n"), data.find(b"\r")) if found >= 0]
        if ends:
            end = min(ends)
            if data[end : end + 1] == b"\n":
                return position + end + 1
            if end + 1 < len(data):
                return position + end + 1 + (data[end + 1 : end + 2] == b"\n")
            after_cr = True
        position = look.end
    return span.end


def _read(stream: ByteStream, size: int) -> bytes:
    pieces = []
    while size > 0 and (data := stream.read(size)):
        pieces.append(data)
        size -= len(data)
    return b"".join(pieces)
