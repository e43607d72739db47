from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.versions import dag_test_works

DAGS = Path(__file__).parent / "dags"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 180


@dag_test_works
def test_sensors_in_a_dag_run(tmp_path: Path) -> None:
    """Templates, XCom, states, retries and asset events are Airflow's: so Airflow runs them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MM7__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/mm7.db",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=tmp_path,
            timeout=PATIENCE_S,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    python("-m", "airflow", "db", "migrate")
    output = python(str(DAGS / "delivery.py"))
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))

    assert result["states"] == {
        "send_batches": "success",
        "poked": "success",
        "by_ids": "success",
        "failed": "failed",
        "skipped": "skipped",
        "deferred": "success",
        "with_outlet": "success",
        "templated": "success",
    }, output[-5000:]
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
