"""The receiver on PostgreSQL: what SQLite forgives, and tables that come late."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette

from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks
from tests.receiver.conftest import Rig

pytestmark = pytest.mark.postgres

URL = "/mm7/callback"


async def post(rig: Rig, body: bytes, content_type: str = callbacks.XML, app: Starlette | None = None) -> int:
    async with rig.client(app=app) as client:
        return (await client.post(URL, content=body, headers=callbacks.headers(content_type))).status_code


async def test_a_burst_with_repeats_is_stored_once_each(postgres_url: str, rig: Rig) -> None:
    rig.url = rig.real_url = postgres_url
    open_store(postgres_url, migrate=True)
    app = rig.app()
    statuses = await asyncio.gather(
        *(post(rig, callbacks.report(f"m-{number // 2}"), app=app) for number in range(30)),
        *(post(rig, *callbacks.deliver(text=b"NUL \x00 here"), app=app) for _ in range(2)),
    )
    assert set(statuses) == {200}
    assert (len(rig.store.reports()), len(rig.store.inbound())) == (15, 1)


async def test_tables_that_are_not_there_yet_are_waited_for(postgres_url: str, rig: Rig) -> None:
    rig.url = rig.real_url = postgres_url
    app = rig.app()
    assert await post(rig, callbacks.report(), app=app) == 503
    async with rig.client(app=app) as client:
        health = await client.get("/mm7/health")
    assert (health.status_code, health.json()["store"]) == (503, "not migrated")
    open_store(postgres_url, migrate=True)
    assert await post(rig, callbacks.report(), app=app) == 200
