from __future__ import annotations

import stat
from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import InputError, StoreUnavailable
from airflow_provider_mm7.media import FolderSink, LocalFiles
from airflow_provider_mm7.media.sink import checked_name

BODY = bytes(range(256)) * 100


@pytest.mark.parametrize("name", ["a.gif", "ab/abcd/000.gif"])
def test_a_stored_file_is_read_back_by_its_uri(tmp_path: Path, name: str) -> None:
    uri = FolderSink(tmp_path / "in bound").store(name, BODY, "image/gif")
    assert uri.startswith("file:///")
    assert uri.endswith(name)
    assert LocalFiles().fetch(uri, limit=len(BODY)).body == BODY


def test_the_same_name_again_replaces_and_leaves_one_file(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    for body in (b"first, and longer", b"second"):
        sink.store("ab/x.txt", body, "text/plain")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"second"]


def test_what_people_sent_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    FolderSink(tmp_path / "inbound").store("ab/cd/x.txt", b"x", "text/plain")
    for path in (tmp_path / "inbound", *(tmp_path / "inbound").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_refused_write_is_retryable_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(StoreUnavailable, match="directory"):
        FolderSink(tmp_path).store("x.txt", b"x", "text/plain")
    assert [path.name for path in tmp_path.rglob("*")] == ["x.txt"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        FolderSink(tmp_path / "file").store("y.txt", b"x", "text/plain")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "../x",
        "a/../x",
        "/etc/passwd",
        "a//b",
        "a/",
        "a\\b",
        "a b",
        "a\n",
        "ä",
        "a\0b",
        "a" * 201,
    ],
)
def test_names_that_are_not_ours_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        FolderSink(tmp_path / "sink").store(name, b"x", "text/plain")
    with pytest.raises(InputError):
        checked_name(name)
    assert list(tmp_path.iterdir()) == []
