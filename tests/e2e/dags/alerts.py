"""DAGs whose callbacks alert: of tasks, of the run, of a deadline."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from airflow_provider_mm7.notifications.mm7 import MMSNotifier

START = datetime(2026, 1, 1, tzinfo=UTC)
TASKS, BURST = 7, 2
STORM, RUN, DEADLINE = "+12025550161", "+12025550162", "+12025550163"

with DAG("e2e_alert_storm", schedule=None, start_date=START):

    @task(on_failure_callback=MMSNotifier(to=STORM, burst=BURST, max_per_hour=1), retries=0)
    def fail(number: int) -> None:
        """Fail, as all of them do."""
        raise ValueError(f"no {number}")

    fail.expand(number=list(range(TASKS)))

with DAG("e2e_alert_run", schedule=None, start_date=START, on_failure_callback=[MMSNotifier(to=RUN, priority="High")]):

    @task(retries=0)
    def broken() -> None:
        """Fail."""
        raise ValueError("no")

    broken()

with DAG(
    "e2e_alert_deadline",
    schedule=None,
    start_date=START,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=AsyncCallback(MMSNotifier, kwargs={"to": DEADLINE, "subject": "{{ alert.dag_id }} is late"}),
    ),
):

    @task
    def late(params: dict[str, Any]) -> None:
        """Take until the test has seen the alert, or has given up."""
        ends = time.monotonic() + 120
        while not Path(params["until"]).exists() and time.monotonic() < ends:
            time.sleep(0.2)

    late()  # type: ignore[call-arg,misc]  # Airflow gives the parameters
