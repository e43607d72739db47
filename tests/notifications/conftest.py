"""What every notifier's test needs: contexts as Airflow gives them, a ledger, a connection to the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.empty_ledgers import empty_ledger
from tests.support.sandbox import RunningSandbox

BASE_URL = "https://airflow.example.com"


def connection(sandbox: RunningSandbox, **extra: Any) -> str:
    """``mm7_default`` as JSON."""
    fields = {"host": sandbox.url, "login": sandbox.login, "password": sandbox.password, "extra": extra}
    return json.dumps({"conn_type": "mm7", **fields})


@pytest.fixture(autouse=True)
def airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE_URL)


@pytest.fixture
def connected(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A sandbox that ``mm7_default`` leads to."""
    monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", connection(sandbox))
    return sandbox


@pytest.fixture
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of this test alone."""
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return url
