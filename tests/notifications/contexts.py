"""Contexts of callbacks, with the attributes that Airflow's own objects have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG, DagRunState, TaskInstanceState


def task_context(task_id: str = "load", *, state: str = "failed", error: Exception | None = None, **ti: Any) -> Any:
    """As ``on_failure_callback`` of a task gets it."""
    values = {"dag_id": "nightly", "run_id": "manual__1", "map_index": -1, "try_number": 1, **ti}
    run = SimpleNamespace(dag_id=values["dag_id"], run_id=values["run_id"], clear_number=0, state=DagRunState.RUNNING)
    return {
        "ti": SimpleNamespace(task_id=task_id, state=TaskInstanceState(state), **values),
        "dag_run": run,
        "run_id": values["run_id"],
        "exception": error,
    }


def run_context(reason: str = "task_failure", *, clear_number: int = 0) -> Any:
    """As ``on_failure_callback`` of a DAG gets it: the run's last task is there, too."""
    context = task_context("last", state="failed")
    context["dag_run"].clear_number = clear_number
    return {**context, "reason": reason}


def bare_run_context() -> Any:
    """The same where Airflow knows no more."""
    return {"dag": DAG("nightly", schedule=None), "run_id": "manual__1", "reason": "timed_out"}


def deadline_context(deadline_id: str = "d1") -> Any:
    """As a DeadlineAlert's callback gets it: JSON."""
    run = {"dag_id": "nightly", "dag_run_id": "manual__1", "state": "running", "logical_date": None}
    return {"dag_run": run, "deadline": {"id": deadline_id, "deadline_time": "2026-01-02T03:04:05Z"}}
