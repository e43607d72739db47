"""A question to a customer, the answer waited for, and what follows from it.

Connection: ``mm7_default`` (the MMSC; its callbacks bring the answer). Whom to ask is a parameter of the run. The
answer is waited for without a worker: the task is deferred.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

# [START mms_survey]
from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.sensors.mm7 import InboundMMSSensor

with DAG(
    "mms_survey",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={"customer": Param("+12025550120", type="string", description="Who is asked")},
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:
    ask = SendMMSOperator(
        task_id="ask",
        to="{{ params.customer }}",
        subject="Your table tonight",
        text="We have kept your table for eight o'clock. Will you come? Answer YES or NO.",
    )

    # The first message of this customer since the run began. Nobody answers: the task is skipped, and what follows.
    answer = InboundMMSSensor(
        task_id="answer",
        sender="{{ params.customer }}",
        deferrable=True,
        poke_interval=10,
        timeout=timedelta(hours=4),
        soft_fail=True,
    )

    @task.branch
    def understand(message: dict[str, Any]) -> str:
        """Name the task that follows."""
        words = re.findall(r"\w+", (message["text"] or "").casefold())
        return {"yes": "expect", "no": "give_away"}.get(words[0] if words else "", "call")

    @task
    def expect(message: dict[str, Any]) -> None:
        """Confirm: once, however often this task runs."""
        MM7Hook("mm7_default").reply(message, text="See you at eight.")

    @task
    def give_away(message: dict[str, Any]) -> None:
        MM7Hook("mm7_default").reply(message, text="Another time, then.")

    @task
    def call(message: dict[str, Any]) -> None:
        """Neither yes nor no: somebody reads it."""
        print(f"message {message['id']} wants a person")

    ask >> answer
    message: Any = answer.output
    understand(message) >> [expect(message), give_away(message), call(message)]
# [END mms_survey]
