"""A recipients file cut into chunks and sent by mapped tasks, run by ``dag.test()`` in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_mm7.operators.mm7 import PlanRecipientsOperator, SendMMSBatchOperator
from tests.support.dag_file import tell, wait_for_api
from tests.support.mmsc import mmsc

PEOPLE = Path(os.environ["AIRFLOW_HOME"]) / "people.csv"
NUMBERS = [f"+6421123456{n}" for n in range(9)]

with DAG("batch", schedule=None, user_defined_macros={"greet": lambda name: f"Hello {name}"}) as dag:

    @task
    def prepare() -> str:
        PEOPLE.write_text("phone,name\n" + "".join(f"{number},N{n}\n" for n, number in enumerate(NUMBERS)))
        return "{{ this }} is data"

    text: Any = prepare()
    plan = PlanRecipientsOperator(task_id="plan", recipients=str(PEOPLE), chunks=3)
    each = SendMMSBatchOperator.partial(
        task_id="each", text=["{{ greet(name) }} of {{ ti.map_index }}, {{ dag.dag_id }}"], retries=0
    ).expand(recipients=plan.output)
    # Its text is another task's output: a dependency, and data.
    whole = SendMMSBatchOperator(
        task_id="whole", recipients=[{"to": "+64211234599"}], subject="{{ run_id }} {{ row.to }}", text=text, retries=0
    )
    text >> plan

    @task
    def late() -> str:
        return "{{ late }} is data"

    @task
    def texts() -> list[str]:
        return ["{{ dag.dag_id }} is data"]

    words: Any = late()
    mapped = SendMMSBatchOperator.partial(task_id="mapped", text=words, retries=0).expand(
        recipients=[[{"to": "+64211234598"}]]
    )
    SendMMSBatchOperator.partial(task_id="texts_of_another", recipients=[{"to": "+64211234597"}], retries=0).expand(
        text=texts()
    )
    if mapped.upstream_task_ids != {"late"}:
        raise RuntimeError("what partial() is given is no dependency")

    @task
    def downstream(batch_ids: list[str]) -> int:
        return len(set(batch_ids))

    downstream(each.output["batch_id"])  # type: ignore[index]


def run() -> dict[str, Any]:
    from airflow.utils.session import create_session

    with mmsc() as centre:
        connection = {"conn_type": "mm7", "host": centre.url, "login": "u", "password": "hunter2"}
        os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(connection)
        wait_for_api()
        dag_run = dag.test()
    with create_session() as session:
        tasks = dag_run.get_task_instances(session=session)
        return {
            "states": sorted((ti.task_id, ti.map_index, ti.state) for ti in tasks),
            "xcoms": {
                f"{ti.task_id}{ti.map_index}": ti.xcom_pull(ti.task_id, map_indexes=ti.map_index, session=session)
                for ti in tasks
            },
            "received": {item.recipients[0]: item.envelope.parts[-1].body.decode() for item in centre.received},
            "count": len(centre.received),
        }


if __name__ == "__main__":
    tell(run())
