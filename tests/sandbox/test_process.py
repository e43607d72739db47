"""The sandbox as a process of its own, as the demo and people run it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests

from airflow_provider_mm7.sandbox.settings import Settings
from tests.sandbox.client import envelope, headers, multipart, submit_body
from tests.support.sandbox import PATIENCE_S

COMMAND = [sys.executable, "-m", "airflow_provider_mm7.sandbox"]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """A sandbox on a free port."""
    started = subprocess.Popen([*COMMAND, "--port", "0", "--login", "me"], stdout=subprocess.PIPE, text=True)
    yield started
    started.kill()
    started.communicate()


def ready(process: subprocess.Popen[str]) -> str:
    """The URL that it prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("MM7 sandbox listening on http://127.0.0.1:")
    assert line.endswith("/mm7\n")
    return line.split()[-1]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_whoever_waits(process: subprocess.Popen[str], how: signal.Signals) -> None:
    url = ready(process)
    with socket.create_connection(("127.0.0.1", int(url.split(":")[-1].removesuffix("/mm7"))), timeout=PATIENCE_S):
        body = multipart(envelope(submit_body("+15005550903")))
        with pytest.raises(requests.ReadTimeout):
            requests.post(url, data=body, headers=headers(), auth=("me", "sandbox"), timeout=0.3)
        began = time.monotonic()
        os.kill(process.pid, how)
        process.wait(PATIENCE_S)
    assert time.monotonic() - began < 3


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = subprocess.run(
            [*COMMAND, "--port", str(taken.getsockname()[1])], capture_output=True, text=True, timeout=60, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "mm7-sandbox: Address already in use\n"


def test_help_names_every_setting() -> None:
    text = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    for name in Settings.__slots__:
        assert "--" + name.replace("_", "-") in text
