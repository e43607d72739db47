"""Session leader of a group of processes: starts them, and ends them all when its owner ends.

Run as ``python keeper.py SPEC.json``; a test or the demo holds its standard input. End of that input, whether by
:meth:`tests.support.processes.ProcessTree.stop` or because the owner was killed, ends every process below the keeper.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

import psutil

#: Seconds to wait for the end of processes that were killed.
KILLED_S = 2.0

#: prctl(2): orphans of the tree become children of the keeper instead of init's, so that none is lost sight of.
_PR_SET_CHILD_SUBREAPER = 36


def main(spec_file: str) -> int:
    """Start what the file names and wait for the end of standard input.

    :param spec_file: JSON object ``{"cwd": str, "logs": str, "grace_s": float, "commands": {name: [argument, ...]}}``.
    :return: the exit status, 0 when nothing survived.
    """
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGCHLD, _reap)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    pids: dict[str, int] = {}
    try:
        for name, argv in spec["commands"].items():
            with (Path(spec["logs"]) / f"{name}.log").open("ab") as log:
                pids[name] = subprocess.Popen(
                    argv, cwd=spec["cwd"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                ).pid
        print(json.dumps(pids), flush=True)
        sys.stdin.buffer.read()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        survivors = _end_all(spec["grace_s"])
    return 1 if survivors else 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _reap(_number: int, _frame: FrameType | None) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _tree() -> list[psutil.Process]:
    """Everything below the keeper, and whoever left the tree but not the session.

    The process group is not enough: Airflow puts each task into a group of its own.
    """
    me = psutil.Process()
    found = {process.pid: process for process in me.children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if process.pid != me.pid and os.getsid(process.pid) == me.pid:
                found.setdefault(process.pid, process)
    return list(found.values())


def _end_all(grace_s: float) -> list[psutil.Process]:
    """Ask every process to end, then make it; repeated, since a process may be born meanwhile."""
    _signal(_tree(), signal.SIGTERM, grace_s)
    for _ in range(5):
        left = _tree()
        if not left:
            return []
        _signal(left, signal.SIGKILL, KILLED_S)
    return _tree()


def _signal(processes: list[psutil.Process], number: signal.Signals, wait_s: float) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    psutil.wait_procs(processes, timeout=wait_s)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
