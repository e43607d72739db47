"""Every suite by its name, in the order in which they run."""

from __future__ import annotations

from tests.benchmarks.bench import Suite
from tests.benchmarks.suites import airflow, files, receiving, sending

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(name="latency", title="A carrier that answers in 50 ms, 100 KB", run=sending.latency),
        Suite(name="images", title="A carrier that answers in 50 ms, 30 and 300 KB", run=sending.images),
        Suite(name="sequential", title="No latency, one connection", run=sending.sequential),
        Suite(name="memory", title="Memory: messages of 1 MB in flight", run=sending.memory),
        Suite(name="once", title="What a batch fetches and encodes", run=files.once),
        Suite(name="airflow", title="In a real Airflow", run=airflow.airflow),
        Suite(name="receiver", title="Delivery reports from 32 clients", run=receiving.receiver),
        Suite(name="recipients", title="1,000 and 100,000 recipients", run=sending.recipients, heavy=True),
        Suite(name="csv", title="1,000 and 100,000 rows of a file on S3", run=files.csv, heavy=True),
        Suite(
            name="hundred-thousand",
            title="100,000 rows of a file on S3 to the sandbox",
            run=files.hundred_thousand,
            heavy=True,
        ),
    )
}
