"""Where media come from: the interface, local files, and what every source has in common."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from airflow_provider_mm7.exceptions import (
    MediaAccessDenied,
    MediaChanged,
    MediaError,
    MediaNotFound,
    MediaTooLarge,
)
from airflow_provider_mm7.media.cache import BoundedCache

#: Bytes asked of a stream at a time: large enough to be cheap, small beside a message's limit.
READ_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaObject:
    """One object as it was fetched.

    :ivar uri: as the user named it.
    :ivar body: its bytes.
    :ivar etag: version of the bytes as the store tells it; None when it tells none.
    :ivar declared_type: what the store says it is; a hint, never trusted.
    :ivar name: file name, the last segment of the path.
    """

    uri: str
    body: bytes
    etag: str | None = None
    declared_type: str | None = None
    name: str


class MediaSource(Protocol):
    """Something that fetches media by URI."""

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch an object whole.

        :param uri: the object's name.
        :param limit: bytes allowed; a larger object is refused, before it is read where its size is known.
        :raises MediaError: one of its kinds.
        :raises MediaUnavailable: the store did not answer; try again.
        """
        ...


def scheme_of(uri: str) -> str:
    """Scheme of a URI in lower case; ``file`` for a plain path."""
    scheme, separator, _ = uri.partition("://")
    return scheme.lower() if separator else "file"


def name_of(uri: str) -> str:
    """File name of a URI: what follows the last slash of its path.

    Object keys are not percent-encoded (``s3://bucket/50%25 off?.gif`` is a key as it stands), so nothing is decoded
    and a question mark is part of the name.
    """
    return uri.rstrip("/").rsplit("/", 1)[-1]


def refuse_size(uri: str, size: int, limit: int) -> None:
    """Refuse an object by its size alone.

    :param size: bytes of the object.
    :param limit: bytes allowed.
    :raises MediaTooLarge: size is over the limit.
    """
    if size > limit:
        raise MediaTooLarge(
            uri,
            f"has {size} bytes, over the limit of {limit} bytes",
            "Send a smaller object, or raise max_message_bytes of the connection if the carrier takes more",
            size=size,
            limit=limit,
        )


def read_exactly(stream: BinaryIO, uri: str, size: int) -> bytes:
    """Read a stream whose length was announced, never more than one byte beyond it.

    :param stream: anything with ``read(n)``.
    :param size: bytes announced.
    :raises MediaChanged: fewer or more bytes came.
    """
    chunks: list[bytes] = []
    wanted = size + 1
    while wanted > 0 and (chunk := stream.read(min(wanted, READ_CHUNK_BYTES))):
        chunks.append(chunk)
        wanted -= len(chunk)
    body = b"".join(chunks)
    if len(body) != size:
        came = f"{len(body)} came" if len(body) < size else "more came"
        raise changed(uri, f"{size} bytes were announced and {came}")
    return body


def changed(uri: str, how: str) -> MediaChanged:
    """The error for an object that is not the one whose size and version were asked for.

    :param how: what was seen.
    """
    return MediaChanged(uri, f"changed while it was read: {how}", "Run the task again once its upload is complete")


def not_found(uri: str, detail: str = "") -> MediaNotFound:
    """The error for a missing object.

    :param detail: what is missing, when more is known than that.
    """
    return MediaNotFound(uri, detail or "does not exist", "Check the name, and that the task that makes it ran before")


class LocalFiles:
    """Files of the machine the task runs on: ``file:///abs/path``, or a plain path."""

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch a file. See :meth:`MediaSource.fetch`."""
        path = local_path(uri)
        try:
            with open(path, "rb", buffering=0, opener=open_without_waiting) as stream:
                facts = os.fstat(stream.fileno())
                if not stat.S_ISREG(facts.st_mode):
                    raise MediaError(uri, "is not a regular file", "Name a file")
                refuse_size(uri, facts.st_size, limit)
                body = read_exactly(stream, uri, facts.st_size)
                if file_version(os.fstat(stream.fileno())) != file_version(facts):
                    raise changed(uri, "its version is another one now")
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise not_found(uri, "no such file on this worker") from exc
        except PermissionError as exc:
            raise MediaAccessDenied(
                uri, "the worker may not read this file", "Give the worker's user read permission"
            ) from exc
        except IsADirectoryError as exc:
            raise MediaError(uri, "is not a regular file", "Name a file") from exc
        except OSError as exc:
            raise MediaError(uri, f"cannot be read ({exc.strerror})", "Check the file system of the worker") from exc
        return MediaObject(uri=uri, body=body, etag=file_version(facts), name=path.name)


def file_version(facts: os.stat_result) -> str:
    """Name the version of a local file."""
    return f"{facts.st_dev:x}-{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file for :func:`open`'s ``opener``."""
    # A FIFO would wait for a writer for ever; a regular file does not mind the flag.
    return os.open(path, flags | os.O_NONBLOCK)


def local_path(uri: str) -> Path:
    """Path that ``file:///path`` names, percent-decoded; a plain path as it stands.

    :raises MediaError: the URI names another host.
    """
    if scheme_of(uri) != "file" or "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost"):
        raise MediaError(uri, "names a file of another host", "Write file:///absolute/path, with three slashes")
    return Path(unquote(parts.path))


class SourceByScheme:
    """Chooses the source by the URI's scheme.

    :param sources: scheme (``s3``, ``file``, ``gs``...) -> source.
    :param otherwise: the source for every scheme that is not named; None refuses them.
    """

    def __init__(self, sources: Mapping[str, MediaSource], *, otherwise: MediaSource | None = None) -> None:
        self._sources = dict(sources)
        self._otherwise = otherwise

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch from the source of this scheme. See :meth:`MediaSource.fetch`."""
        scheme = scheme_of(uri)
        if scheme in ("http", "https"):
            raise MediaError(
                # Neither user information nor the signature of a presigned URL may be repeated.
                re.sub(r"(?<=://)[^/]*@", "", uri.partition("?")[0]),
                "media are not read over HTTP(S)",
                "Copy it to object storage in a task before, where its size and version are known",
            )
        source = self._sources.get(scheme, self._otherwise)
        if source is None:
            raise MediaError(uri, f"no source for {scheme}://", f"Use one of {', '.join(sorted(self._sources))}")
        return source.fetch(uri, limit=limit)


class CachedSource:
    """Keeps what was fetched, so that an object named by many messages is read once.

    Entries are kept by URI; an object that another process replaces meanwhile is not seen again before it falls out, so
    one cache belongs to one run of one task.

    :param source: where objects come from.
    :param max_bytes: bytes of bodies kept; the least recently used fall out first.
    """

    def __init__(self, source: MediaSource, *, max_bytes: int) -> None:
        self._source = source
        self._held: BoundedCache[str, MediaObject] = BoundedCache(most=max_bytes, size=lambda found: len(found.body))

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch, or give what was fetched before. See :meth:`MediaSource.fetch`."""
        found = self._held.get(uri, lambda uri: self._source.fetch(uri, limit=limit))
        refuse_size(uri, len(found.body), limit)
        return found
