"""Where the CPU of sending goes: each step's own time, by the clock of the thread that takes it.

A profiler that stops the process, or counts every call, changes what it looks at when there are 64 threads; a handful
of timers costs a few percent.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any

#: What it is, and where it stands. The package's insides may change: what is not found is not timed.
STEPS: tuple[tuple[str, str, str], ...] = (
    ("planning, queues, waiting", "airflow_provider_mm7.sending", "send"),
    ("engine, in a worker", "airflow_provider_mm7.sending.engine", "Engine._exchange"),
    ("payload", "airflow_provider_mm7.sending.prepare", "Prepared.payload"),
    ("client", "airflow_provider_mm7.transport.client", "MMSCClient.exchange"),
    ("requests, urllib3 and http.client", "airflow_provider_mm7.transport.client", "MMSCClient.post"),
    ("socket.send", "airflow_provider_mm7.transport.wire", "Connection._send_pieces"),
    ("reading the answer", "airflow_provider_mm7.transport.wire", "Connection.getresponse"),
    ("reading the SubmitRsp", "airflow_provider_mm7.transport.client", "read_answer"),
    ("answer to settlement", "airflow_provider_mm7.sending.engine", "read_outcome"),
    ("ledger: Python and SQLAlchemy", "airflow_provider_mm7.store.database", "Database.write"),
    ("ledger: reading", "airflow_provider_mm7.store.database", "Database.read"),
    ("ledger: statements of turns", "airflow_provider_mm7.store.prepared", "by_driver"),
    ("ledger: begin", "airflow_provider_mm7.store.database", "by_driver"),
    ("ledger: other statements", "sqlalchemy.engine.default", "DefaultDialect.do_execute"),
    ("ledger: statements for many rows", "sqlalchemy.engine.default", "DefaultDialect.do_executemany"),
    ("ledger: commit", "sqlalchemy.engine.default", "DefaultDialect.do_commit"),
)


class _Times:
    """What one thread took, by step: seconds of its own CPU, and calls."""

    def __init__(self) -> None:
        self.own_s: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        #: What the steps within have taken so far, innermost last.
        self.inner: list[float] = []


class _Thread(threading.local):
    def __init__(self, every: list[_Times]) -> None:
        self.times = _Times()
        every.append(self.times)


class Timers:
    """Own CPU time of each step, over all threads."""

    def __init__(self) -> None:
        self._all: list[_Times] = []
        self._thread = _Thread(self._all)
        for label, module, path in STEPS:
            self._put(label, module, path)

    def _put(self, label: str, module: str, path: str) -> None:
        try:
            owner: Any = import_module(module)
            *classes, name = path.split(".")
            for one in classes:
                owner = getattr(owner, one)
            setattr(owner, name, self._timed(label, getattr(owner, name)))
        except (ImportError, AttributeError):
            return

    def _timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        thread, clock = self._thread, time.thread_time

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            times = thread.times
            times.inner.append(0.0)
            started = clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = clock() - started
                # What the steps within took is theirs.
                times.own_s[label] += took - times.inner.pop()
                times.calls[label] += 1
                if times.inner:
                    times.inner[-1] += took

        return timed

    def start(self) -> None:
        """Forget what was timed so far."""
        for times in self._all:
            times.own_s.clear()
            times.calls.clear()

    def lines(self, messages: int, cpu_s: float) -> list[tuple[str, float, float]]:
        """Return steps with their microseconds and calls a message, most expensive first; the rest at the end.

        :param cpu_s: of the whole process.
        """
        own_s = {label: sum(times.own_s[label] for times in self._all) for label, _, _ in STEPS}
        calls = {label: sum(times.calls[label] for times in self._all) for label, _, _ in STEPS}
        told = [
            (label, took_s / messages * 1e6, calls[label] / messages)
            for label, took_s in sorted(own_s.items(), key=lambda item: -item[1])
        ]
        return [*told, ("everything else", (cpu_s - sum(own_s.values())) / messages * 1e6, 0.0)]
