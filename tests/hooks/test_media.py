from __future__ import annotations

import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_mm7.exceptions import (
    InputError,
    MediaAccessDenied,
    MediaChanged,
    MediaError,
    MediaNotFound,
    MediaTooLarge,
    MediaUnavailable,
    MM7Error,
    StoreUnavailable,
)
from airflow_provider_mm7.hooks.media import (
    ObjectStorageSink,
    ObjectStorageSource,
    S3HookSource,
    open_media_source,
)
from airflow_provider_mm7.hooks.stores import split_s3_uri
from airflow_provider_mm7.media import FolderSink, LocalFiles, MediaSink, MediaSource
from tests.support.servers import SeaweedFS, free_ports

BODY = bytes(range(256)) * 50
#: Keys that a URL parser, a shell or a signature would trip over.
AWKWARD_KEYS = ["plain.gif", "a b&c=d+e.gif", "what?.gif#1", "50%25 off.gif", "deep/er/土星 ñ.gif", "quote'\"<>.gif"]

s3 = pytest.mark.s3


@pytest.fixture
def bucket(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of this test alone, and the connections to it."""
    name = f"news-{secrets.token_hex(4)}"
    s3_server.client().create_bucket(Bucket=name)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_server.airflow_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_WRONG", s3_server.airflow_connection(secret_key="wrong"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_LIST_ONLY",
        s3_server.airflow_connection(
            access_key=s3_server.list_only_access_key, secret_key=s3_server.list_only_secret_key
        ),
    )
    return name


@pytest.fixture
def put(s3_server: SeaweedFS, bucket: str) -> Callable[[str, bytes], str]:
    """Put an object; gives its URI."""

    def upload(key: str, body: bytes) -> str:
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=body, ContentType="image/gif")
        return f"s3://{bucket}/{key}"

    return upload


@pytest.fixture
def memory() -> Iterator[str]:
    """An object store of Airflow's ObjectStoragePath; gives its base URI."""
    filesystem = MemoryFileSystem()
    attach("memory", fs=filesystem)
    base = f"/{secrets.token_hex(4)}"
    filesystem.mkdir(base)
    yield f"memory:/{base}"
    filesystem.rm(base, recursive=True)


def requests_of(source: S3HookSource) -> Counter[str]:
    """Count what leaves for the server from now on, by HTTP method."""
    sent: Counter[str] = Counter()
    source.client.meta.events.register("before-send.s3", lambda request, **_: sent.update([request.method]))
    return sent


# -- The contract, for every source ------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=s3)])
def stocked(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MediaSource, Callable[[str, bytes], str]]:
    """A source, and how to put an object into it."""
    if request.param == "s3":
        return S3HookSource(), request.getfixturevalue("put")
    if request.param == "memory":
        base = request.getfixturevalue("memory")

        def into_memory(name: str, body: bytes) -> str:
            ObjectStoragePath(f"{base}/{name}").write_bytes(body)
            return f"{base}/{name}"

        return ObjectStorageSource(), into_memory

    seconds = count(1_700_000_000)

    def into_folder(name: str, body: bytes) -> str:
        (tmp_path / name).write_bytes(body)
        # Two writes may fall into one tick of the file system's clock.
        os.utime(tmp_path / name, (second := next(seconds), second))
        return str(tmp_path / name)

    return LocalFiles(), into_folder


Stocked = tuple[MediaSource, Callable[[str, bytes], str]]


@pytest.mark.parametrize("body", [b"", b"x", BODY, bytes(3_000_000)], ids=["empty", "one", "binary", "3 MB"])
def test_bytes_come_as_they_are(stocked: Stocked, body: bytes) -> None:
    source, put_object = stocked
    uri = put_object("a.gif", body)
    found = source.fetch(uri, limit=len(body))
    assert (found.uri, found.name, found.body) == (uri, "a.gif", body)


def test_unicode_names(stocked: Stocked) -> None:
    source, put_object = stocked
    assert source.fetch(put_object("土星 ñ.gif", BODY), limit=len(BODY)).name == "土星 ñ.gif"


def test_missing_object(stocked: Stocked) -> None:
    source, put_object = stocked
    uri = put_object("a.gif", BODY).replace("a.gif", "gone.gif")
    with pytest.raises(MediaNotFound) as caught:
        source.fetch(uri, limit=10)
    assert caught.value.source == uri


def test_too_large_object(stocked: Stocked) -> None:
    source, put_object = stocked
    uri = put_object("a.gif", BODY)
    with pytest.raises(MediaTooLarge) as caught:
        source.fetch(uri, limit=len(BODY) - 1)
    assert (caught.value.source, caught.value.size, caught.value.limit) == (uri, len(BODY), len(BODY) - 1)


def test_version_follows_the_bytes(stocked: Stocked) -> None:
    source, put_object = stocked
    first, again = (source.fetch(uri, limit=100).etag for uri in [put_object("a.gif", b"one")] * 2)
    assert first == again
    assert source.fetch(put_object("a.gif", b"two"), limit=100).etag != first


# -- S3 ----------------------------------------------------------------------------------------------------------------


@s3
@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_keys_are_taken_as_they_stand(put: Callable[[str, bytes], str], key: str) -> None:
    found = S3HookSource().fetch(put(key, BODY), limit=len(BODY))
    assert (found.body, found.name, found.declared_type) == (BODY, key.rpartition("/")[2], "image/gif")


@s3
def test_one_head_and_one_get(put: Callable[[str, bytes], str]) -> None:
    source, uri = S3HookSource(), put("a.gif", BODY)
    sent = requests_of(source)
    source.fetch(uri, limit=len(BODY))
    assert sent == {"HEAD": 1, "GET": 1}


@s3
def test_what_is_too_large_is_not_got(put: Callable[[str, bytes], str]) -> None:
    source, uri = S3HookSource(), put("a.gif", BODY)
    sent = requests_of(source)
    with pytest.raises(MediaTooLarge):
        source.fetch(uri, limit=100)
    assert sent == {"HEAD": 1}


@s3
@pytest.mark.parametrize("replacement", [b"other", bytes(len(BODY)), bytes(2 * len(BODY))])
def test_object_replaced_between_head_and_get(
    put: Callable[[str, bytes], str], s3_server: SeaweedFS, bucket: str, replacement: bytes
) -> None:
    source, uri = S3HookSource(), put("a.gif", BODY)

    def replace(**_: object) -> None:
        s3_server.client().put_object(Bucket=bucket, Key="a.gif", Body=replacement)

    source.client.meta.events.register("after-call.s3.HeadObject", replace)
    with pytest.raises(MediaChanged, match="ETag is another one now"):
        source.fetch(uri, limit=len(BODY))


@s3
def test_object_deleted_between_head_and_get(
    put: Callable[[str, bytes], str], s3_server: SeaweedFS, bucket: str
) -> None:
    source, uri = S3HookSource(), put("a.gif", BODY)

    def delete(**_: object) -> None:
        s3_server.client().delete_object(Bucket=bucket, Key="a.gif")

    source.client.meta.events.register("after-call.s3.HeadObject", delete)
    with pytest.raises((MediaNotFound, MediaChanged)):
        source.fetch(uri, limit=len(BODY))


@s3
def test_missing_key_and_bucket_name_the_connection(bucket: str) -> None:
    for uri in (f"s3://{bucket}/gone.gif", "s3://no-such-bucket-here/a.gif"):
        with pytest.raises(MediaNotFound, match="'aws_default'") as caught:
            S3HookSource().fetch(uri, limit=10)
        assert caught.value.source == uri


@s3
@pytest.mark.parametrize("conn_id", ["aws_wrong", "aws_list_only"])
def test_refused_object_names_connection_and_permission(put: Callable[[str, bytes], str], conn_id: str) -> None:
    uri = put("a.gif", BODY)
    with pytest.raises(MediaAccessDenied) as caught:
        S3HookSource(conn_id).fetch(uri, limit=len(BODY))
    assert caught.value.source == uri
    assert conn_id in str(caught.value)
    assert "s3:GetObject" in str(caught.value)
    assert "wrong" not in str(caught.value).replace(conn_id, "")


def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    extra = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    away = {"conn_type": "aws", "login": "a", "password": "very-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_AWAY", json.dumps(away))
    with pytest.raises(MediaUnavailable, match="through connection 'aws_away'") as caught:
        S3HookSource("aws_away").fetch("s3://news/a.gif", limit=10)
    assert "very-secret" not in str(caught.value)


class _Faulty(BaseHTTPRequestHandler):
    """Announces 100 bytes to a HEAD; what a GET gets depends on the key."""

    def do_HEAD(self) -> None:
        self._start(200)

    def do_GET(self) -> None:
        if self.path.endswith("/down"):
            self._start(503)
            return
        self._start(200)
        self.wfile.write(bytes(50))
        self.wfile.flush()

    def _start(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "100" if status == 200 else "0")
        self.send_header("ETag", '"e"')
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that breaks off, as the connection ``aws_faulty``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Faulty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    extra = {
        "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_FAULTY", json.dumps(connection))
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize("key", ["short", "down"])
def test_half_an_object_and_a_server_in_trouble_are_retryable(key: str) -> None:
    source = S3HookSource("aws_faulty")
    with pytest.raises(MediaUnavailable, match="'aws_faulty'") as caught:
        source.fetch(f"s3://news/{key}", limit=1000)
    assert caught.value.source == f"s3://news/{key}"
    source.client.close()


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
def test_uris_without_bucket_or_key(uri: str) -> None:
    with pytest.raises(MediaError, match="names no bucket and key"):
        S3HookSource().fetch(uri, limit=10)


def test_s3_uri_is_not_parsed_as_a_url() -> None:
    assert split_s3_uri("s3://b/a/b?c#d%20e//f") == ("b", "a/b?c#d%20e//f")


# -- Other object stores -----------------------------------------------------------------------------------------------


def test_object_replaced_while_it_is_read(memory: str) -> None:
    path = ObjectStoragePath(f"{memory}/a.gif")
    path.write_bytes(BODY)
    filesystem = path.fs

    class Replacing(MemoryFileSystem):  # type: ignore[misc]
        """Replaces the object by one of the same size once it was opened."""

        cachable = False

        def open(self, *args: Any, **kwargs: Any) -> Any:
            stream = filesystem.open(*args, **kwargs)
            filesystem.pipe_file(path.path, bytes(len(BODY)))
            return stream

        def info(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            facts: dict[str, Any] = filesystem.info(*args, **kwargs)
            return {**facts, "etag": str(hash(filesystem.cat_file(path.path)))}

    attach("memory", conn_id="replacing", fs=Replacing())
    with pytest.raises(MediaChanged):
        ObjectStorageSource("replacing").fetch(f"{memory}/a.gif", limit=len(BODY))


def test_folder_and_unknown_store(memory: str) -> None:
    ObjectStoragePath(f"{memory}/folder/a.gif").write_bytes(BODY)
    with pytest.raises(MediaError, match="is a folder"):
        ObjectStorageSource().fetch(f"{memory}/folder", limit=10)
    with pytest.raises(MediaError, match=r"no store answers for nosuch://"):
        ObjectStorageSource("some_conn").fetch("nosuch://bucket/a.gif", limit=10)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError("no"), MediaAccessDenied),
        (FileNotFoundError("no"), MediaNotFound),
        (OSError("no"), MediaUnavailable),
    ],
)
def test_errors_of_a_store_are_translated(error: Exception, expected: type[MM7Error]) -> None:
    class Refusing(MemoryFileSystem):  # type: ignore[misc]
        cachable = False

        def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
            raise error

    # Airflow keeps the first store attached for a connection.
    conn_id = f"refusing-{type(error).__name__}"
    attach("memory", conn_id=conn_id, fs=Refusing())
    with pytest.raises(MM7Error) as caught:
        ObjectStorageSource(conn_id).fetch("memory://bucket/a.gif", limit=10)
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error
    assert conn_id in str(caught.value)


