"""One mapped task per message against one task for all, through the same real Airflow."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from tests.benchmarks import message
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Outcome
from tests.benchmarks.processes import ROOT
from tests.benchmarks.rounds import Unfair, tell
from tests.support.airflow_env import AirflowDeployment

DAGS = Path(__file__).parents[1] / "dags"
#: Messages of a round: so many mapped tasks, so many rows in one task.
MAPPED, ROWS = 40, 10_000
CONNECTIONS = 64
LATENCY_MS = 50
IMAGE_BYTES = 100_000
#: Seconds that a run may take.
RUN_S = 300.0


def airflow(bench: Bench) -> Outcome:
    """50 ms, 100 KB: 40 mapped SendMMSOperator tasks against one SendMMSBatchOperator with 10,000 rows."""
    home = bench.folder / "airflow"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "saturn.jpg").write_bytes(message.picture(IMAGE_BYTES))
    (home / "people.csv").write_text("\n".join(["number", *map(message.number, range(ROWS))]) + "\n")
    connection = {
        "conn_type": "mm7",
        "host": bench.sink.url,
        "login": message.LOGIN,
        "password": message.PASSWORD,
        "extra": {"vaspid": "demo", "vasid": "news", "max_connections": CONNECTIONS},
    }
    env = {
        # Of the clone, installed or not.
        "PYTHONPATH": str(ROOT),
        "BENCH_PICTURE": (home / "saturn.jpg").as_uri(),
        "BENCH_RECIPIENTS": (home / "people.csv").as_uri(),
        "BENCH_NUMBERS": ",".join(map(message.number, range(MAPPED))),
    }
    mapped, batch = [], []
    with AirflowDeployment(home, DAGS, {"mm7_default": connection}, env) as deployment:
        for number in range(1, bench.rounds + 1):
            mapped.append(MAPPED / _mapped_s(bench, deployment))
            batch.append(ROWS / _batch_s(bench, deployment))
            tell(f"  round {number}: mapped {mapped[-1]:.1f}/s, in one task {batch[-1]:.0f}/s")
    ratios = tuple(fast / slow for fast, slow in zip(batch, mapped, strict=True))
    return Outcome(
        figures=(
            Figure(
                key="airflow/mapped",
                title=f"One task with {ROWS:,} rows: times the rate of one mapped task per message",
                unit="x",
                values=ratios,
            ),
        ),
        raw={"mapped_per_s": mapped, "batch_per_s": batch},
    )


def _mapped_s(bench: Bench, deployment: AirflowDeployment) -> float:
    """Return seconds from the start of the first mapped task to the end of the last: scheduling before it is free."""
    run_id = _run(bench, deployment, "bench_mapped", MAPPED)
    found = deployment.api("GET", f"dags/bench_mapped/dagRuns/{run_id}/taskInstances", limit=MAPPED)
    tasks = found["task_instances"]
    return _span(min(task["start_date"] for task in tasks), max(task["end_date"] for task in tasks))


def _batch_s(bench: Bench, deployment: AirflowDeployment) -> float:
    """Return seconds from the trigger to the end of the run: scheduling counts."""
    run_id = _run(bench, deployment, "bench_batch", ROWS)
    run = deployment.run("bench_batch", run_id)
    return _span(run["queued_at"], run["end_date"])


def _run(bench: Bench, deployment: AirflowDeployment, dag_id: str, messages: int) -> str:
    bench.sink.reset(latency_ms=LATENCY_MS)
    run_id = deployment.trigger(dag_id)
    deployment.wait_run(dag_id, run_id, RUN_S)
    arrived = bench.sink.stats()
    if (arrived["requests"], arrived["duplicates"]) != (messages, 0):
        raise Unfair(f"{dag_id} was to send {messages}, and this arrived: {arrived}")
    return run_id


def _span(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
