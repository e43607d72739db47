"""Recipients files and their results through Airflow: S3, local files, and every store of ObjectStoragePath."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from airflow.sdk import ObjectStoragePath

from airflow_provider_mm7.exceptions import MediaAccessDenied, MediaChanged, MediaError, MediaNotFound
from airflow_provider_mm7.hooks.lineage import note_read, note_written
from airflow_provider_mm7.hooks.stores import (
    S3Connection,
    facts_of,
    s3_errors,
    split_s3_uri,
    storage_errors,
    version_of,
)
from airflow_provider_mm7.media.source import file_version, local_path, open_without_waiting, scheme_of
from airflow_provider_mm7.sending.recipients.source import FIELD, ByteStream, FileFacts, Files, Span

Errors = Callable[[], AbstractContextManager[None]]


def open_files(s3: S3Connection, *, conn_id: str | None = None, field: str = FIELD) -> Files:
    """Return the stores of recipients files, by the scheme of the URI.

    :param s3: how S3 is reached.
    :param conn_id: Airflow connection for other object stores.
    :param field: the parameter that errors name.
    """
    return FilesByScheme(S3Files(s3, field), LocalFolders(field), ObjectStorageFiles(conn_id, field), field)


class FilesByScheme:
    """Chooses the store by the URI's scheme."""

    def __init__(self, s3: Files, local: Files, others: Files, field: str) -> None:
        self._s3, self._local, self._others, self._field = s3, local, others, field

    def facts(self, uri: str) -> FileFacts:
        """Tell size and version."""
        return self._of(uri).facts(uri)

    @contextmanager
    def open(self, uri: str, span: Span | None = None) -> Iterator[ByteStream]:
        """Read a file, or a span of it."""
        with self._of(uri).open(uri, span) as stream:
            note_read(self, uri)
            yield stream

    def save(self, uri: str, body: BinaryIO) -> None:
        """Write a file whole."""
        self._of(uri).save(uri, body)
        note_written(self, uri)

    def _of(self, uri: str) -> Files:
        scheme = scheme_of(uri)
        if scheme in ("http", "https"):
            # Its address may hold a password or a signature.
            raise MediaError(f"{scheme}://...", "is not read over HTTP(S)", "Copy it to a store", field=self._field)
        return {"s3": self._s3, "file": self._local}.get(scheme, self._others)


class _Guarded:
    """A stream whose errors are ours."""

    def __init__(self, stream: Any, errors: Errors) -> None:
        self._stream = stream
        self._errors = errors

    def read(self, size: int, /) -> bytes:
        with self._errors():
            data: bytes = self._stream.read(size)
            return data


class _Limited:
    """The next bytes of a stream, and no more."""

    def __init__(self, stream: ByteStream, left: int) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


class S3Files:
    """Objects of S3. A file is one GET; so is a span, which names the version it wants."""

    def __init__(self, s3: S3Connection, field: str) -> None:
        self._s3 = s3
        self._field = field

    def _errors(self, uri: str) -> AbstractContextManager[None]:
        return s3_errors(uri, self._s3.aws_conn_id, field=self._field)

    def facts(self, uri: str) -> FileFacts:
        """Tell size and version: one HEAD."""
        bucket, key = split_s3_uri(uri, field=self._field)
        with self._errors(uri):
            head = self._s3.client.head_object(Bucket=bucket, Key=key)
        return FileFacts(size=int(head["ContentLength"]), etag=str(head["ETag"]))

    @contextmanager
    def open(self, uri: str, span: Span | None = None) -> Iterator[ByteStream]:
        """Read an object, or a span of it."""
        bucket, key = split_s3_uri(uri, field=self._field)
        if span is not None and span.start == span.end:
            # HTTP has no range of no bytes.
            _check_version(uri, span, self.facts(uri).etag, self._field)
            yield BytesIO()
            return
        wanted = {} if span is None else {"Range": f"bytes={span.start}-{span.end - 1}", "IfMatch": span.etag}
        with self._errors(uri):
            answer = self._s3.client.get_object(Bucket=bucket, Key=key, **wanted)
        with closing(answer["Body"]) as stream:
            yield _Guarded(stream, lambda: self._errors(uri))

    def save(self, uri: str, body: BinaryIO) -> None:
        """Write an object: one PUT."""
        bucket, key = split_s3_uri(uri, field=self._field)
        with self._errors(uri):
            self._s3.client.put_object(Bucket=bucket, Key=key, Body=body)


