"""A DAG file run by ``dag.test()`` in a process of its own: Airflow's own ways with a task, without its services."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.metadata_database import put_metadata_database

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180
#: Of the output, for a failed assertion.
TAIL = 5000
#: Seconds in which Airflow's in-process API must be up.
API_S = 60.0

#: In the Airflow home: what is printed is mixed with what the tasks' processes print.
_RESULT = "result.json"


def tell(result: Any) -> None:
    """Hand a result to the test; to be called in the DAG file's process.

    :param result: anything that JSON has.
    """
    (Path(os.environ["AIRFLOW_HOME"]) / _RESULT).write_text(json.dumps(result))


def wait_for_api() -> None:
    """Make ``dag.test()`` wait for the API that it starts; to be called in the DAG file's process.

    Airflow 3.2 starts one for each task, in another thread, and asks it at once, which is too soon on a busy machine.
    """
    from airflow.sdk.execution_time import supervisor

    start = supervisor.in_process_api_server

    @cache
    def started() -> Any:
        api = start()
        # Made, and so started, by asking for it.
        assert api.transport is not None
        pause = threading.Event()
        for _ in range(int(API_S / 0.05)):
            if hasattr(api.app.state, "svcs_registry"):
                return api
            pause.wait(0.05)
        raise TimeoutError(f"the execution API did not start within {API_S:g} s")

    supervisor.in_process_api_server = started


def run_dag_file(path: Path, home: Path, extra_env: Mapping[str, str] | None = None) -> tuple[dict[str, Any], str]:
    """Run a DAG file as a program, in a new Airflow home with a store of its own.

    :param path: the file; it hands over its result by :func:`tell`.
    :param home: an empty folder.
    :param extra_env: further environment variables.
    :return: that result, and everything that was printed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        # Airflow 3.2 wants it in process, too.
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(path.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MM7__SQL_ALCHEMY_CONN": f"sqlite:///{home}/mm7.db",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "ignore",
        **(extra_env or {}),
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

    put_metadata_database(home, lambda: python("-m", "airflow", "db", "migrate"))
    output = python(str(path))
    return json.loads((home / _RESULT).read_text()), output
