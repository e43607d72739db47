"""Many failing tasks, each in a process of its own that ends as Airflow's do: at once, when its callback returns.

``python -m tests.notifications.storm TASKS AT_ONCE``; store and connection are in the environment. The watcher of the
storm, which would tell of it, is killed before the last task fails.

Alerts have a clock here that stands still until the storm is over, so that no pause of a busy machine ends it before.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from contextlib import suppress

from airflow.sdk.execution_time import task_runner

from airflow_provider_mm7.hooks import alerts
from airflow_provider_mm7.notifications.mm7 import MMSNotifier
from tests.notifications.contexts import task_context

BURST = 5


class Clock:
    """What alerts know of time, in all processes: it goes when it is told to, and knows who waited last."""

    def __init__(self) -> None:
        self._now, self._waited = mmap.mmap(-1, 8), mmap.mmap(-1, 8)

    def monotonic(self) -> float:
        """Tell the time in seconds."""
        now: float = struct.unpack("d", self._now[:])[0]
        return now

    def sleep(self, seconds: float) -> None:
        """Let others work."""
        self._waited[:] = struct.pack("q", os.getpid())
        time.sleep(seconds)

    def advance(self, seconds: float, waiter: int) -> None:
        """Put it forward, once a process waits for that."""
        while struct.unpack("q", self._waited[:])[0] != waiter:
            time.sleep(0.01)
        self._now[:] = struct.pack("d", self.monotonic() + seconds)


class Storm:
    """The tasks' processes.

    :param at_once: how many there are at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._running: set[int] = set()

    def fail(self, index: int) -> None:
        """Let a task fail, in a process of its own."""
        while len(self._running) >= self._at_once:
            self._reap()
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                alert(f"task{index}")
            os._exit(0)
        self._running.add(pid)

    def watcher(self) -> int:
        """Wait until one process is left: the one that holds watch."""
        while len(self._running) > 1:
            self._reap()
        (pid,) = self._running
        return pid

    def kill(self, pid: int) -> None:
        """Kill one, and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        self._reap()

    def end(self) -> None:
        """Wait until none is left."""
        while self._running:
            self._reap()

    def _reap(self) -> None:
        pid, _ = os.wait()
        self._running.remove(pid)


def alert(task_id: str, dag_id: str = "nightly") -> None:
    """What a task's process does when its task has failed."""
    notifier = MMSNotifier(to="+12025550110", burst=BURST, max_per_hour=1)
    notifier(task_context(task_id, dag_id=dag_id, error=ValueError("no")))


def main(tasks: int, at_once: int) -> None:
    """Run it."""
    task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment]
    clock = Clock()
    vars(alerts)["time"] = clock
    # Airflow's tasks are forked from a process that has imported what they need, as this one has then.
    alert("first", dag_id="another")
    storm = Storm(at_once)
    for index in range(tasks - 1):
        storm.fail(index)
    storm.kill(storm.watcher())
    storm.fail(tasks - 1)
    clock.advance(alerts.QUIET_S, storm.watcher())
    storm.end()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
