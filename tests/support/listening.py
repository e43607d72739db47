"""A server process of ours, from its start to its end."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

WAIT_S = 90


class Listening:
    """A process that runs uvicorn on a port of its own choice.

    :ivar url: where it listens.
    :ivar process: the process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self._lines: list[str] = []
        for line in process.stdout:
            self._lines.append(line)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                self.url = found[1]
                return
        raise AssertionError("".join(self._lines))

    def drain(self, log: TextIO) -> None:
        """Write what it prints into a file from now on, so that it never waits for a reader."""
        stream = self.process.stdout
        assert stream is not None
        threading.Thread(target=lambda: log.writelines(stream), daemon=True).start()

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End the process; return all that it printed."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=WAIT_S)
        return "".join(self._lines) + rest


@contextmanager
def listening(command: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Iterator[Listening]:
    """Run a server for the time of a with block; it is killed at the end if it still runs.

    :param command: program and arguments.
    :param env: its whole environment.
    :param cwd: its working directory.
    """
    process = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Listening(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)
