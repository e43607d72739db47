"""Media through Airflow: S3 by the amazon provider's S3Hook, other object stores by ObjectStoragePath.

S3 does not go through ObjectStoragePath, which would want the amazon provider's s3fs extra and offers no conditional
GET. Local files do not either: one open file, whose size is taken from itself, cannot change into another between two
calls (docs/decisions/media-sources.rst).
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_mm7.exceptions import InputError, MediaError, StoreUnavailable
from airflow_provider_mm7.hooks.lineage import TracedSource
from airflow_provider_mm7.hooks.stores import (
    S3Connection,
    facts_of,
    s3_errors,
    split_s3_uri,
    storage_errors,
    version_of,
)
from airflow_provider_mm7.media.sink import checked_name
from airflow_provider_mm7.media.source import (
    CachedSource,
    LocalFiles,
    MediaObject,
    MediaSource,
    SourceByScheme,
    changed,
    name_of,
    read_exactly,
    refuse_size,
    scheme_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_AWS_CONN_ID = "aws_default"
#: Bytes of media that one run of a task keeps: dozens of objects of the largest size that carriers take.
CACHE_BYTES = 64 * 1024 * 1024
#: RFC 6838 section 4.2.
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}", re.ASCII)


def open_media_source(
    *,
    aws_conn_id: str | None = DEFAULT_AWS_CONN_ID,
    conn_id: str | None = None,
    s3: S3Connection | None = None,
    max_bytes: int = CACHE_BYTES,
) -> MediaSource:
    """Return the sources of one run of a task, behind one cache: each distinct object is read once.

    ``s3://``, ``file://`` and plain paths, and every scheme of ObjectStoragePath.

    :param aws_conn_id: Airflow connection for S3; None uses boto3's own chain of credentials.
    :param conn_id: Airflow connection for other object stores; ``gs://conn_id@bucket/key`` names one as well.
    :param s3: how S3 is reached, in place of ``aws_conn_id``.
    :param max_bytes: bytes kept.
    """
    sources = SourceByScheme(
        {"s3": S3HookSource(s3 or aws_conn_id), "file": LocalFiles()}, otherwise=ObjectStorageSource(conn_id)
    )
    return CachedSource(TracedSource(sources), max_bytes=max_bytes)


class S3HookSource:
    """Objects of S3 and of what speaks its protocol.

    Each object costs one HEAD, for its size and version, and one GET of exactly that version. One client is made, when
    it is first needed, and kept; it may be used by several threads.

    :param connection: Airflow connection (credentials, role, region, ``endpoint_url``), or a client that is shared.
    """

    def __init__(self, connection: str | S3Connection | None = DEFAULT_AWS_CONN_ID) -> None:
        self._s3 = connection if isinstance(connection, S3Connection) else S3Connection(connection)

    @property
    def client(self) -> Any:
        """The boto3 client of the connection."""
        return self._s3.client

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch an object. See :meth:`airflow_provider_mm7.media.source.MediaSource.fetch`."""
        bucket, key = split_s3_uri(uri)
        with s3_errors(uri, self._s3.aws_conn_id):
            head: Mapping[str, Any] = self.client.head_object(Bucket=bucket, Key=key)
            size, etag = int(head["ContentLength"]), str(head["ETag"])
            refuse_size(uri, size, limit)
            answer = self.client.get_object(Bucket=bucket, Key=key, IfMatch=etag)
            with closing(answer["Body"]) as stream:
                if answer["ContentLength"] != size:
                    raise changed(uri, f"{size} bytes became {answer['ContentLength']}")
                body = read_exactly(stream, uri, size)
        return MediaObject(uri=uri, body=body, etag=etag, declared_type=head.get("ContentType"), name=name_of(key))


class ObjectStorageSource:
    """Objects of every store that Airflow's ObjectStoragePath knows (``gs://``, ``abfs://``...), by their providers.

    These have no conditional GET in common, so the version is asked for before and after reading.

    :param conn_id: Airflow connection; None uses the one in the URI, or the store's own credentials.
    """

    def __init__(self, conn_id: str | None = None) -> None:
        self._conn_id = conn_id

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch an object. See :meth:`airflow_provider_mm7.media.source.MediaSource.fetch`."""
        with storage_errors(uri, self._conn_id):
            return self._fetch(uri, limit)

    def _fetch(self, uri: str, limit: int) -> MediaObject:
        path = ObjectStoragePath(uri, conn_id=self._conn_id)
        before = facts_of(path)
        if before.get("type") == "directory":
            raise MediaError(uri, "is a folder", "Name an object")
        size = int(before.get("size") or 0)
        refuse_size(uri, size, limit)
        with path.fs.open(path.path, "rb") as stream:
            body = read_exactly(stream, uri, size)
        if version_of(facts_of(path)) != version_of(before):
            raise changed(uri, "its version is another one now")
        declared = before.get("contentType") or before.get("content_type")
        return MediaObject(uri=uri, body=body, etag=version_of(before), declared_type=declared, name=name_of(path.path))


class ObjectStorageSink:
    """Keeps media below a prefix of an object store.

    :param base_uri: ``s3://bucket/prefix``, or any URI of ObjectStoragePath.
    :param aws_conn_id: Airflow connection for S3.
    :param conn_id: Airflow connection for other stores.
    """

    def __init__(
        self, base_uri: str, *, aws_conn_id: str | None = DEFAULT_AWS_CONN_ID, conn_id: str | None = None
    ) -> None:
        if not base_uri.partition("://")[2].strip("/"):
            raise InputError("media_uri", f"{base_uri!r} names no bucket", "Write s3://bucket/prefix")
        self._base_uri = base_uri.rstrip("/")
        self._conn_id = conn_id
        self._s3 = S3HookSource(aws_conn_id) if scheme_of(base_uri) == "s3" else None

    def store(self, name: str, body: bytes, content_type: str) -> str:
        """Keep an object. See :meth:`airflow_provider_mm7.media.sink.MediaSink.store`."""
        uri = f"{self._base_uri}/{checked_name(name)}"
        try:
            if self._s3 is not None:
                bucket, key = split_s3_uri(uri)
                self._s3.client.put_object(Bucket=bucket, Key=key, Body=body, ContentType=_plain_type(content_type))
            else:
                ObjectStoragePath(uri, conn_id=self._conn_id).write_bytes(body)
        except Exception as exc:  # every store has an exception tree of its own
            raise StoreUnavailable(f"media cannot be written to {self._base_uri}: {type(exc).__name__}") from exc
        return uri


def _plain_type(content_type: str) -> str:
    """A peer's media type without its parameters, or the general one where it would not do as a header."""
    bare = content_type.partition(";")[0].strip()
    return bare if _MEDIA_TYPE.fullmatch(bare) else "application/octet-stream"
