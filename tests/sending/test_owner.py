"""Whether the process that holds a claim still lives."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from airflow_provider_mm7.sending import owner as owner_module
from airflow_provider_mm7.sending.owner import is_alive, this_process

#: A process with other process ids than ours, and the same host name.
ELSEWHERE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")


def test_this_process_lives() -> None:
    assert is_alive(this_process()) is True
    assert this_process().token != this_process().token


def test_a_process_that_ended_is_dead() -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=subprocess.PIPE, check=True)
    assert is_alive(replace(this_process(), pid=int(ended.stdout))) is False


def test_another_process_with_the_same_id_is_not_the_owner() -> None:
    assert is_alive(replace(this_process(), started=1.0)) is False


@pytest.mark.parametrize("step_s", [-3600.0, 2.0])
def test_a_clock_that_is_set_kills_nobody(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("only Linux works the time by the clock out")
    real, owner = psutil.Process.create_time, this_process()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + step_s)
    assert is_alive(owner) is True


def test_owners_as_a_former_version_stored_them() -> None:
    by_the_clock = psutil.Process().create_time()
    assert is_alive(replace(this_process(), started=by_the_clock)) is True
    assert is_alive(replace(this_process(), started=by_the_clock - 10)) is False


def test_where_the_kernel_keeps_no_account_the_time_by_the_clock_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "_STAT", "/nowhere/{}")
    owner = this_process()
    assert owner.started == psutil.Process().create_time()
    assert is_alive(owner) is True
    assert is_alive(replace(owner, started=owner.started - 10)) is False


def test_of_another_host_nothing_can_be_told() -> None:
    assert is_alive(replace(this_process(), host="elsewhere")) is None
    # As it was told before process ids were kept apart.
    assert is_alive(replace(this_process(), host=socket.gethostname())) is None


def test_of_a_container_with_our_host_name_nothing_can_be_told() -> None:
    """It counts processes for itself: one of its ids says nothing here."""
    ask = "from airflow_provider_mm7.sending.owner import this_process as p; o = p(); print(o.host, o.pid)"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*ELSEWHERE, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no user namespaces here")
    told = subprocess.run(
        [*ELSEWHERE, sys.executable, "-c", ask],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    host, pid = told.stdout.decode().split()
    assert host.startswith(socket.gethostname() + "/")
    assert is_alive(replace(this_process(), host=host, pid=int(pid))) is None
