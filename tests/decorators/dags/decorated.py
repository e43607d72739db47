"""``@task.mms`` in all its forms, run by ``dag.test()`` against a loopback MMSC in the same process."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from tests.support.dag_file import wait_for_api
from tests.support.mmsc import mmsc

with DAG("decorated", schedule=None, params={"who": "+64211234500"}) as dag:

    @task.mms(to="{{ params.who }}", subject="{{ run_id[:6] }}", retries=0)
    def plain(run_id: str | None = None) -> str:
        return f"run {run_id is not None} {{{{ this }}}} is data"

    @task
    def people() -> list[str]:
        return ["+64211234501", "+64211234502"]

    @task.mms(subject="mapped", retries=0)
    def mapped(number: str, greeting: str) -> dict[str, Any]:
        """To each of them."""
        return {"to": [number], "text": [greeting, "twice"], "priority": "High", "expiry": timedelta(days=1)}

    @task
    def downstream(batch_id: str, sent: dict[str, Any]) -> bool:
        return (batch_id, 1) == (sent["batch_id"], sent["accepted"])

    @task.mms
    def bare() -> dict[str, Any]:
        return {"to": "+64211234503", "text": "bare", "delivery_report": False}

    sent: Any = plain()
    downstream(sent["batch_id"], sent)
    mapped.partial(greeting="hello").expand(number=people())
    bare.override(task_id="renamed", retries=0)()


def run() -> dict[str, Any]:
    from airflow.utils.session import create_session

    with mmsc() as centre:
        connection = {"conn_type": "mm7", "host": centre.url, "login": "u", "password": "hunter2"}
        os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(connection)
        wait_for_api()
        dag_run = dag.test()
    received = {}
    for one in centre.received:
        request: Any = one.envelope.message
        texts = [part.body.decode() for part in one.envelope.parts if part.content_type.startswith("text/plain")]
        received[one.recipients[0]] = [request.subject, request.priority, request.delivery_report, texts]
    with create_session() as session:
        tasks = dag_run.get_task_instances(session=session)
        return {
            "states": sorted((ti.task_id, ti.map_index, ti.state) for ti in tasks),
            "downstream": next(
                ti.xcom_pull("downstream", session=session) for ti in tasks if ti.task_id == "downstream"
            ),
            "received": received,
        }


if __name__ == "__main__":
    print("RESULT", json.dumps(run()))
