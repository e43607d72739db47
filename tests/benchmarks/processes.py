"""Processes of a benchmark: the sink that takes the messages, and the children that send them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.spec import Result, Run

#: The repository, from which modules of the benchmark are run.
ROOT = Path(__file__).parents[2]
#: Seconds after which a child is given up. The longest sends 100,000 messages.
CHILD_S = 3600.0
#: Niceness of the sink, where it may have it (root).
PRIORITY = -10


class SinkProcess:
    """A running :mod:`tests.benchmarks.sink`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.sink"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        # An MMSC has a machine of its own: it does not wait for a core while its client does something else.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, PRIORITY)
        assert self._process.stdout is not None
        self._base = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    @property
    def niceness(self) -> int:
        """Its own: 0 where it was not allowed to go before others."""
        return os.getpriority(os.PRIO_PROCESS, self._process.pid)

    @property
    def url(self) -> str:
        """Where messages are posted."""
        return f"{self._base}/mm7"

    def reset(self, *, latency_ms: float) -> None:
        """Forget what arrived, and answer after this latency."""
        self._ask("POST", f"/_sink/reset?latency_ms={latency_ms}")

    def stats(self, *, arrivals: bool = False) -> dict[str, Any]:
        """Tell what arrived since the last reset."""
        return self._ask("GET", "/_sink/stats" + ("?arrivals=1" if arrivals else ""))

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self._base + path, method=method), timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ends its input, and waits for it.
        self._process.communicate()


class ChildFailed(RuntimeError):
    """A child did not measure; the text ends with what it said."""


def measure(run: Run, *, env: Mapping[str, str] | None = None) -> Result:
    """Run one way in a fresh process.

    :param env: variables for it.
    :raises ChildFailed: it ended otherwise than with a result.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.child", run.dump()],
        cwd=ROOT,
        env={**_without_proxies(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    if done.returncode:
        raise ChildFailed(f"{run.way} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-4000:]}")
    return Result.load(done.stdout.splitlines()[-1])


def _without_proxies() -> dict[str, str]:
    """The environment, with nothing that could stand between a contender and the sink."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
