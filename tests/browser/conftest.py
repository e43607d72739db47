"""Everything here needs a browser, and most of it patience."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts an Airflow is marked ``e2e``, and runs apart from the rest."""
    for item in items:
        if "api_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)
