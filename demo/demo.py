"""``make demo``: a picture message from S3 through a real Airflow to handsets, and the delivery reports back.

Everything runs on this machine, on loopback and free ports, and keeps its files below ``.demo/``: SeaweedFS as the S3
server, the sandbox MMSC, and Airflow's four processes with the plugin that takes the delivery reports. The example DAG
``mms_campaign`` sends; this script uploads what it sends, and shows who got it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from airflow_provider_mm7.protocol import MMStatus, is_final, number_key
from airflow_provider_mm7.store import open_store
from tests.support.stage import Stage

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".demo"
DAG_ID = "mms_campaign"
BUCKET = "news"

#: Numbers that no subscriber has; the last one is a special recipient of the sandbox, a handset that stays off.
RECIPIENTS = ("+12025550101", "+12025550102", "+12025550103", "+12025550104", "+15005555002")
TEXT = "Science news: new pictures of Saturn. The rings were never seen so clearly."

#: Seconds for the run; it takes about 20.
RUN_S = 240.0
#: Seconds for reports that come after the sensor was content.
REPORTS_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recipient and what became of the message."""

    recipient: str
    message_id: str | None
    status: str
    final: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    :return: 0 when every recipient has a MessageID and a final status.
    """
    options = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    options.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    keep = options.parse_args(arguments).keep
    # A shell's background job is born deaf to Ctrl-C's signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("A demo of this clone is running already.", file=sys.stderr)
            return 1
        _make_room()
        try:
            return _show(keep=keep)
        except KeyboardInterrupt:
            print("\nEnded.")
            return 130


def _make_room() -> None:
    """Remove what the last demo left to look at, and keep temporary files inside the clone."""
    for old in HOME.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
        elif old.name != "lock":
            old.unlink()
    temporary = HOME / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _show(*, keep: bool) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {text}", flush=True)

    say("Starting an S3 server, a sandbox MMSC and Airflow (about half a minute) ...")
    with Stage(HOME, ROOT / "example_dags") as stage:
        say(f"Airflow {stage.airflow.url}, MMSC {stage.sandbox.page_url}, S3 {stage.s3.endpoint_url}")
        stage.s3.upload(
            BUCKET,
            {
                "campaign/recipients.txt": "\n".join(RECIPIENTS).encode(),
                "campaign/text.txt": TEXT.encode(),
                "campaign/saturn.gif": (ROOT / "example_dags" / "media" / "saturn.gif").read_bytes(),
            },
        )
        say(f"Uploaded a text, a picture and {len(RECIPIENTS)} recipients to s3://{BUCKET}/campaign/")
        run_id = stage.airflow.trigger(DAG_ID, {"bucket": BUCKET, "folder": "campaign"})
        say(f"Running the DAG {DAG_ID} ...")
        stage.airflow.wait_run(DAG_ID, run_id, RUN_S)
        rows = _outcome(stage, run_id)
        say(stage.airflow.xcom(DAG_ID, run_id, "summarise"))
        _print_table(rows)
        done = all(row.message_id and row.final for row in rows) and [row.recipient for row in rows] == list(RECIPIENTS)
        if keep:
            _stay(stage, run_id)
        else:
            print(f"\n  As the handsets show it: {stage.sandbox.page_url} (make demo KEEP=1 leaves it up)")
    say("Everything is ended." if done else "Ended: not every recipient has a MessageID and a final status.")
    return 0 if done else 1


def _outcome(stage: Stage, run_id: str) -> list[Row]:
    """Join what the task said was sent with the reports that came back."""
    sent = stage.airflow.xcom(DAG_ID, run_id, "send")
    store = open_store(stage.ledger_url)
    end = time.monotonic() + REPORTS_S
    while True:
        statuses = {
            (report.message_id, number_key(report.recipient or "")): report.mm_status
            for report in store.reports(batch_id=sent["batch_id"])
        }
        rows = []
        for message in sent["messages"]:
            status = statuses.get((message["message_id"], number_key(message["recipient"])))
            rows.append(
                Row(
                    recipient=message["recipient"],
                    message_id=message["message_id"],
                    status=status or f"{message['state']}, no report",
                    final=status is not None and is_final(MMStatus.parse(status)),
                )
            )
        if all(row.final for row in rows) or time.monotonic() > end:
            store.close()
            return rows
        time.sleep(0.5)


def _print_table(rows: Sequence[Row]) -> None:
    cells = [
        ("Recipient", "MessageID", "Status"),
        *((row.recipient, row.message_id or "-", row.status) for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    print()
    for index, row in enumerate(cells):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if index == 0:
            print("  " + "  ".join("-" * width for width in widths))


def _stay(stage: Stage, run_id: str) -> None:
    print(f"\n  The messages as a handset shows them  {stage.sandbox.page_url}")
    print(f"  The run in Airflow                    {stage.airflow.url}/dags/{DAG_ID}/runs/{run_id}")
    print("\nCtrl-C ends everything.", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
