"""A message that Python makes: a greeting for each of yesterday's new customers.

Connection: ``mm7_default`` (the MMSC). The customers, who come from a database in real life, are parameters of the run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

# [START mms_taskflow]
from airflow.sdk import DAG, Param, task

CUSTOMERS = [{"name": "Ann", "number": "+12025550101"}, {"name": "Zoë", "number": "+12025550102"}]

with DAG(
    "mms_taskflow",
    schedule="0 8 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={"customers": Param(CUSTOMERS, type="array", description="Name and number of each")},
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:
    # Without this Airflow writes the returned numbers into the log.
    @task(show_return_value_in_logs=False)
    def new_customers(params: dict[str, Any]) -> list[dict[str, str]]:
        """Who came yesterday."""
        return list(params["customers"])

    @task.mms(subject="Welcome", retries=3)
    def welcome(customer: dict[str, str]) -> dict[str, Any]:
        """One message; what is not said here is the decorator's."""
        return {"to": customer["number"], "text": f"Hello {customer['name']}, good to have you with us."}

    @task
    def count(sent: list[dict[str, Any]]) -> int:
        """How many the MMSC accepted."""
        return sum(one["accepted"] for one in sent)

    count(welcome.expand(customer=new_customers()))
# [END mms_taskflow]
