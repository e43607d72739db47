"""Streams and files of tests: cut where a test wants them cut, and asked what was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import BinaryIO

from airflow_provider_mm7.exceptions import MediaChanged
from airflow_provider_mm7.sending.recipients.source import ByteStream, FileFacts, Span


class Pieces:
    """Gives a body in pieces, however much is asked for."""

    def __init__(self, body: bytes, cuts: Sequence[int] = ()) -> None:
        edges = sorted({0, len(body), *(cut for cut in cuts if 0 < cut < len(body))})
        self._pieces = [body[start:end] for start, end in pairwise(edges)]

    def read(self, size: int, /) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]


class OneFile:
    """A store of one file."""

    def __init__(self, body: bytes, etag: str = "v1") -> None:
        self.body = body
        self.etag = etag
        self.read_bytes = 0
        self.opened = 0

    def facts(self, uri: str) -> FileFacts:
        return FileFacts(size=len(self.body), etag=self.etag)

    @contextmanager
    def open(self, uri: str, span: Span | None = None) -> Iterator[ByteStream]:
        if span is not None and span.etag != self.etag:
            raise MediaChanged(uri, "changed", "Again")
        body = self.body if span is None else self.body[span.start : span.end]
        self.opened += 1
        self.read_bytes += len(body)
        # In two pieces, as a network might.
        yield Pieces(body, [len(body) // 2])

    def save(self, uri: str, body: BinaryIO) -> None:
        self.body = body.read()
