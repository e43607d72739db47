from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from airflow_provider_mm7.store import Store
from tests.support.empty_ledgers import empty_ledger
from tests.support.page_server import User, pages_of

NOW = datetime(2026, 1, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(empty_ledger(tmp_path / "mm7.db"), clock=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def user() -> User:
    """Whoever looks: a test takes rights away."""
    return User()


@pytest.fixture
async def client(store: Store, user: User) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(pages_of(store, user))
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow.test/mm7/ui/") as client:
        yield client
