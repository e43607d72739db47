"""SendMMSBatchOperator over recipients files on S3: what is fetched and encoded, memory, and the whole road."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.benchmarks import message
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Outcome
from tests.benchmarks.processes import ROOT, measure
from tests.benchmarks.rounds import Arena, Contender, Unfair, tell
from tests.benchmarks.spec import Run
from tests.benchmarks.wiretap import Wiretap
from tests.support.servers import SeaweedFS
from tests.support.stage import SandboxProcess

BUCKET = "bench"
#: Pictures of a batch whose rows name one of several.
PICTURES = 4
ROWS = 1_000
MANY_ROWS = 100_000
IMAGE_BYTES = 1_000
CONNECTIONS = 16
#: Records of the sandbox asked for at once.
PAGE = 5_000


def once(bench: Bench) -> Outcome:
    """1,000 rows that name 4 pictures: how often each is fetched and encoded."""
    contender = Contender(
        name="rows",
        way="operator",
        ledger="sqlite",
        connections=CONNECTIONS,
        messages=ROWS,
        options={
            "recipients": f"s3://{BUCKET}/people-{{count}}.csv",
            "media": "{{ row.picture }}",
            "media_base": f"s3://{BUCKET}/pictures/",
        },
    )
    gets, encodings = [], []
    with ExitStack() as stack:
        s3, arena = stack.enter_context(_bucket(bench, (ROWS, CONNECTIONS)))
        tap = stack.enter_context(Wiretap(s3.port))
        arena.env = _airflow(bench, s3, tap.url)
        run = Run(
            way="operator", url=arena.sink.url, messages=ROWS, warmup=0, connections=CONNECTIONS,
            options=dict(contender.options),
        )  # fmt: skip
        for number in range(1, bench.rounds + 1):
            tap.forget()
            result = arena.once(contender, run, latency_ms=0)
            fetched = tap.gets("/pictures/")
            if len(fetched) != PICTURES or result.counts["encodings"] < PICTURES:
                raise Unfair(f"{PICTURES} pictures were sent, and this was counted: {fetched}, {result.counts}")
            gets.append(max(fetched.values()))
            encodings.append(result.counts["encodings"] / PICTURES)
            tell(f"  round {number}: {sum(fetched.values())} GETs, {result.counts['encodings']} encodings")
    return Outcome(
        figures=(
            Figure(
                key="once/gets", title=f"{ROWS:,} rows, {PICTURES} pictures: GETs of a picture", unit="",
                values=tuple(gets),
            ),
            Figure(
                key="once/encodings", title=f"{ROWS:,} rows, {PICTURES} pictures: encodings of a picture", unit="",
                values=tuple(encodings),
            ),
        ),
        raw={"gets": gets, "encodings": encodings},
    )  # fmt: skip


def csv(bench: Bench) -> Outcome:
    """100,000 recipients of a file on S3 against 1,000: peak memory of the task's process, and the rate."""
    options = {"recipients": f"s3://{BUCKET}/people-{{count}}.csv", "media": f"s3://{BUCKET}/pictures/0.jpg"}
    few, many = (
        Contender(
            name=str(count), way="operator", ledger="sqlite", connections=CONNECTIONS, messages=count, options=options
        )
        for count in (ROWS, MANY_ROWS)
    )
    with _bucket(bench, (CONNECTIONS, ROWS, MANY_ROWS)) as (s3, arena):
        arena.env = _airflow(bench, s3, s3.endpoint_url)
        series = arena.compete([few, many], latency_ms=0, seconds=0, rounds=bench.rounds)
    small, large = series[few.name], series[many.name]
    return Outcome(
        figures=(
            Figure(
                key="csv/growth",
                title=f"Peak memory with {MANY_ROWS:,} rows of a file on S3, above that with {ROWS:,}",
                unit="MB",
                values=large.against(small, lambda mine, its: (mine.rss_peak_bytes - its.rss_peak_bytes) / 1e6),
            ),
            Figure(
                key="csv/rate",
                title=f"Rate with {MANY_ROWS:,} rows, of that with {ROWS:,}",
                unit="%",
                values=tuple(100 * ratio for ratio in large.times(small)),
            ),
        ),
        raw={name: one.as_json() for name, one in series.items()},
    )


def hundred_thousand(bench: Bench) -> Outcome:
    """100,000 rows of a file on S3 to the sandbox, once: what it received, recipient by recipient."""
    with ExitStack() as stack:
        s3, _ = stack.enter_context(_bucket(bench, (MANY_ROWS,)))
        env = _airflow(bench, s3, s3.endpoint_url)
        folder = _fresh(bench, "sandbox")
        sandbox = SandboxProcess(
            folder, callback_url="", callback_login="", callback_password="", env={**os.environ, **env},
            options=["--keep", "100", "--login", message.LOGIN, "--password", message.PASSWORD],
        ).start()  # fmt: skip
        stack.callback(sandbox.stop)
        ledgers = _fresh(bench, "ledgers")
        result = measure(
            Run(
                way="operator",
                url=sandbox.url,
                messages=MANY_ROWS,
                warmup=0,
                connections=CONNECTIONS,
                ledger=f"sqlite:///{ledgers}/mm7.db",
                options={"recipients": f"s3://{BUCKET}/people-{{count}}.csv", "media": f"s3://{BUCKET}/pictures/0.jpg"},
            ),
            env=env,
        )
        received: Counter[str] = Counter()
        after = 0
        while page := sandbox.ask("GET", f"/messages?fields=seq,recipients,accepted&after={after}&limit={PAGE}"):
            after = page[-1]["seq"]
            received.update(number for one in page if one["accepted"] for number in one["recipients"])
    wanted = {message.number(index) for index in range(MANY_ROWS)}
    exactly = sum(1 for number in wanted if received[number] == 1)
    doubled = sum(1 for times in received.values() if times > 1)
    return Outcome(
        figures=(
            Figure(
                key="hundred-thousand/once", title="Recipients that received it exactly once", unit="",
                values=(exactly,),
            ),
            Figure(
                key="hundred-thousand/doubled", title="Recipients that received it more than once", unit="",
                values=(doubled,),
            ),
            Figure(
                key="hundred-thousand/seconds", title="Seconds, with a sandbox that reads every message",
                unit="s", values=(result.elapsed_s,),
            ),
        ),
        raw={"result": json.loads(result.dump()), "strangers": len(received.keys() - wanted)},
    )  # fmt: skip


@contextmanager
def _bucket(bench: Bench, counts: tuple[int, ...]) -> Iterator[tuple[SeaweedFS, Arena]]:
    """An S3 server with pictures, and a recipients file of each count."""
    with SeaweedFS(_fresh(bench, "s3")) as s3:
        objects = {f"pictures/{index}.jpg": message.picture(IMAGE_BYTES + index) for index in range(PICTURES)}
        for count in counts:
            lines = [f"{message.number(index)},Person {index},{index % PICTURES}.jpg" for index in range(count)]
            objects[f"people-{count}.csv"] = "\r\n".join(["number,name,picture", *lines, ""]).encode()
        s3.upload(BUCKET, objects)
        yield s3, bench.arena()


def _airflow(bench: Bench, s3: SeaweedFS, endpoint_url: str) -> dict[str, str]:
    """Variables for a process that imports Airflow, with the S3 server as its ``aws_default``."""
    home = _fresh(bench, "airflow-home")
    connection: dict[str, Any] = json.loads(s3.airflow_connection())
    connection["extra"]["endpoint_url"] = endpoint_url
    return {
        # Of the clone, installed or not.
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
    }


def _fresh(bench: Bench, name: str) -> Any:
    folder = bench.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
