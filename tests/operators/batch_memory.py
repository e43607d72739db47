"""Sends a file of recipients whose rows each carry much text, and prints how much memory that took at most (KiB)."""

from __future__ import annotations

import json
import os
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Characters of each row's text.
ROW_CHARACTERS = 8_000


def main(url: str, count: int, folder: Path) -> None:
    os.environ["AIRFLOW_HOME"] = str(folder)
    os.environ["AIRFLOW__MM7__SQL_ALCHEMY_CONN"] = f"sqlite:///{folder}/mm7.db"
    os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(
        {"conn_type": "mm7", "host": url, "login": "u", "password": "hunter2"}
    )
    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator
    from tests.operators.conftest import TaskInstance

    people = folder / "people.csv"
    with people.open("w") as file:
        file.write("to,words\n")
        file.writelines(f"+6421{n:07},{n} {'x' * ROW_CHARACTERS}\n" for n in range(count))
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = SendMMSBatchOperator(task_id="send", recipients=str(people), text="{{ words }}")
    context: Any = {"ti": TaskInstance()}
    result = task.execute(context)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("RESULT", json.dumps({"accepted": result["accepted"], "peak_kib": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