class LocalFolders:
    """Files of the machine the task runs on."""

    def __init__(self, field: str) -> None:
        self._field = field

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise MediaNotFound(uri, "no such file on this worker", "Check the name", field=self._field) from exc
        except PermissionError as exc:
            raise MediaAccessDenied(
                uri, "the worker may not use this file", "Give the worker's user permission", field=self._field
            ) from exc
        except OSError as exc:
            raise MediaError(
                uri, f"cannot be used ({exc.strerror})", "Check the file system of the worker", field=self._field
            ) from exc

    def facts(self, uri: str) -> FileFacts:
        """Tell size and version."""
        with self._errors(uri):
            facts = local_path(uri).stat()
        return FileFacts(size=facts.st_size, etag=_shared_version(facts))

    @contextmanager
    def open(self, uri: str, span: Span | None = None) -> Iterator[ByteStream]:
        """Read a file, or a span of it."""
        with self._errors(uri):
            stream = open(local_path(uri), "rb", opener=open_without_waiting)  # noqa: SIM115  # closed below
        with closing(stream):
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise MediaError(uri, "is not a regular file", "Name a file", field=self._field)
            guarded = _Guarded(stream, lambda: self._errors(uri))
            if span is None:
                yield guarded
                _refuse_change(uri, file_version(facts), file_version(os.fstat(stream.fileno())), self._field)
                return
            _check_version(uri, span, _shared_version(facts), self._field)
            stream.seek(span.start)
            yield _Limited(guarded, span.end - span.start)

    def save(self, uri: str, body: BinaryIO) -> None:
        """Write a file under another name, then give it its own."""
        path = local_path(uri)
        with self._errors(uri):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with open(handle, "wb") as target:
                    shutil.copyfileobj(body, target)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise


class ObjectStorageFiles:
    """Objects of every store that Airflow's ObjectStoragePath knows."""

    def __init__(self, conn_id: str | None, field: str) -> None:
        self._conn_id = conn_id
        self._field = field

    def _errors(self, uri: str) -> AbstractContextManager[None]:
        return storage_errors(uri, self._conn_id, field=self._field)

    def facts(self, uri: str) -> FileFacts:
        """Tell size and version."""
        with self._errors(uri):
            facts = facts_of(ObjectStoragePath(uri, conn_id=self._conn_id))
        return FileFacts(size=int(facts.get("size") or 0), etag=version_of(facts))

    @contextmanager
    def open(self, uri: str, span: Span | None = None) -> Iterator[ByteStream]:
        """Read an object, or a span of it: these stores have no conditional GET in common."""
        before = self.facts(uri).etag
        if span is not None:
            _check_version(uri, span, before, self._field)
        with self._errors(uri):
            path = ObjectStoragePath(uri, conn_id=self._conn_id)
            stream = path.fs.open(path.path, "rb")
        with closing(stream):
            guarded = _Guarded(stream, lambda: self._errors(uri))
            if span is None:
                yield guarded
                _refuse_change(uri, before, self.facts(uri).etag, self._field)
                return
            with self._errors(uri):
                stream.seek(span.start)
            yield _Limited(guarded, span.end - span.start)
        _check_version(uri, span, self.facts(uri).etag, self._field)

    def save(self, uri: str, body: BinaryIO) -> None:
        """Write an object."""
        with self._errors(uri):
            path = ObjectStoragePath(uri, conn_id=self._conn_id)
            with path.fs.open(path.path, "wb") as target:
                shutil.copyfileobj(body, target)


def _shared_version(facts: os.stat_result) -> str:
    """Name the version of a file as every machine that mounts its file system would: each numbers devices by itself."""
    return f"{facts.st_mtime_ns:x}-{facts.st_size:x}"


def _refuse_change(uri: str, before: str, after: str, field: str) -> None:
    # The last line of a file that is still being written may hold half of a number, which is somebody else's.
    if after != before:
        raise MediaChanged(
            uri, "changed while it was read", "Run the task again once its upload is complete", field=field
        )


def _check_version(uri: str, span: Span, etag: str, field: str) -> None:
    if etag != span.etag:
        raise MediaChanged(
            uri, "is another file than the one that was cut into chunks", "Clear the task that planned the chunks",
            field=field,
        )  # fmt: skip
