"""Many failing tasks, each in a process of its own that ends as Airflow's do: at once, when its callback returns.

``python storm.py TASKS AT_ONCE QUIET_S``; store and connection are in the environment.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from airflow.sdk.execution_time import task_runner

from airflow_provider_mm7.hooks import alerts
from airflow_provider_mm7.notifications.mm7 import MMSNotifier
from tests.notifications.contexts import task_context

BURST = 5


def fail(index: int) -> None:
    """What a task's process does when its task has failed."""
    notifier = MMSNotifier(to="+12025550110", burst=BURST, max_per_hour=1)
    notifier(task_context(f"task{index}", error=ValueError("no")))


def main(tasks: int, at_once: int, quiet_s: float) -> None:
    """Fork them, so many at a time."""
    task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment]
    alerts.QUIET_S = quiet_s  # type: ignore[misc]
    running = 0
    for index in range(tasks):
        if running >= at_once:
            os.wait()
            running -= 1
        if os.fork() == 0:
            with suppress(BaseException):
                fail(index)
            os._exit(0)
        running += 1
    with suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
