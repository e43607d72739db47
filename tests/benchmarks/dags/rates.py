"""DAGs of ``make bench``: a mapped task per message, and one task for all."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG

from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator, SendMMSOperator

#: Given by the benchmark: URIs of the picture and the recipients file, and the mapped messages.
PICTURE = os.environ.get("BENCH_PICTURE", "file:///saturn.jpg")
RECIPIENTS = os.environ.get("BENCH_RECIPIENTS", "file:///people.csv")
NUMBERS = os.environ.get("BENCH_NUMBERS", "+64211234567").split(",")

MESSAGE: dict[str, Any] = {"subject": "News", "text": "Science news, new Saturn pictures...", "media": [PICTURE]}

with DAG("bench_mapped", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    SendMMSOperator.partial(task_id="each", **MESSAGE).expand(to=NUMBERS)

with DAG("bench_batch", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    SendMMSBatchOperator(task_id="all", recipients=RECIPIENTS, results="none", **MESSAGE)
