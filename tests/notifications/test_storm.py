"""500 tasks fail at about one time, each in a process of its own: what the limit allows arrives, and one summary.

Though the process that would have sent it is killed before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notifications.conftest import connection
from tests.notifications.storm import BURST
from tests.support.sandbox import RunningSandbox

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
TASKS, AT_ONCE = 500, 32
#: Some fifteen seconds on two idle cores; this is for a machine that is busy with other things.
PATIENCE_S = 300


def test_a_storm(sandbox: RunningSandbox, either_ledger_url: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "AIRFLOW_CONN_MM7_DEFAULT": connection(sandbox),
        "AIRFLOW__MM7__SQL_ALCHEMY_CONN": either_ledger_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "tests.notifications.storm", str(TASKS), str(AT_ONCE)]
    with (tmp_path / "log").open("w+") as log:
        subprocess.run(
            command, env=environment, cwd=ROOT, timeout=PATIENCE_S, check=True, stdout=log, stderr=subprocess.STDOUT
        )
        log.seek(0)
        said = log.read()
    assert "alert not sent" not in said
    subjects = [one["subject"] for one in sandbox.accepted()]
    assert subjects.pop(0) == "another.first failed"
    assert len(subjects) == BURST + 1, subjects
    assert subjects[-1] == f"{TASKS - BURST} more failures of DAG nightly"
    assert all(subject.endswith(" failed") for subject in subjects[:-1])
