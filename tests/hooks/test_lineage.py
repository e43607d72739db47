"""What was read and sent, under the names that lineage tools know."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import Connection
from airflow.sdk.lineage import HookLineageCollector

from airflow_provider_mm7.exceptions import MediaNotFound
from airflow_provider_mm7.hooks import lineage
from airflow_provider_mm7.hooks.connection import ConnectionSettings
from airflow_provider_mm7.hooks.media import open_media_source
from airflow_provider_mm7.hooks.recipients import open_files
from airflow_provider_mm7.hooks.stores import S3Connection


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> HookLineageCollector:
    """Airflow's own, which it makes where a plugin reads it."""
    made = HookLineageCollector()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(lineage, "get_hook_lineage_collector", lambda: made)
    return made


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://news/2026/saturn.gif", ("s3://news", "2026/saturn.gif")),
        ("s3://news/50% off?.gif", ("s3://news", "50% off?.gif")),
        ("S3://news/saturn.gif", ("s3://news", "saturn.gif")),
        ("gs://our_connection@news/saturn.gif", ("gs://news", "saturn.gif")),
        ("abfss://box@account.dfs.core.windows.net/a.gif", ("abfss://box@account.dfs.core.windows.net", "a.gif")),
        ("file:///media/a%20b.gif", ("file", "/media/a b.gif")),
        ("/media/saturn.gif", ("file", "/media/saturn.gif")),
        ("s3://news/2026/", ("s3://news", "2026")),
        ("s3://news/", ("s3://news", "/")),
    ],
)
def test_names_of_objects(uri: str, name: tuple[str, str]) -> None:
    assert lineage.dataset_name(uri) == name


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ({}, ("mm7://mmsc.example.com:8443", "submissions")),
        ({"vaspid": "TNN", "vasid": "News"}, ("mm7://mmsc.example.com:8443", "TNN/News")),
    ],
)
def test_name_of_what_is_sent(extra: dict[str, str], name: tuple[str, str]) -> None:
    connection = Connection(
        conn_id="c", conn_type="mm7", host="https://mmsc.example.com:8443/mm7", login="u", password="p",
        extra=json.dumps(extra),
    )  # fmt: skip
    assert lineage.messages_name(ConnectionSettings.from_connection(connection)) == name


def test_reads_and_writes_are_collected(collector: HookLineageCollector, tmp_path: Path) -> None:
    (tmp_path / "a b.gif").write_bytes(b"GIF89a")
    (tmp_path / "people.csv").write_bytes(b"number\n")
    source = open_media_source(aws_conn_id=None)
    for _ in range(2):
        source.fetch(str(tmp_path / "a b.gif"), limit=100)
    with pytest.raises(MediaNotFound):
        source.fetch(str(tmp_path / "none.gif"), limit=100)
    files = open_files(S3Connection(None))
    with files.open((tmp_path / "people.csv").as_uri()) as stream:
        stream.read(10)
    files.save(str(tmp_path / "people.results.csv"), io.BytesIO(b"line\n"))

    collected = collector.collected_assets
    assert [one.asset.uri for one in collected.inputs] == [
        f"file://{tmp_path}/a b.gif",
        f"file://{tmp_path}/people.csv",
    ]
    assert [one.asset.uri for one in collected.outputs] == [f"file://{tmp_path}/people.results.csv"]


@pytest.mark.parametrize(
    ("uri", "asset"),
    [
        ("s3://news/2026/saturn 50%.gif", "s3://news/2026/saturn 50%.gif"),
        ("s3://news/what?#1.gif", "s3://news/what%3F%231.gif"),
        ("file:///media/a%20b.gif", "file:///media/a b.gif"),
    ],
)
def test_names_that_airflow_knows_too(collector: HookLineageCollector, uri: str, asset: str) -> None:
    lineage.note_read(collector, uri)
    (read,) = collector.collected_assets.inputs
    assert read.asset.uri == asset


def test_a_name_that_airflow_refuses_is_no_error(
    collector: HookLineageCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineage.note_read(collector, "s3://news/" + "ü" * 3000)
    lineage.note_read(collector, "file://another.host/a.gif")
    assert not collector.collected_assets.inputs
