"""Both operators with OpenLineage's listener in Airflow, run by ``dag.test()`` in a process of its own.

Media, a recipients file and its results are in the bucket ``news`` of the S3 server that ``aws_default`` leads to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HOME = Path(os.environ["AIRFLOW_HOME"])
os.environ["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps({"type": "file", "log_file_path": f"{HOME}/events.json"})
os.environ["AIRFLOW__OPENLINEAGE__NAMESPACE"] = "here"

# Airflow is configured above.
from airflow.sdk import DAG, task  # noqa: E402

from airflow_provider_mm7.hooks.media import open_media_source  # noqa: E402
from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator, SendMMSOperator  # noqa: E402
from tests.support.dag_file import tell, wait_for_api  # noqa: E402
from tests.support.mmsc import Answer, Received, accept, mmsc, status  # noqa: E402

PICTURE = Path(__file__).parents[3] / "example_dags" / "media" / "saturn.gif"
REFUSED = "+64211234560"

with DAG("lineage", schedule=None) as dag:

    @task
    def hook() -> int:
        """Read as a task of the user's does. Runs first: all tasks are in one process, and so in one collector."""
        return len(open_media_source(aws_conn_id="aws_default").fetch("s3://news/2026/rings 50%.gif", limit=10**6).body)

    first = hook()
    SendMMSOperator(
        task_id="one", to=["+64211234567", "+64211234568"], text="one", retries=0,
        media=["s3://news/{{ params.key }}", PICTURE.as_uri()], smil="s3://news/slides.smil",
        params={"key": "2026/rings 50%.gif"},
    )  # fmt: skip
    SendMMSBatchOperator(
        task_id="many", recipients="s3://news/lists/people.csv", text="{{ name }}", retries=0,
        media=["{{ picture }}", "s3://news/logo.gif"], media_base="s3://news/2026/",
    )  # fmt: skip
    SendMMSOperator.partial(task_id="mapped", to="+64211234567", text="mapped", retries=0).expand(
        media=["s3://news/logo.gif", "s3://news/2026/saturn.gif"]
    )
    SendMMSOperator(task_id="refused", to=REFUSED, text="no", media="s3://news/logo.gif", retries=0)
    SendMMSOperator(task_id="missing", to="+64211234567", text="no", media="s3://news/none.gif", retries=0)
    SendMMSOperator(task_id="wrong", to="5", text="none", retries=0)
    SendMMSOperator(
        task_id="shown", to="+64211234567", text="none", media="s3://news/logo.gif", preview=True, retries=0
    )
    for other in dag.tasks:
        if other.task_id != "hook":
            first >> other


def answer(received: Received) -> Answer:
    return status(2002)(received) if REFUSED in received.recipients else accept(received)


def run() -> dict[str, Any]:
    with mmsc(answer) as centre:
        extra = {"vaspid": "TNN", "vasid": "News"}
        connection = {"conn_type": "mm7", "host": centre.url, "login": "u", "password": "hunter2", "extra": extra}
        os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(connection)
        wait_for_api()
        dag.test()
    events = [json.loads(line) for path in HOME.glob("events.json*") for line in path.read_text().splitlines()]
    return {"host": centre.url.split("/")[2], "picture": str(PICTURE), "events": events}


if __name__ == "__main__":
    tell(run())
