"""Long tests begin first: where processes share the suite, none of them is what all others wait for in the end.

Among themselves they are in random order, and so is the rest.
"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # By itself pytest-xdist begins with the classes and modules of the most tests, which are the quick ones.
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
