"""A nightly load that tells the people on call how it went: a chart when it worked, a few words when it did not.

Connection: ``mm7_default`` (the MMSC). Who is on call and how many rejected rows are tolerated are parameters of the
run. However often the load fails, phones get five alerts at once at most, ten in an hour, and one that counts the rest.
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from typing import Any

# [START mms_alert]
from airflow.sdk import DAG, Param, task

from airflow_provider_mm7.notifications.mm7 import MMSNotifier


def chart(context: Any) -> bytes:
    """A chart of the rows that were loaded."""
    return bar_chart(list(context["ti"].xcom_pull(task_ids="load").values()))


with DAG(
    "mms_alert",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "on_call": Param(["+12025550110"], type="array", items={"type": "string"}, description="Who is told"),
        "max_rejected": Param(10, type="integer", minimum=0, description="More rejected rows than these fail the load"),
    },
    tags=["mms", "example"],
    doc_md=__doc__,
) as dag:

    @task(
        on_success_callback=MMSNotifier(
            to="{{ params.on_call }}",
            subject="Load of {{ dag_run.run_after | ds }}",
            text="{{ ti.xcom_pull(task_ids='load').values() | sum }} rows loaded.",
            media=chart,
        ),
        # Which task of which run failed, and the link to it, is said by itself.
        on_failure_callback=MMSNotifier(to="{{ params.on_call }}", priority="High"),
    )
    def load(params: dict[str, Any]) -> dict[str, int]:
        """The pipeline's work; here it only counts."""
        loaded = {"north": 1204, "south": 877, "east": 1490, "west": 356}
        rejected = 3
        if rejected > params["max_rejected"]:
            raise ValueError(f"{rejected} rows were rejected, {params['max_rejected']} are tolerated")
        return loaded

    load()
# [END mms_alert]


def bar_chart(values: list[int], *, width: int = 320, height: int = 200) -> bytes:
    """Draw bars as a PNG of three colours, with the standard library alone.

    :param values: at least one, the largest above 0.
    :param width: pixels.
    :param height: pixels.
    """
    paper, ink, line = 0, 1, 2
    slot = width // len(values)
    tops = [height - 1 - value * (height - 20) // max(values) for value in values]

    def pixel(x: int, y: int) -> int:
        if y == height - 1:
            return line
        bar, offset = divmod(x, slot)
        inside = bar < len(values) and slot // 6 <= offset < slot - slot // 6
        return ink if inside and y >= tops[bar] else paper

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(pixel(x, y) for x in range(width)) for y in range(height))
    palette = bytes.fromhex("ffffff2f6fb0303030")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )
