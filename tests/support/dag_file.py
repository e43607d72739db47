"""A DAG file run by ``dag.test()`` in a process of its own: Airflow's own ways with a task, without its services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180
#: Of the output, for a failed assertion.
TAIL = 5000

_AIRFLOW = tuple(int(part) for part in version("apache-airflow-core").split(".")[:2])

#: The deployments of tests/e2e show the same on every Airflow, with its real processes.
dag_test_works = pytest.mark.skipif(
    _AIRFLOW < (3, 3), reason="dag.test() of Airflow 3.2 fails with today's web libraries (no svcs_registry)"
)


def run_dag_file(path: Path, home: Path) -> tuple[dict[str, Any], str]:
    """Run a DAG file as a program, in a new Airflow home with a store of its own.

    :param path: the file; it prints one line ``RESULT`` with JSON.
    :param home: an empty folder.
    :return: that JSON, and everything that was printed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(path.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MM7__SQL_ALCHEMY_CONN": f"sqlite:///{home}/mm7.db",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=home,
            timeout=PATIENCE_S,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout[-TAIL:]
        return done.stdout

    python("-m", "airflow", "db", "migrate")
    output = python(str(path))
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT ")), output
