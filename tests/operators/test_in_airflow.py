"""SendMMSOperator mapped, fed and read by other tasks: Airflow's own ways with it."""

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
def test_in_a_dag_run(tmp_path: Path) -> None:
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
    output = python(str(DAGS / "mapped.py"))
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))

    assert {state for _, _, state in result["states"]} == {"success"}, output[-5000:]
    first, second = "+64211234567", "+64211234568"
    assert result["received"] == sorted([first, second, first, second, first])
    xcoms = result["xcoms"]
    mapped = [xcoms["each0"], xcoms["each1"]]
    assert [[message["recipient"] for message in one["messages"]] for one in mapped] == [[first], [second]]
    batches = [one["batch_id"] for one in (*mapped, xcoms["all-1"], xcoms["named-1"])]
    assert len(set(batches)) == 4
    assert xcoms["all-1"]["accepted"] == 2
    # The item of send.output is an XCom key, not an item of the returned dictionary.
    assert xcoms["downstream-1"] == xcoms["named-1"]["batch_id"]
    assert "hunter2" not in output
