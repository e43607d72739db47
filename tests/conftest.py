"""Fixtures that several rooms use: real servers, the airflow command, the sandbox."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.airflow_cli",
    "tests.support.postgres",
    "tests.support.sandbox",
    "tests.support.seaweedfs",
]
