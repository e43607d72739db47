"""One way to send in a process of its own, measured by itself. Reads a Run from its argument, prints a Result."""

from __future__ import annotations

import gc
import resource
import sys
import time
from pathlib import Path

from tests.benchmarks.spec import Result, Run
from tests.benchmarks.ways import make


def main(argument: str) -> int:
    """Measure.

    :param argument: a Run as JSON.
    """
    run = Run.load(argument)
    way, timers = make(run), None
    if run.steps:
        from tests.benchmarks.where import Timers

        timers = Timers()
    if run.warmup:
        way.prepare(run.warmup)
        way.send(run.warmup)
    gc.collect()
    started, cpu = time.perf_counter(), _cpu()
    way.prepare(run.messages)
    prepared, prepared_cpu = time.perf_counter(), _cpu()
    _forget_peak()
    before = _status("VmRSS")
    if timers is not None:
        timers.start()
    way.send(run.messages)
    ended, ended_cpu = time.perf_counter(), _cpu()
    peak = _status("VmHWM")
    steps = [] if timers is None else timers.lines(run.messages, sum(ended_cpu) - sum(prepared_cpu))
    way.close()
    result = Result(
        messages=run.messages,
        prepare_s=prepared - started,
        prepare_cpu_s=sum(prepared_cpu) - sum(cpu),
        elapsed_s=ended - prepared,
        user_s=ended_cpu[0] - prepared_cpu[0],
        system_s=ended_cpu[1] - prepared_cpu[1],
        rss_before_bytes=before,
        rss_peak_bytes=peak,
        counts=way.counts(),
        steps=steps,
    )
    print(result.dump())
    return 0


def _cpu() -> tuple[float, float]:
    """User and system seconds of this process and its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime for one in used), sum(one.ru_stime for one in used)


def _forget_peak() -> None:
    """Set the peak of resident memory to what is resident now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
