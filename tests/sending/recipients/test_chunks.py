"""Chunks of a recipients file: every record in one of them, whatever the cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError, MediaChanged
from airflow_provider_mm7.sending.recipients import chunks as module
from airflow_provider_mm7.sending.recipients.chunks import MAX_CHUNKS, plan_chunks
from airflow_provider_mm7.sending.recipients.reader import MAX_LINE_BYTES, FileName, read_file
from airflow_provider_mm7.sending.recipients.source import Chunk
from tests.sending.recipients.streams import OneFile

LINES = st.lists(
    st.tuples(st.text("0123456789+", max_size=30), st.sampled_from(["\n", "\r\n", "\r"]), st.integers(0, 2)),
    max_size=30,
)


def rows_of(file: OneFile, uri: str, planned: list[Chunk]) -> list[dict[str, Any]]:
    """Read all chunks, as the tasks that get them through XCom would."""
    rows = []
    for chunk in planned:
        found = Chunk.from_json(json.loads(json.dumps(chunk.as_json())))
        assert found == chunk
        with file.open(uri, found.span) as stream:
            rows += [
                dict(record.values) for record in read_file(stream, FileName.of(uri), header=found.header, chunked=True)
            ]
    return rows


@given(lines=LINES, count=st.integers(1, 40), bom=st.booleans(), look=st.integers(1, 9), final=st.booleans())
def test_every_record_is_in_one_chunk(
    lines: list[tuple[str, str, int]], count: int, bom: bool, look: int, final: bool
) -> None:
    """Blank lines, mixed line ends, no end at the end, cuts within CRLF, more chunks than lines."""
    records = [{"to": f"{n}{text}"} for n, (text, _, _) in enumerate(lines)]
    body = "to\r\n" + "".join(
        f"{record['to']}{end}" + end * blank for record, (_, end, blank) in zip(records, lines, strict=True)
    )
    encoded = (body if final else body.rstrip("\r\n")).encode("utf-8-sig" if bom else "utf-8")
    file = OneFile(encoded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOOK_BYTES", look)
        planned = plan_chunks(file, "p.csv", chunks=count)
    assert rows_of(file, "p.csv", planned) == records
    assert len(planned) <= count
    assert all(chunk.start < chunk.end for chunk in planned)
    assert {chunk.header for chunk in planned} <= {"to"}


@given(texts=st.lists(st.text(max_size=20), max_size=20), size=st.integers(1, 200))
def test_json_lines_by_bytes(texts: list[str], size: int) -> None:
    records = [{"to": text} for text in texts]
    file = OneFile(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode(errors="replace")
    )
    planned = plan_chunks(file, "p.jsonl", chunk_bytes=size)
    assert rows_of(file, "p.jsonl", planned) == [{"to": text.encode(errors="replace").decode()} for text in texts]
    assert {chunk.header for chunk in planned} <= {None}


def test_little_of_the_file_is_read() -> None:
    file = OneFile(b"to,name\n" + b"+64211234567,Ann\n" * 1_000_000)
    planned = plan_chunks(file, "p.csv", chunks=64)
    assert len(planned) == 64
    assert file.read_bytes < 65 * (module.LOOK_BYTES + 100)
    sizes = [chunk.end - chunk.start for chunk in planned]
    assert max(sizes) - min(sizes) < 100
    assert planned[0].header == "to,name"


def test_a_file_that_changes_meanwhile_is_refused() -> None:
    file = OneFile(b"to\n" + b"1\n" * 100)
    planned = plan_chunks(file, "p.csv", chunks=2)
    file.etag = "v2"
    with pytest.raises(MediaChanged):
        rows_of(file, "p.csv", planned)


@pytest.mark.parametrize(
    ("uri", "body", "options", "said"),
    [
        ("p.csv.gz", b"to\n1\n", {}, "compressed"),
        ("p.txt", b"to\n1\n", {}, "tells no format"),
        ("p.csv", b"to\n1\n", {"chunks": MAX_CHUNKS + 1}, "1024 are allowed"),
        ("p.csv", b"to\n" + b"1\n" * 5000, {"chunk_bytes": 1}, "Give chunk_bytes of at least 10"),
        ("p.csv", b"to\n1\n", {"chunks": 2, "chunk_bytes": 2}, "too"),
        ("p.csv", b'to,"n\n1,2\n', {}, "open quote"),
        ("p.csv", b"to\n" + b"1" * (3 * MAX_LINE_BYTES), {"chunks": 2}, "more than"),
    ],
)
def test_what_cannot_be_cut(uri: str, body: bytes, options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_chunks(OneFile(body), uri, **options)


@pytest.mark.parametrize("body", [b"", b"to\n", b"\n\nto", b"\xef\xbb\xbfto\r\n"])
def test_a_file_without_records_gives_no_chunks(body: bytes) -> None:
    assert plan_chunks(OneFile(body), "p.csv") == []


def test_the_records_begin_after_the_header() -> None:
    file = OneFile(b"\xef\xbb\xbf\r\n to;name \r\n1;a\r\n")
    (chunk,) = plan_chunks(file, "p.csv", chunks=1)
    assert (chunk.header, file.body[chunk.start : chunk.end]) == (" to;name ", b"1;a\r\n")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"uri": "p.csv"},
        {"uri": "p.csv", "start": "0", "end": 1, "etag": "x"},
        {"uri": "p.csv", "start": 2, "end": 1, "etag": "x"},
        {"uri": "p.csv", "start": -1, "end": 1, "etag": "x"},
        {"uri": "p.csv", "start": True, "end": 1, "etag": "x"},
        {"uri": "p.csv", "start": 0, "end": 1, "etag": "x", "header": 1},
    ],
)
def test_what_is_no_chunk(value: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no chunk"):
        Chunk.from_json(value)
