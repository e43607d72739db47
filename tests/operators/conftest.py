"""What every operator's test needs: a ledger of its own, the connection, a task instance that remembers."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from tests.support.empty_ledgers import empty_ledger
from tests.support.mmsc import MMSC, Answer, Received, accept


@dataclass
class TaskInstance:
    """Records what is pushed, and how many messages had left by then."""

    centre: MMSC | None = None
    dag_id: str = "dag"
    run_id: str = "manual__2026-01-02"
    task_id: str = "send"
    map_index: int = -1
    pushed: list[tuple[str, Any, int]] = field(default_factory=list)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed.append((key, json.loads(json.dumps(value)), len(self.centre.received) if self.centre else 0))

    def value(self, key: str) -> Any:
        return {name: value for name, value, _ in self.pushed}[key]


@contextmanager
def execution_timeout() -> Iterator[Callable[[Received], Answer]]:
    """Give an MMSC's answer that accepts, once the main thread's task has ended as its ``execution_timeout`` ends it.

    That is by what is raised wherever the thread is.
    """
    raised = threading.Event()

    def alarm(*_: object) -> None:
        raised.set()
        raise AirflowTaskTimeout

    def late(received: Received) -> Answer:
        if not raised.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
            raised.wait()
        return accept(received)

    former = signal.signal(signal.SIGALRM, alarm)
    try:
        yield late
    finally:
        signal.signal(signal.SIGALRM, former)


@pytest.fixture(autouse=True)
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of this test alone."""
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return url


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set ``mm7_default``."""

    def connect(url: str, login: str = "u", password: str = "hunter2", **extra: Any) -> None:
        connection = {"conn_type": "mm7", "host": url, "login": login, "password": password, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", json.dumps(connection))

    return connect
