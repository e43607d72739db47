"""The store of a deployment: which executors may use SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import StoreNotShared
from airflow_provider_mm7.hooks.ledger import executors, open_ledger

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"


@pytest.mark.parametrize(
    ("configured", "names"),
    [
        ("LocalExecutor", ("LocalExecutor",)),
        (CELERY, ("CeleryExecutor",)),
        ("LocalExecutor, KubernetesExecutor", ("LocalExecutor", "KubernetesExecutor")),
        (f"far:{CELERY}", ("CeleryExecutor",)),
        ("LocalExecutor;team1=LocalExecutor", ("LocalExecutor", "LocalExecutor")),
        (f"LocalExecutor;team1=far:{CELERY},LocalExecutor", ("LocalExecutor", "CeleryExecutor", "LocalExecutor")),
    ],
)
def test_executors(monkeypatch: pytest.MonkeyPatch, configured: str, names: tuple[str, ...]) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", configured)
    assert executors() == names


def test_sqlite_where_tasks_run_on_several_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/mm7.db")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,{CELERY}")
    with pytest.raises(StoreNotShared, match=r"CeleryExecutor runs tasks on several machines: set it to a PostgreSQL"):
        open_ledger()
    assert not (tmp_path / "mm7.db").exists()
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor;team1=LocalExecutor")
    assert open_ledger().dialect == "sqlite"