# -- All of them -------------------------------------------------------------------------------------------------------


@s3
def test_one_source_for_every_scheme(put: Callable[[str, bytes], str], memory: str, tmp_path: Path) -> None:
    ObjectStoragePath(f"{memory}/a.gif").write_bytes(b"memory")
    (tmp_path / "a.gif").write_bytes(b"file")
    source = open_media_source()
    uris = [put("a.gif", b"s3"), f"{memory}/a.gif", str(tmp_path / "a.gif"), (tmp_path / "a.gif").as_uri()]
    assert [source.fetch(uri, limit=100).body for uri in uris] == [b"s3", b"memory", b"file", b"file"]
    with pytest.raises(MediaError, match="not read over HTTP"):
        source.fetch("https://example.com/a.gif", limit=100)


@s3
def test_an_object_named_twice_is_read_once(
    put: Callable[[str, bytes], str], s3_server: SeaweedFS, bucket: str
) -> None:
    source, uri = open_media_source(), put("a.gif", BODY)
    source.fetch(uri, limit=len(BODY))
    s3_server.client().delete_object(Bucket=bucket, Key="a.gif")
    assert source.fetch(uri, limit=len(BODY)).body == BODY


# -- The contract, for every sink --------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=s3)])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> MediaSink:
    if request.param == "file":
        return FolderSink(tmp_path / "in bound")
    if request.param == "memory":
        return ObjectStorageSink(f"{request.getfixturevalue('memory')}/in")
    return ObjectStorageSink(f"s3://{request.getfixturevalue('bucket')}/in/")


