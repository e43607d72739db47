"""Both operators with OpenLineage's listener in Airflow, run by ``dag.test()`` in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HOME = Path(os.environ["AIRFLOW_HOME"])
os.environ["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps({"type": "file", "log_file_path": f"{HOME}/events.json"})
os.environ["AIRFLOW__OPENLINEAGE__NAMESPACE"] = "here"

# Airflow is configured above.
from airflow.sdk import DAG  # noqa: E402

from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator, SendMMSOperator  # noqa: E402
from tests.support.dag_file import wait_for_api  # noqa: E402
from tests.support.mmsc import mmsc  # noqa: E402

PICTURE = Path(__file__).parents[3] / "example_dags" / "media" / "saturn.gif"

with DAG("lineage", schedule=None) as dag:
    SendMMSOperator(
        task_id="one", to=["+64211234567", "+64211234568"], text="one", media="{{ params.picture }}", retries=0,
        params={"picture": PICTURE.as_uri()},
    )  # fmt: skip
    SendMMSBatchOperator(
        task_id="many", recipients=f"{HOME}/people.csv", text="{{ name }}", media=["{{ picture }}", str(PICTURE)],
        media_base=str(PICTURE.parent), retries=0,
    )  # fmt: skip
    SendMMSOperator(task_id="wrong", to="5", text="none", retries=0)
    SendMMSOperator(task_id="shown", to="+64211234567", text="none", preview=True, retries=0)


def run() -> dict[str, Any]:
    (HOME / "people.csv").write_text("number,name,picture\n+64211234569,Ann,saturn.gif\n")
    with mmsc() as centre:
        extra = {"vaspid": "TNN", "vasid": "News"}
        connection = {"conn_type": "mm7", "host": centre.url, "login": "u", "password": "hunter2", "extra": extra}
        os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(connection)
        wait_for_api()
        dag.test()
    events = [json.loads(line) for path in HOME.glob("events.json*") for line in path.read_text().splitlines()]
    return {"host": centre.url.split("/")[2], "home": str(HOME), "picture": str(PICTURE), "events": events}


if __name__ == "__main__":
    print("RESULT", json.dumps(run()))
