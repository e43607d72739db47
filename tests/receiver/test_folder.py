from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from airflow_provider_mm7.receiver.folder import FolderSink


def test_bytes_arrive_under_the_name_and_its_uri_leads_back(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "in bound")
    body = bytes(range(256)) * 100
    uri = sink.store("ab/abcd/000.gif", body, "image/gif")
    assert Path(unquote(urlsplit(uri).path)) == tmp_path / "in bound/ab/abcd/000.gif"
    assert (tmp_path / "in bound/ab/abcd/000.gif").read_bytes() == body


def test_the_same_name_again_leaves_one_file(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    for body in (b"first", b"second"):
        sink.store("ab/x.txt", body, "text/plain")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"second"]


def test_what_people_sent_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "inbound"
    FolderSink(folder).store("ab/x.txt", b"x", "text/plain")
    for path in (folder, folder / "ab", folder / "ab/x.txt"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_refused_write_leaves_nothing(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(OSError, match="directory"):
        sink.store("x.txt", b"x", "text/plain")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
