"""A campaign from a recipients file: everyone gets their own words and picture, in one task, and who got it is known.

The bucket holds what is sent::

    s3://news/campaign/people.csv     number,first_name,picture
    s3://news/campaign/pictures/      the pictures that the file names

A line with a number that is none, or with a picture outside of that folder, ends the task before anything is sent, and
is named with its line number. What became of each line is written to ``s3://news/campaign/people.results.csv``.

Connections: ``mm7_default`` (the MMSC) and ``aws_default`` (S3). Bucket and folder are parameters of the run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

# [START mms_batch]
from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor

with DAG(
    "mms_batch",
    schedule="0 10 * * 1",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "bucket": Param("news", type="string", description="Bucket with the recipients and their pictures"),
        "folder": Param("campaign", type="string", description="Where in the bucket they are"),
    },
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:
    send = SendMMSBatchOperator(
        task_id="send",
        recipients="s3://{{ params.bucket }}/{{ params.folder }}/people.csv",
        subject="{{ row.first_name }}, your news",
        text="Dear {{ row.first_name }}, here is what you asked for.",
        # Below media_base and nowhere else, whatever the file says. A row without picture gets the text alone.
        media="{{ row.picture }}",
        media_base="s3://{{ params.bucket }}/{{ params.folder }}/pictures/",
        expiry=timedelta(days=2),
        retries=3,
        retry_delay=timedelta(minutes=1),
    )

    arrived = DeliveryReportSensor(
        task_id="arrived",
        batch_id=send.output["batch_id"],
        min_delivered_ratio=0.8,
        deferrable=True,
        poke_interval=5,
        timeout=timedelta(hours=6),
    )

    @task
    def summarise(sent: dict[str, Any], reported: dict[str, Any]) -> str:
        """One line for the log and for whoever asks."""
        return (
            f"{sent['accepted']} of {sent['total']} accepted, {sent['duplicates']} stood in the file twice, "
            f"{reported['delivered']} delivered; line by line: {sent['results']}"
        )

    summarise(send.output, arrived.output)
# [END mms_batch]
