"""Fixtures that rooms share."""

from __future__ import annotations

pytest_plugins = ["tests.support.airflow_cli", "tests.support.sandbox", "tests.support.seaweedfs"]
