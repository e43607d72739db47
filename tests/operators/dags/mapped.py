"""A mapped SendMMSOperator, run by ``dag.test()`` in a process of its own, against a loopback MMSC in that process."""

from __future__ import annotations

import json
import os
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from tests.support.dag_file import tell, wait_for_api
from tests.support.mmsc import mmsc

with DAG("mapped", schedule=None) as dag:

    @task
    def people() -> list[str]:
        return ["+64211234567", "+64211234568"]

    to: Any = people()
    SendMMSOperator.partial(task_id="each", text="to {{ ti.map_index }}", retries=0).expand(to=to)
    SendMMSOperator(task_id="all", to=to, text="to all", retries=0)
    sent: Any = SendMMSOperator(task_id="named", to="+64211234567", text="{{ run_id }}", retries=0).output

    @task
    def downstream(batch_id: str) -> str:
        return batch_id

    downstream(sent["batch_id"])


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
            "received": sorted(centre.numbers),
        }


if __name__ == "__main__":
    tell(run())
