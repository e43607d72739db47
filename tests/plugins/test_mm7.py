from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import Mount

from airflow_provider_mm7.plugins.mm7 import MM7Plugin, _mountable
from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks

# Airflow 3.2's own models are deprecated ones to the newest SQLAlchemy; as an error that would leave them half made.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

ROOT = Path(__file__).parents[2]

IMPORT = """
import sys
import airflow_provider_mm7
from airflow.providers.common.compat.sdk import AirflowPlugin
before = set(sys.modules)
from airflow_provider_mm7.plugins.mm7 import MM7Plugin
assert MM7Plugin.name == "mm7"
MM7Plugin.validate(); MM7Plugin().listeners
print(sorted(name for name in set(sys.modules) - before))
"""


def test_importing_the_plugin_costs_nothing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env={"PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.splitlines()[-1] == str(["airflow_provider_mm7.plugins", "airflow_provider_mm7.plugins.mm7"])
    assert not list(tmp_path.glob("mm7*"))


def test_airflow_finds_one_application_at_mm7() -> None:
    (described,) = MM7Plugin.fastapi_apps
    assert (described["url_prefix"], described["name"]) == ("/mm7", "mm7")
    assert MM7Plugin().fastapi_apps is MM7Plugin.fastapi_apps


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Named, since an installed package has its defaults, with the home in them, in Airflow's configuration already.
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__INBOUND_MEDIA_URI", f"file://{tmp_path}/mm7/inbound")
    monkeypatch.setenv(
        "AIRFLOW_CONN_MM7_DEFAULT",
        '{"conn_type": "mm7", "host": "mmsc.test", "extra": {"callback_login": "vasp", "callback_password": "secret"}}',
    )
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", '{"conn_type": "http", "login": "vasp", "password": "secret"}')
    return tmp_path


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The plugin mounted, and its lifespan run, as airflow.api_fastapi.app does both."""
    app = FastAPI()
    app.mount("/mm7", _mountable())
    async with AsyncExitStack() as stack:
        for route in app.routes:
            if isinstance(route, Mount) and isinstance(route.app, FastAPI):
                await stack.enter_async_context(route.app.router.lifespan_context(route.app))
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://airflow.test", headers=callbacks.headers())
        yield app, await stack.enter_async_context(client)


async def test_a_callback_reaches_the_store_that_airflow_is_configured_with(configured: Path) -> None:
    async with api_server() as (_, client):
        body, content_type = callbacks.deliver()
        report = await client.post("/mm7/callback", content=callbacks.report())
        message = await client.post("/mm7/callback/mm7_default", content=body, headers=callbacks.headers(content_type))
        wrong_type = await client.post("/mm7/callback/other", content=callbacks.report())
        health = await client.get("/mm7/health")
    assert [one.status_code for one in (report, message, wrong_type, health)] == [200, 200, 401, 200]
    store = open_store(f"sqlite:///{configured}/mm7.db")
    assert (len(store.reports()), len(store.inbound())) == (1, 1)
    assert len([path for path in (configured / "mm7/inbound").rglob("*") if path.is_file()]) == 4
    store.close()


async def test_a_sign_of_life_is_left_from_the_servers_start_to_its_end(configured: Path) -> None:
    store = open_store(f"sqlite:///{configured}/mm7.db")
    async with api_server() as (_, client):
        # Health is asked only to know that the thread had its turn; it waits for the same database.
        for _ in range(1000):
            await client.get("/mm7/health")
            if alive := store.components("receiver"):
                break
        assert len(alive) == 1
    assert store.components("receiver") == []
    store.close()


async def test_a_slip_in_the_configuration_does_not_stop_the_api_server(
    configured: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__MAX_CALLBACK_BYTES", "many")
    async with api_server() as (_, client):
        refused = await client.post("/mm7/callback", content=callbacks.report())
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert "[mm7] max_callback_bytes" in caplog.text
        monkeypatch.setenv("AIRFLOW__MM7__MAX_CALLBACK_BYTES", "1000000")
        assert (await client.post("/mm7/callback", content=callbacks.report())).status_code == 200
    # What began so late ends with the server as well.
    assert not [thread.name for thread in threading.enumerate() if thread.name == "mm7-confirm"]
