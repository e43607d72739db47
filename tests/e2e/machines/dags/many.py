"""DAGs for many machines; what they send, and over which connection, is in the run's conf."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.operators.batch import SendMMSBatchOperator
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.operators.plan import PlanRecipientsOperator

START = datetime(2026, 1, 1, tzinfo=UTC)
CONN_ID = Param("mm7_default", type="string")
#: What both ways to send share.
OPTIONS: dict[str, Any] = {
    "task_id": "send",
    "subject": "From many machines",
    "mm7_conn_id": "{{ params.conn_id }}",
    "retries": 2,
    "retry_delay": timedelta(seconds=1),
}

with DAG(
    "lists",
    schedule=None,
    start_date=START,
    params={"chunks": Param([["+12025550101"]], type="array"), "conn_id": CONN_ID},
):

    @task(show_return_value_in_logs=False)
    def chunks(**context: Any) -> list[list[str]]:
        """Give the recipients, a task's share each."""
        given: list[list[str]] = context["params"]["chunks"]
        return given

    # Without reports, which would keep the sandbox busy while it takes the time of arrivals.
    SendMMSOperator.partial(text="hello", delivery_report=False, **OPTIONS).expand(to=chunks())

with DAG(
    "file",
    schedule=None,
    start_date=START,
    params={
        "uri": Param("s3://news/people.csv", type="string"),
        "chunks": Param(4, type="integer"),
        "conn_id": CONN_ID,
    },
):
    plan = PlanRecipientsOperator(task_id="plan", recipients="{{ params.uri }}", chunks="{{ params.chunks }}")
    SendMMSBatchOperator.partial(text="Hello {{ row.name }}", **OPTIONS).expand(recipients=plan.output)

with DAG("astray", schedule=None, start_date=START, params={"to": Param("+12025550101", type="string")}):
    SendMMSOperator(task_id="send", to="{{ params.to }}", text="hello", queue="astray", retries=2)
