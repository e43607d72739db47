"""The sensors in a DAG run: Airflow's own ways with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dag_file import TAIL, run_dag_file

pytestmark = pytest.mark.long


def test_sensors_in_a_dag_run(tmp_path: Path) -> None:
    """Templates, XCom, states, retries and asset events are Airflow's: so Airflow runs them."""
    result, output = run_dag_file(Path(__file__).parent / "dags" / "delivery.py", tmp_path)

    assert result["states"] == {
        "send_batches": "success",
        "poked": "success",
        "by_ids": "success",
        "failed": "failed",
        "skipped": "skipped",
        "deferred": "success",
        "with_outlet": "success",
        "templated": "success",
    }, output[-TAIL:]
    assert set(result["tries"].values()) == {1}, "a verdict is final: no task is retried"
    counts = {
        task: (found["delivered"], found["failed"])
        for task, found in result["counts"].items()
        if task != "send_batches"
    }
    assert counts == {
        "poked": (2, 0),
        "by_ids": (2, 0),
        "failed": (0, 1),
        "skipped": (0, 1),
        "deferred": (1, 0),
        "with_outlet": (1, 0),
        "templated": (2, 0),
    }
    assert result["assets"] == 1
    assert "+6421" not in output
