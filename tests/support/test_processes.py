"""What the tests and the demo start ends with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.processes import ProcessTree

#: A process that starts one in a session of its own (as Airflow's bash operator does) and ignores SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""

#: An owner that starts the stubborn one and is then killed.
OWNER = f"""
import sys, time
from pathlib import Path
from tests.support.processes import ProcessTree
folder = Path(sys.argv[1])
tree = ProcessTree({{"stubborn": [sys.executable, "-c", {STUBBORN!r}]}}, env={{}}, cwd=folder, logs=folder, grace_s=0.2)
tree.start()
print(tree.pids["stubborn"], flush=True)
time.sleep(600)
"""


def grandchild(log: Path) -> psutil.Process:
    """The process that the stubborn one started."""
    with subprocess.Popen(["tail", "-n", "+1", "-F", str(log)], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        pid = int(tail.stdout.readline())
        tail.terminate()
    return psutil.Process(pid)


def test_stop_ends_sessions_below_it_too(tmp_path: Path) -> None:
    tree = ProcessTree(
        {"stubborn": [sys.executable, "-c", STUBBORN]}, env=dict(os.environ), cwd=tmp_path, logs=tmp_path, grace_s=0.2
    )
    with tree:
        child = grandchild(tmp_path / "stubborn.log")
        parent = psutil.Process(tree.pids["stubborn"])
        assert child.is_running()
        assert tree.ended() == []
    assert not parent.is_running()
    assert not child.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets the keeper adopt orphans")
def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        parent = psutil.Process(int(owner.stdout.readline()))
        child = grandchild(tmp_path / "stubborn.log")
        owner.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([parent, child], timeout=30)
    assert alive == []


def test_a_command_that_ended_is_named(tmp_path: Path) -> None:
    commands = {"short": [sys.executable, "-c", ""], "long": [sys.executable, "-c", "import time; time.sleep(600)"]}
    with ProcessTree(commands, env=dict(os.environ), cwd=tmp_path, logs=tmp_path, grace_s=0.2) as tree:
        # It may be gone by now, or go between two looks.
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(tree.pids["short"]).wait(timeout=30)
        assert tree.ended() == ["short"]


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    tree = ProcessTree(
        {"none": [str(tmp_path / "none")]}, env=dict(os.environ), cwd=tmp_path, logs=tmp_path, grace_s=0.2
    )
    with pytest.raises(RuntimeError, match="could not start none"):
        tree.start()
