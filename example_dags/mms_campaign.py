"""A picture message to a list of people every morning: from S3 to the handsets, and who got it.

The bucket holds what is sent, so that whoever writes the news needs no access to Airflow::

    s3://news/campaign/recipients.txt   one number a line
    s3://news/campaign/text.txt         the text
    s3://news/campaign/saturn.gif       the picture

Connections: ``mm7_default`` (the MMSC) and ``aws_default`` (S3). Bucket, folder and subject are parameters of the run.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

# [START mms_campaign]
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor

with DAG(
    "mms_campaign",
    schedule="0 9 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "bucket": Param("news", type="string", description="Bucket with the message and the list of recipients"),
        "folder": Param("campaign", type="string", description="Where in the bucket they are"),
        "subject": Param("Science news", type="string", maxLength=40, description="Handsets show 40 characters"),
    },
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:
    # Without this Airflow writes the returned numbers into the log.
    @task(show_return_value_in_logs=False)
    def read_recipients(params: dict[str, Any]) -> list[str]:
        """Numbers of the list, without empty lines."""
        listed = S3Hook("aws_default").read_key(f"{params['folder']}/recipients.txt", params["bucket"])
        return [line.strip() for line in listed.splitlines() if line.strip()]

    @task(show_return_value_in_logs=False)
    def read_text(params: dict[str, Any]) -> str:
        """The text of the message."""
        return S3Hook("aws_default").read_key(f"{params['folder']}/text.txt", params["bucket"])

    send = SendMMSOperator(
        task_id="send",
        to=read_recipients(),
        subject="{{ params.subject }}",
        text=read_text(),
        media=["s3://{{ params.bucket }}/{{ params.folder }}/saturn.gif"],
        expiry=timedelta(days=2),
        retries=3,
        retry_delay=timedelta(minutes=1),
    )

    # Four of five are enough: somebody's handset is always switched off.
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
            f"batch {sent['batch_id']}: {sent['accepted']} of {sent['total']} accepted, "
            f"{reported['delivered']} delivered, {reported['failed']} failed, {reported['pending']} still pending"
        )

    summarise(send.output, arrived.output)
# [END mms_campaign]
