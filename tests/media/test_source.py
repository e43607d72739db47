from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from airflow_provider_mm7.exceptions import MediaAccessDenied, MediaChanged, MediaError, MediaNotFound, MediaTooLarge
from airflow_provider_mm7.media import CachedSource, LocalFiles, MediaObject, SourceByScheme
from airflow_provider_mm7.media import source as source_module
from airflow_provider_mm7.media.source import name_of, read_exactly, refuse_size

BODY = bytes(range(256)) * 5


class Counting:
    """A source that counts, and can be made to wait."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.fetched: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        assert self.gate.wait(10)
        refuse_size(uri, self.size, limit)
        self.fetched.append(uri)
        return MediaObject(uri=uri, body=bytes(self.size), name=name_of(uri))


@pytest.mark.parametrize("name", ["a.gif", "mit Leerzeichen & 100%.gif", "土星.gif", "what?#.gif", "%41.gif"])
def test_local_files_by_path_and_by_uri(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BODY)
    for uri in (str(path), path.as_uri(), path.as_uri().replace("file://", "FILE://localhost")):
        found = LocalFiles().fetch(uri, limit=len(BODY))
        assert (found.uri, found.name, found.body) == (uri, name, BODY)


def test_local_etag_follows_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(b"one")
    first, again = (LocalFiles().fetch(str(path), limit=10).etag for _ in range(2))
    path.write_bytes(b"other")
    assert first == again
    assert LocalFiles().fetch(str(path), limit=10).etag != first


def test_local_refusals(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(BODY)
    with pytest.raises(MediaTooLarge) as caught:
        LocalFiles().fetch(str(path), limit=len(BODY) - 1)
    assert (caught.value.size, caught.value.limit) == (len(BODY), len(BODY) - 1)
    for missing in (tmp_path / "gone.gif", path / "below.gif"):
        with pytest.raises(MediaNotFound, match=r"\.gif: no such file on this worker"):
            LocalFiles().fetch(str(missing), limit=10)
    with pytest.raises(MediaError, match="not a regular file"):
        LocalFiles().fetch(str(tmp_path), limit=10)
    with pytest.raises(MediaError, match="another host"):
        LocalFiles().fetch("file://server/a.gif", limit=10)


def test_a_fifo_does_not_hold_the_task(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match="not a regular file"):
        LocalFiles().fetch(str(tmp_path / "pipe"), limit=10)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A file that this process may not read. Root may read everything, so root becomes nobody for the test."""
    path = tmp_path / "closed.gif"
    path.write_bytes(BODY)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(user)


def test_local_permission(closed: Path) -> None:
    with pytest.raises(MediaAccessDenied, match="the worker may not read"):
        LocalFiles().fetch(str(closed), limit=10_000)


@pytest.mark.parametrize("later_ns", [1, -1])
def test_a_file_written_over_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later_ns: int) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(BODY)
    before = path.stat()

    def read(stream: BinaryIO, uri: str, size: int) -> bytes:
        body = read_exactly(stream, uri, size)
        with path.open("r+b") as there:
            there.write(bytes(size))
        # Two writes may fall into one tick of the file system's clock.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later_ns))
        return body

    monkeypatch.setattr(source_module, "read_exactly", read)
    with pytest.raises(MediaChanged, match="changed while it was read: its version") as caught:
        LocalFiles().fetch(str(path), limit=len(BODY))
    assert caught.value.source == str(path)
    assert path.stat().st_size == before.st_size


def test_a_file_replaced_while_it_is_read_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(BODY)
    (tmp_path / "b.gif").write_bytes(bytes(len(BODY)))

    def read(stream: BinaryIO, uri: str, size: int) -> bytes:
        (tmp_path / "b.gif").replace(path)
        return read_exactly(stream, uri, size)

    monkeypatch.setattr(source_module, "read_exactly", read)
    assert LocalFiles().fetch(str(path), limit=len(BODY)).body == BODY


@pytest.mark.parametrize("sent", [0, 9, 11, 1_000_000])
def test_more_or_fewer_bytes_than_announced(tmp_path: Path, sent: int) -> None:
    path = tmp_path / "stream"
    path.write_bytes(bytes(sent))
    with path.open("rb") as stream:
        with pytest.raises(MediaChanged, match="10 bytes were announced"):
            read_exactly(stream, "s3://news/a.gif", 10)
        assert stream.tell() <= 11


def test_schemes_lead_to_their_sources() -> None:
    s3, files, others = Counting(), Counting(), Counting()
    source = SourceByScheme({"s3": s3, "file": files}, otherwise=others)
    for uri in ("s3://b/k", "S3://b/k2", "/tmp/x", "file:///tmp/y", "gs://b/k"):
        source.fetch(uri, limit=100)
    assert (s3.fetched, files.fetched) == (["s3://b/k", "S3://b/k2"], ["/tmp/x", "file:///tmp/y"])
    assert others.fetched == ["gs://b/k"]
    with pytest.raises(MediaError, match=r"no source for gs://"):
        SourceByScheme({"s3": s3}).fetch("gs://b/k", limit=1)


def test_http_is_refused_without_repeating_its_signature() -> None:
    source = SourceByScheme({}, otherwise=Counting())
    with pytest.raises(MediaError, match="not read over HTTP") as caught:
        source.fetch("https://user:pw@b.example/a.gif?X-Amz-Signature=secret", limit=1)
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_cache_reads_each_object_once_and_forgets_the_oldest() -> None:
    inner = Counting(size=10)
    source = CachedSource(inner, max_bytes=25)
    for uri in ("a", "b", "a", "c", "a", "b"):
        assert source.fetch(uri, limit=10).uri == uri
    assert inner.fetched == ["a", "b", "c", "b"]


def test_cache_does_not_keep_what_is_larger_than_itself() -> None:
    inner = Counting(size=30)
    source = CachedSource(inner, max_bytes=25)
    source.fetch("a", limit=30)
    source.fetch("a", limit=30)
    assert inner.fetched == ["a", "a"]


def test_cache_keeps_the_limit_and_no_failure() -> None:
    inner = Counting(size=10)
    source = CachedSource(inner, max_bytes=100)
    with pytest.raises(MediaTooLarge):
        source.fetch("a", limit=9)
    source.fetch("a", limit=10)
    with pytest.raises(MediaTooLarge):
        source.fetch("a", limit=9)
    assert inner.fetched == ["a"]


def test_threads_that_want_one_object_share_one_fetch() -> None:
    inner = Counting()
    inner.gate.clear()
    source = CachedSource(inner, max_bytes=100)
    threads = [threading.Thread(target=source.fetch, args=("a",), kwargs={"limit": 10}) for _ in range(8)]
    for thread in threads:
        thread.start()
    inner.gate.set()
    for thread in threads:
        thread.join(10)
    assert inner.fetched == ["a"]
