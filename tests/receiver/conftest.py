from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.receiver import CallbackCredentials, ReceiverConfig, create_app, parse_networks
from airflow_provider_mm7.store import Store, open_store
from tests.receiver import callbacks
from tests.support.empty_ledgers import empty_ledger


class Directory:
    """Credentials of three connections. Can fail."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked: list[str] = []
        self.entries = {
            "mm7_default": CallbackCredentials(login="vasp", password="secret"),
            "carrier_b": CallbackCredentials(login="b", password="bb"),
            "narrow": CallbackCredentials(login="vasp", password="secret", networks=parse_networks("10.0.0.0/8")),
        }

    def lookup(self, conn_id: str) -> CallbackCredentials | None:
        self.asked.append(conn_id)
        if self.failure is not None:
            raise self.failure
        return self.entries.get(conn_id)


class Sink(FolderSink):
    """A folder that can be full, and can be slow."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.failure: Exception | None = None
        self.reached = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def store(self, name: str, body: bytes, content_type: str) -> str:
        self.reached.set()
        assert self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        return super().store(name, body, content_type)

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass
class Rig:
    """A receiver on a real store and a real folder, and what they hold."""

    folder: Path
    directory: Directory = field(default_factory=Directory)
    config: ReceiverConfig = field(default_factory=ReceiverConfig)
    apps: list[Starlette] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = empty_ledger(self.folder / "mm7.db")
        self.sink = Sink(self.folder / "inbound")
        self.real_url = self.url

    @property
    def store(self) -> Store:
        return open_store(self.real_url)

    def store_goes_down(self) -> None:
        """From now on the store is where no file can be."""
        blocker = self.folder / "not-a-folder"
        blocker.touch()
        self.url = f"sqlite:///{blocker}/mm7.db"

    def store_comes_back(self) -> None:
        self.url = self.real_url

    def app(self) -> Starlette:
        app = create_app(
            credentials=self.directory,
            store=lambda: open_store(self.url),
            sink=self.sink,
            config=self.config,
            prefix="/mm7",
        )
        self.apps.append(app)
        return app

    def client(self, *, address: str = "127.0.0.1", app: Starlette | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app or self.app(), client=(address, 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://mm7.test", headers=callbacks.headers())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.sink.go.set()
    for app in rig.apps:
        app.state.receiver.close()
    open_store(rig.real_url).close()
