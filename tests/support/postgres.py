"""Fixtures: a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres_server import Postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for the session; tests make databases of their own in it."""
    settings = {
        # What a planner chooses would depend on when autovacuum last looked at a table.
        "autovacuum": "off",
        # Pages torn by a power failure, and few checkpoints: a server that is killed needs neither.
        "full_page_writes": "off",
        "max_wal_size": "2GB",
    }
    with Postgres(fsync=False, settings=settings) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """URL of an empty database."""
    with postgres_server.database() as url:
        yield url
