"""The number of recipients costs no memory: rows are on disk, and what is kept of messages is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.operators.batch_memory import ROW_CHARACTERS
from tests.support.mmsc import Answer, Received, mmsc
from tests.support.mmsc import accept as accepting

pytestmark = pytest.mark.long

FEW, MANY = 50, 4_000
#: The rows' text alone is 30 MB. Caches of messages, ledger and SQLite fill up to their bounds in a run this short.
ALLOWED_KIB = 22 * 1024


def peak_kib(url: str, count: int, folder: Path) -> int:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.operators.batch_memory", url, str(count), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    assert result["accepted"] == count
    return int(result["peak_kib"])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    assert MANY * ROW_CHARACTERS > ALLOWED_KIB * 1024

    def forget(received: Received) -> Answer:
        centre.received.clear()
        return accepting(received)

    with mmsc(forget) as centre:
        few = peak_kib(centre.url, FEW, tmp_path / "few")
        many = peak_kib(centre.url, MANY, tmp_path / "many")
    assert many - few < ALLOWED_KIB, f"{few} KiB for {FEW}, {many} KiB for {MANY}"
