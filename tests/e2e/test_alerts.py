"""MMSNotifier where Airflow calls it: in a task's process, in the DAG processor, in the triggerer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from airflow_provider_mm7.store import open_store
from airflow_provider_mm7.store.tables import alert
from tests.e2e.dags.alerts import BURST, DEADLINE, RUN, STORM, TASKS
from tests.support.sandbox import wait_for
from tests.support.stage import Stage

#: Seconds until a callback of the DAG processor or the triggerer has run.
CALLBACK_S = 90.0


def alerts(stage: Stage, number: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = wait_for(
        lambda: stage.sandbox.accepted_for(number), lambda found: len(found) >= count, patience_s=CALLBACK_S
    )
    assert len(found) == count
    return found


def kept(stage: Stage, state: str) -> int:
    """Alerts of the storm that the store has in a state."""
    query = sa.select(sa.func.count()).where(alert.c.scope.like("%/e2e_alert_storm/%"), alert.c.state == state)
    return open_store(stage.ledger_url)._db.read(lambda connection: connection.scalar(query)) or 0


def text(received: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in received["parts"] if part["content_type"].startswith("text/plain"))


def test_tasks_that_fail_one_after_the_other(stage: Stage) -> None:
    run_id = stage.airflow.trigger("e2e_alert_storm")
    stage.airflow.wait_run("e2e_alert_storm", run_id, 180, expect="failed")

    # The run has ended; the last of its tasks' processes waits for others to fail.
    received = alerts(stage, STORM, BURST + 1)
    *first, summary = (one["subject"] for one in received)
    assert first == ["e2e_alert_storm.fail failed"] * BURST
    told = re.fullmatch(r"(\d+) more failures? of DAG e2e_alert_storm", summary)
    assert told is not None
    # A machine so busy that it lets seconds pass between two tasks has the others told of later; none is lost.
    wait_for(lambda: kept(stage, "going"), lambda going: not going)
    assert kept(stage, "sent") == BURST
    assert kept(stage, "told") == int(told[1])
    assert int(told[1]) + kept(stage, "held") == TASKS - BURST
    said = text(received[0]).splitlines()
    assert said[0].startswith("Task fail[")
    assert said[0].endswith("] of DAG e2e_alert_storm failed (ValueError).")
    assert said[1] == f"Run {run_id}, try 1"
    link = f"{stage.airflow.url}/dags/e2e_alert_storm/runs/{quote(run_id)}/tasks/fail/mapped/"
    assert said[2].startswith(link)


def test_a_run_that_failed(stage: Stage) -> None:
    run_id = stage.airflow.trigger("e2e_alert_run")
    stage.airflow.wait_run("e2e_alert_run", run_id, 120, expect="failed")

    (received,) = alerts(stage, RUN, 1)
    assert received["subject"] == "e2e_alert_run failed"
    link = f"{stage.airflow.url}/dags/e2e_alert_run/runs/{quote(run_id)}"
    assert text(received) == f"DAG e2e_alert_run failed.\nRun {run_id}\n{link}"
    assert "Priority>High</" in received["soap"]


def test_a_deadline_that_was_missed(stage: Stage, tmp_path: Path) -> None:
    flag = tmp_path / "seen"
    run_id = stage.airflow.trigger("e2e_alert_deadline", {"until": str(flag)})
    try:
        (received,) = alerts(stage, DEADLINE, 1)
    finally:
        flag.touch()
    stage.airflow.wait_run("e2e_alert_deadline", run_id, 60)
    assert received["subject"] == "e2e_alert_deadline is late"
    assert text(received).startswith(f"DAG e2e_alert_deadline missed its deadline.\nRun {run_id}\n")
