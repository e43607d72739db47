"""One Airflow on several machines for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines import Machines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is marked ``celery``."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.celery)


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Two Celery workers and everything that they need."""
    with Machines(tmp_path_factory.mktemp("machines"), Path(__file__).parent / "dags") as running:
        yield running
