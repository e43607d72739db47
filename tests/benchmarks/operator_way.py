"""SendMMSBatchOperator in a plain process: what a worker's task process does, without the worker."""

from __future__ import annotations

import base64
import binascii
import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks import message
from tests.benchmarks.spec import Run
from tests.benchmarks.ways import Way

#: Bytes from which an encoding is that of a picture, not of a credential.
PICTURE_BYTES = 500


class _TaskInstance:
    """What the operator asks of one."""

    dag_id, run_id, task_id, map_index = "bench", "manual__bench", "all", -1

    def xcom_push(self, key: str, value: Any) -> None:
        json.dumps(value)


class Operator(Way):
    """The batch operator over a recipients file.

    ``options``: ``recipients``: URI with ``{count}`` for the number of rows; ``media``: template of the picture's URI;
    ``media_base``: where rows' pictures are.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        connection = {
            "conn_type": "mm7",
            "host": run.url,
            "login": message.LOGIN,
            "password": message.PASSWORD,
            "extra": {"vaspid": "demo", "vasid": "news", "max_connections": run.connections},
        }
        os.environ["AIRFLOW_CONN_MM7_DEFAULT"] = json.dumps(connection)
        os.environ["AIRFLOW__MM7__SQL_ALCHEMY_CONN"] = run.ledger
        self._encodings = 0
        base64.encodebytes = self._counting(base64.encodebytes)
        binascii.b2a_base64 = self._counting(binascii.b2a_base64)

    def _counting(self, encode: Callable[..., bytes]) -> Callable[..., bytes]:
        def counting(data: bytes, **options: Any) -> bytes:
            self._encodings += len(data) >= PICTURE_BYTES
            return encode(data, **options)

        return counting

    def send(self, count: int) -> None:
        from airflow.providers.common.compat.sdk import DAG

        from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator

        options = self.run.options
        with DAG("bench", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            task = SendMMSBatchOperator(
                task_id="all",
                recipients=options["recipients"].format(count=count),
                subject=message.SUBJECT,
                text="Hello {{ row.name }}, " + message.TEXT,
                media=options["media"],
                media_base=options.get("media_base"),
                idempotency_key=f"bench/{uuid.uuid4()}",
            )
        context: Any = {"ti": _TaskInstance(), "ds": "2026-01-01", "params": {}, "run_id": _TaskInstance.run_id}
        task.render_template_fields(context)
        self._encodings = 0
        result = task.execute(context)
        if result["accepted"] != count:
            raise RuntimeError(f"not accepted: {result}")

    def counts(self) -> dict[str, int]:
        return {"encodings": self._encodings}
