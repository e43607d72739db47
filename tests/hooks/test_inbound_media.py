"""Media of messages from handsets, from the callback to the task that reads them, in every kind of place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.hooks.media import open_media_source
from airflow_provider_mm7.hooks.sinks import media_sink
from airflow_provider_mm7.media import MediaSink
from airflow_provider_mm7.receiver import CallbackCredentials, create_app
from airflow_provider_mm7.store import Store, open_store
from tests.receiver import callbacks
from tests.support.servers import SeaweedFS

PARTS = (b"<smil><body/></smil>", callbacks.TEXT.encode(), callbacks.GIF, callbacks.JPEG)


@dataclass
class Unsteady:
    """A sink that fails when it is told to, and remembers what it was asked for.

    :ivar fails_at: number of the object, from 0, that cannot be kept.
    """

    sink: MediaSink
    fails_at: int | None = None
    uris: list[str] = field(default_factory=list)

    def store(self, name: str, body: bytes, content_type: str) -> str:
        if self.fails_at == len(self.uris):
            raise StoreUnavailable("the place is full")
        self.uris.append(self.sink.store(name, body, content_type))
        return self.uris[-1]


class Credentials:
    def lookup(self, conn_id: str) -> CallbackCredentials:
        return CallbackCredentials(login="vasp", password="secret")


@dataclass
class Place:
    """A receiver whose media go to one place."""

    uri: str
    store: Store
    sink: Unsteady

    async def post(self, boundary: str = "first") -> int:
        app = create_app(credentials=Credentials(), store=lambda: self.store, sink=self.sink)
        transport = httpx.ASGITransport(app)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://mm7.test") as client:
                body, content_type = callbacks.deliver(boundary=boundary)
                headers = callbacks.headers(content_type)
                return (await client.post("/callback", content=body, headers=headers)).status_code
        finally:
            app.state.receiver.close()


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    name = f"inbound-{secrets.token_hex(4)}"
    match request.param:
        case "file":
            uri = (tmp_path / name).as_uri()
        case "memory":
            # One of the stores that Airflow's ObjectStoragePath reaches, as gs:// is.
            filesystem = MemoryFileSystem()
            attach("memory", fs=filesystem)
            filesystem.mkdir(f"/{name}")
            uri = f"memory:///{name}/in"
        case _:
            server: SeaweedFS = request.getfixturevalue("s3_server")
            server.client().create_bucket(Bucket=name)
            monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", server.airflow_connection())
            uri = f"s3://{name}/in"
    store = open_store(f"sqlite:///{tmp_path}/mm7.db")
    yield Place(uri, store, Unsteady(media_sink(uri)))
    store.close()


async def test_type_size_digest_and_bytes_are_kept(place: Place) -> None:
    assert await place.post() == 200
    ((message, stored),) = [(one.message, one.message.parts) for one in place.store.inbound()]
    source = open_media_source()
    assert [source.fetch(part.uri, limit=1 << 20).body for part in stored] == list(PARTS)
    assert [(part.size, part.sha256) for part in stored] == [
        (len(body), hashlib.sha256(body).hexdigest()) for body in PARTS
    ]
    assert [part.content_type.partition(";")[0] for part in stored] == [
        "application/smil",
        "text/plain",
        "image/gif",
        "image/jpeg",
    ]
    assert all(part.uri.startswith(f"{place.uri}/{message.digest}-") for part in stored)


@pytest.mark.parametrize("fails_at", range(len(PARTS)))
async def test_what_is_stored_by_half_is_not_acknowledged_and_comes_again(place: Place, fails_at: int) -> None:
    place.sink.fails_at = fails_at
    assert await place.post() == 503
    assert place.store.inbound() == []
    half, place.sink.fails_at = set(place.sink.uris), None
    assert await place.post(boundary="again") == 200
    (stored,) = place.store.inbound()
    uris = {part.uri for part in stored.message.parts}
    # What was there already is written over under the same names.
    assert half <= uris == set(place.sink.uris)
    source = open_media_source()
    assert [source.fetch(part.uri, limit=1 << 20).body for part in stored.message.parts] == list(PARTS)


async def test_a_callback_that_was_stored_and_comes_again_leaves_nothing_new(place: Place) -> None:
    assert [await place.post(), await place.post(boundary="again")] == [200, 200]
    assert len(place.store.inbound()) == 1
    assert place.sink.uris[:4] == place.sink.uris[4:]


@pytest.mark.s3
async def test_a_bucket_that_may_not_be_written_is_waited_for(
    s3_server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"inbound-{secrets.token_hex(4)}"
    connection = s3_server.airflow_connection(secret_key="wrong")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)
    s3_server.client().create_bucket(Bucket=name)
    store = open_store(f"sqlite:///{tmp_path}/mm7.db")
    uri = f"s3://{name}"
    assert await Place(uri, store, Unsteady(media_sink(uri))).post() == 503
    assert store.inbound() == []
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3_server.airflow_connection())
    assert await Place(uri, store, Unsteady(media_sink(uri))).post() == 200
    assert len(store.inbound()) == 1
    store.close()
