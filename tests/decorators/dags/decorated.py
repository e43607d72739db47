"""``@task.mms`` in all its forms, run by ``dag.test()`` against a loopback MMSC in the same process."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, task

from tests.support.dag_file import tell, wait_for_api
from tests.support.mmsc import Answer, Received, accept, mmsc, status

REFUSED = "+64211234512"

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
    each: Any = mapped.partial(greeting="{{ run_id[:6] }}").expand(number=people())
    bare.override(task_id="renamed", retries=0)()

    @task
    def collect(results: list[dict[str, Any]], batch_ids: list[str]) -> bool:
        return [one["batch_id"] for one in results] == batch_ids and len(set(batch_ids)) == 2

    collect(each, each["batch_id"])

# What goes wrong; permanent errors are not tried again, whatever ``retries`` says.
with dag:

    @task.mms(to="+64211234510", retries=3)
    def nothing() -> None:
        """Return no message."""

    @task.mms(to="+64211234511", retries=3)
    def mistyped() -> dict[str, Any]:
        return {"body": "+64211234511"}

    @task.mms(to=REFUSED, retries=3)
    def refused() -> str:
        return "no"

    @task.mms(to="+64211234513", retries=0)
    def broken() -> str:
        raise KeyError("broken")

    @task.mms(to="+64211234514")
    def skipped() -> str:
        raise AirflowSkipException

    @task.mms(to="+64211234515", retries=0)
    def some(number: int) -> str:
        return f"{1 // number}"

    for one in (nothing, mistyped, refused, broken, skipped):
        one()
    some.expand(number=[1, 0])


def answer(received: Received) -> Answer:
    return status(2002)(received) if REFUSED in received.recipients else accept(received)


def run() -> dict[str, Any]:
    from airflow.utils.session import create_session

    with mmsc(answer) as centre:
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

        def returned(task_id: str) -> Any:
            return next(ti.xcom_pull(task_id, session=session) for ti in tasks if ti.task_id == task_id)

        return {
            "states": sorted((ti.task_id, ti.map_index, ti.state) for ti in tasks),
            "tries": {ti.task_id: ti.try_number for ti in tasks},
            "returned": {task_id: returned(task_id) for task_id in ("downstream", "collect", "refused")},
            "received": received,
        }


if __name__ == "__main__":
    tell(run())
