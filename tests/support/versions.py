"""Which Airflow the suite runs on."""

from __future__ import annotations

from importlib.metadata import version

import pytest

_INSTALLED = tuple(int(part) for part in version("apache-airflow-core").split(".")[:2])

#: The deployments of tests/e2e show the same on every Airflow, with its real processes.
dag_test_works = pytest.mark.skipif(
    _INSTALLED < (3, 3), reason="dag.test() of Airflow 3.2 fails with today's web libraries (no svcs_registry)"
)
