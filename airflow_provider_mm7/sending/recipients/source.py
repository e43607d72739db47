"""Where recipients files come from and results go: interfaces, so that no store is known here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

from airflow_provider_mm7.exceptions import InputError

#: The parameter by which errors name a file of recipients.
FIELD = "recipients"


class ByteStream(Protocol):
    """Something to read bytes from, once."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a store tells of a file without giving it.

    :ivar size: bytes.
    :ivar etag: names this version of the bytes.
    """

    size: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes of one version of a file.

    :ivar start: the first byte; ``end`` is the one after the last.
    :ivar etag: the version; bytes of another one are refused.
    """

    start: int
    end: int
    etag: str


class Files(Protocol):
    """A store of files."""

    def facts(self, uri: str) -> FileFacts:
        """Tell size and version.

        :raises MediaError: one of its kinds.
        :raises MediaUnavailable: the store did not answer; try again.
        """
        ...

    def open(self, uri: str, span: Span | None = None) -> AbstractContextManager[ByteStream]:
        """Read a file, or a span of it, as one stream of one version.

        :raises MediaChanged: the file is another one than the span names.
        """
        ...

    def save(self, uri: str, body: BinaryIO) -> None:
        """Write a file whole, in place of what was there: nobody sees half of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a recipients file that one mapped task sends.

    :ivar start: byte of the file at which its first line begins; ``end``: the byte after its last line.
    :ivar etag: version of the file that was cut.
    :ivar header: the header line of a CSV file; None for JSON Lines.
    """

    uri: str
    start: int
    end: int
    etag: str
    header: str | None = None

    @property
    def span(self) -> Span:
        """Its bytes."""
        return Span(start=self.start, end=self.end, etag=self.etag)

    def as_json(self) -> dict[str, Any]:
        """Return it as it travels through XCom."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Chunk:
        """Read what travelled through XCom.

        :raises InputError: it is no chunk.
        """
        kinds = {"uri": str, "start": int, "end": int, "etag": str}
        wrong = [name for name, kind in kinds.items() if type(value.get(name)) is not kind]
        header = value.get("header")
        if wrong or not (header is None or isinstance(header, str)) or not 0 <= value["start"] <= value["end"]:
            raise InputError(
                FIELD,
                f"is an object that is no chunk ({', '.join(wrong) or 'its values'})",
                "Give a URI, a list, or an item of what PlanRecipientsOperator returns",
            )
        return cls(uri=value["uri"], start=value["start"], end=value["end"], etag=value["etag"], header=header)


class HashingStream:
    """Passes bytes on and remembers their SHA-256."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        data = self._stream.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the digest of what was read."""
        return self._digest.hexdigest()
