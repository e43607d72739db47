"""The ledger on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_mm7.store import Store


@pytest.fixture
def store(either_ledger_url: str) -> Iterator[Store]:
    """A ledger of its own."""
    opened = Store(either_ledger_url)
    yield opened
    opened.close()
