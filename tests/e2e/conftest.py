"""One real Airflow, S3 server and sandbox MMSC for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stage import Stage

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is marked ``e2e``."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Airflow with the example DAGs and the tests' own, connected to a sandbox and an S3 server."""
    dags = [ROOT / "example_dags", Path(__file__).parent / "dags"]
    with Stage(tmp_path_factory.mktemp("stage"), dags) as running:
        yield running
