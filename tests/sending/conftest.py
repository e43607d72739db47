"""The ledger on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from airflow_provider_mm7.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with empty tables."""
    url = (
        cast(str, request.getfixturevalue("postgres_url")) if request.param == "postgres" else f"sqlite:///{tmp_path}/l"
    )
    store = Store(url)
    store.upgrade()
    store.close()
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A ledger of its own."""
    opened = Store(store_url)
    yield opened
    opened.close()