@pytest.mark.parametrize("name", ["a.gif", "ab/abcd/000.gif"])
def test_what_a_sink_keeps_a_source_finds(sink: MediaSink, name: str) -> None:
    uris = [sink.store(name, body, "image/gif; name=x") for body in (b"before", BODY)]
    assert uris[0] == uris[1]
    assert uris[0].endswith(f"/{name}")
    assert open_media_source().fetch(uris[0], limit=len(BODY)).body == BODY


def test_sinks_refuse_names_that_leave_them(sink: MediaSink) -> None:
    for name in ("../a.gif", "/a.gif", ".a.gif", "a/../../b", "a b"):
        with pytest.raises(InputError):
            sink.store(name, BODY, "image/gif")


@s3
@pytest.mark.parametrize(
    ("sent", "kept"),
    [("image/gif; name=x", "image/gif"), ("ünïcode/x", "application/octet-stream"), ("", "application/octet-stream"),
     ("text/plain\r\nX-Evil: 1", "application/octet-stream")],
)  # fmt: skip
def test_a_peers_type_cannot_break_the_upload(s3_server: SeaweedFS, bucket: str, sent: str, kept: str) -> None:
    ObjectStorageSink(f"s3://{bucket}").store("a.bin", BODY, sent)
    assert s3_server.client().head_object(Bucket=bucket, Key="a.bin")["ContentType"] == kept


@s3
def test_a_sink_without_permission_is_retryable(bucket: str) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        ObjectStorageSink(f"s3://{bucket}/in", aws_conn_id="aws_wrong").store("a.gif", BODY, "image/gif")


def test_a_sink_needs_a_bucket() -> None:
    with pytest.raises(InputError):
        ObjectStorageSink("s3://")
