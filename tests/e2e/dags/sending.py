"""DAGs of the end-to-end tests; what they send, and over which connection, is in the run's conf."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor

POLL_S = 5

PARAMS = {
    "to": Param(["+12025550101"], type="array"),
    "conn_id": Param("mm7_default", type="string"),
    "text": Param("hello", type="string"),
}


def send(**options: Any) -> SendMMSOperator:
    """The operator as all of them use it."""
    return SendMMSOperator(
        task_id="send",
        to="{{ params.to }}",
        text="{{ params.text }}",
        subject="e2e",
        mm7_conn_id="{{ params.conn_id }}",
        **options,
    )


with DAG("e2e_send", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=PARAMS):
    send(retries=1, retry_delay=timedelta(seconds=1))

with DAG("e2e_wait", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=PARAMS):
    DeliveryReportSensor(
        task_id="arrived",
        batch_id=send().output["batch_id"],  # type: ignore[index]  # Airflow annotates the base class
        deferrable=True,
        poke_interval=POLL_S,
        timeout=300,
    )

with DAG("e2e_read", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params=PARAMS):
    batch_id = send(read_reply=True).output["batch_id"]  # type: ignore[index]  # Airflow annotates the base class
    waiting = [
        DeliveryReportSensor(
            task_id=task_id,
            batch_id=batch_id,
            wait_for=wait_for,
            deferrable=True,
            poke_interval=POLL_S,
            timeout=300,
        )
        for wait_for, task_id in (("submitted", "sent"), ("read", "seen"))
    ]

    @task
    def count(result: dict[str, Any]) -> int:
        """A deferred sensor's result is to the next task what a poking one's is."""
        return int(result["read"])

    count(waiting[1].output)  # type: ignore[arg-type]
