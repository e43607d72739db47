"""``make demo`` as somebody runs it: its exit code, its table, and what it leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from demo.demo import HOME, RECIPIENTS, ROOT

#: Seconds; alone on two cores it takes one minute.
DEMO_S = 600.0


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in a session of its own, as a terminal gives it one."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "demo.demo", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def left_running() -> list[psutil.Process]:
    """Processes that live in the demo's folder, or were started with a file in it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(HOME) in word for word in words):
            found.append(process)
    return found


def test_everybody_got_it_and_nothing_is_left() -> None:
    with demo() as process:
        output, _ = process.communicate(timeout=DEMO_S)
    assert process.returncode == 0, output
    rows = re.findall(r"^  (\+\d+)  (\d+)\s+(\w+)$", output, re.MULTILINE)
    assert {number for number, _, _ in rows} == set(RECIPIENTS)
    assert len({message_id for _, message_id, _ in rows}) == len(RECIPIENTS)
    assert {status for _, _, status in rows} == {"Retrieved", "Expired"}
    assert left_running() == []


def test_interrupted_while_it_starts_leaves_nothing() -> None:
    with demo("--keep") as process:
        assert process.stdout is not None
        process.stdout.readline()
        log = Path(HOME, "airflow", "process-logs", "keeper.json")
        while not log.exists() and process.poll() is None:
            # The first line is printed before anything runs: interrupt in the middle of the start.
            signal.sigtimedwait([], 0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_running() == []
