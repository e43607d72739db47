"""What a value of a recipients file may name: paths below the base, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError, RecipientError
from airflow_provider_mm7.sending.recipients.media_paths import below, require_base


@pytest.mark.parametrize("base", ["s3://news/pics", "s3://news/pics/"])
@pytest.mark.parametrize(
    "path", ["a.gif", "2026/b c.gif", "土星.gif", "100% off.gif", "a?.gif", "...gif", "12:30.gif", "~a"]
)
def test_paths_below_the_base(base: str, path: str) -> None:
    assert below(base, path) == f"s3://news/pics/{path}"


@pytest.mark.parametrize(
    "path",
    [
        "../a.gif", "a/../../b.gif", "a/..", "..", ".", "./a.gif", "a/./b", " .. /a", "/a.gif", "//host/a.gif", "",
        "a//b.gif", "a/", "a/ /b", "\\a.gif", "a\\..\\b.gif", "..\\a", "C:\\a.gif", "C:a.gif", "s3://other/a.gif",
        "S3://other/a", "file:///etc/passwd", "file:/etc/passwd", "x/gs://b", "javascript:x", "a::file:///etc/passwd",
        "simplecache::s3://b/a", "%2e%2e/a.gif", "..%2fa.gif", "%2Fetc/passwd", "a%00.gif", "a%5Cb", "a\0b", "a\nb",
        "a\rb", "a\x7fb", "a\u202eb", "a\u2028b", "a\u200bb", "\ud800", "a/" * 600 + "b", "\t..",
    ],
)  # fmt: skip
def test_everything_else_is_refused(path: str) -> None:
    with pytest.raises(RecipientError) as caught:
        below("s3://news/pics/", path)
    # The value is somebody's data.
    assert len(path) < 3 or path not in str(caught.value)


@given(st.text(st.sampled_from("./\\%2eEfF:a ~\0\n"), max_size=12))
def test_no_reading_of_what_passes_leaves_the_base(path: str) -> None:
    try:
        uri = below("/base/pics", path)
    except RecipientError:
        return
    for reading in (uri, unquote(uri), uri.replace("\\", "/")):
        assert Path("/base/pics") in Path(reading).resolve().parents or Path(reading).name
        assert ".." not in reading.split("/")
        assert str(Path(reading)).startswith("/base/pics/")


@pytest.mark.parametrize("base", ["s3://news", "s3://news/pictures/", "/srv/pictures", "pictures", "gs://b/c"])
def test_bases(base: str) -> None:
    require_base(base)


@pytest.mark.parametrize("base", [None, "", " ", "/", "//", "s3:", "s3://", "s3:///", " s3:// ", "file:///", "file:/"])
def test_what_is_no_folder_is_no_base(base: str | None) -> None:
    """Below ``s3://`` lies every bucket, below ``/`` every file of the machine."""
    with pytest.raises(InputError, match="media_base"):
        require_base(base)
