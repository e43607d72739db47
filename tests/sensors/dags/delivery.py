"""A DAG of sensors, run by ``dag.test()`` in a process of its own; the store is the one that is configured."""

from __future__ import annotations

import threading
import time
from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_mm7.hooks.config import store_url
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor
from airflow_provider_mm7.store import open_store
from airflow_provider_mm7.triggers import poll
from tests.support.dag_file import tell, wait_for_api
from tests.support.ledger import report, send

with DAG("delivery", schedule=None) as dag:

    @task(multiple_outputs=True)
    def send_batches() -> dict[str, Any]:
        store = open_store(store_url())
        arrived, messages = send(store, "arrived", accepted=2)
        report(store, messages, "Retrieved")
        expired, messages = send(store, "expired", accepted=2)
        report(store, messages[:1], "Expired")
        return {
            "arrived": arrived,
            "expired": expired,
            "messages": ["arrived-m0", "arrived-m1"],
            "late": send(store, "late", accepted=1)[0],
            "later": send(store, "later", accepted=1)[0],
        }

    sent: Any = send_batches()
    common: dict[str, Any] = {"poke_interval": 0.1, "timeout": 60, "retries": 0}
    DeliveryReportSensor(task_id="poked", batch_id=sent["arrived"], deferrable=False, **common)
    DeliveryReportSensor(task_id="by_ids", message_ids=sent["messages"], deferrable=True, **common)
    DeliveryReportSensor(task_id="failed", batch_id=sent["expired"], deferrable=False, **common | {"retries": 3})
    DeliveryReportSensor(task_id="skipped", batch_id=sent["expired"], deferrable=True, soft_fail=True, **common)
    DeliveryReportSensor(task_id="deferred", batch_id=sent["late"], deferrable=True, **common)
    DeliveryReportSensor(
        task_id="with_outlet", batch_id=sent["later"], deferrable=True, outlets=[Asset("mms://arrived")], **common
    )
    templated = DeliveryReportSensor.partial(task_id="templated", deferrable=False, **common).expand(
        batch_id=["{{ ti.xcom_pull('send_batches', key='arrived') }}"]
    )
    sent >> templated


def report_to_whom_it_concerns(ended: threading.Event) -> None:
    """Let reports arrive while the triggers of ``deferred`` and ``with_outlet`` wait."""
    store = open_store(store_url())
    while not ended.is_set():
        waiting = [watch.question.batch_id for one in list(poll._polls.values()) for watch in list(one._watches)]
        for summary in store.delivery_of_batches([batch_id for batch_id in waiting if batch_id]).values():
            for key in ("late", "later"):
                if store.open_batch(key, conn_id="mm7_default").batch_id == summary.batch_id:
                    report(store, [f"{key}-m0"], "Delivered")
        time.sleep(0.05)


def run() -> dict[str, Any]:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    ended = threading.Event()
    reporter = threading.Thread(target=report_to_whom_it_concerns, args=[ended])
    reporter.start()
    try:
        wait_for_api()
        dag_run = dag.test()
    finally:
        ended.set()
        reporter.join()
    with create_session() as session:
        tasks = dag_run.get_task_instances(session=session)
        return {
            "states": {ti.task_id: ti.state for ti in tasks},
            "tries": {ti.task_id: ti.try_number for ti in tasks},
            "counts": {ti.task_id: ti.xcom_pull(ti.task_id, map_indexes=ti.map_index, session=session) for ti in tasks},
            "assets": len(session.scalars(select(AssetEvent)).all()),
        }


if __name__ == "__main__":
    tell(run())
