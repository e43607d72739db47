"""A process that sends a batch with the real engine, store and HTTP client, and can be killed at any moment."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from airflow_provider_mm7.sending import OnUnknown, patience, settling
from airflow_provider_mm7.store import Store, open_store
from tests.support.patience import SHORT
from tests.support.sending import numbers, run
from tests.torture import sabotage

#: Seconds for an answer; a claim's lease is longer by more than three times that.
READ_TIMEOUT_S = 5
#: Seconds until a process that is not killed must have ended: longer than a lease, which it may wait for.
ENDS_S = 120.0
#: Seconds for which answers wait for their ledger: longer than a killed server takes to be back, where it comes back.
RECORD_FOR_S = 5.0

# Forked from a process that has imported everything: a start costs milliseconds, and 200 of them are many moments.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.torture.sender"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process is to send.

    :ivar outcome: file that says how it ended, if it came to that.
    :ivar max_pages: SQLite pages beyond which the disk counts as full.
    :ivar sabotage: what is broken in it; see :mod:`tests.torture.sabotage`.
    """

    url: str
    store_url: str
    outcome: Path
    key: str
    count: int
    connections: int
    per_request: int = 1
    resend: bool = False
    max_pages: int | None = None
    sabotage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a process ended that was not killed.

    :ivar error: type of what was raised; None when it returned.
    :ivar text: its text, or that of the error for which the engine stopped early.
    """

    error: str | None = None
    text: str | None = None

    @property
    def done(self) -> bool:
        """Whether it sent what there was."""
        return self.error is None and self.text is None


class Sender:
    """A running process."""

    def __init__(self, job: Job) -> None:
        job.outcome.unlink(missing_ok=True)
        self.job = job
        self._process = _processes.Process(target=_send, args=(job,), daemon=True)
        self._process.start()

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def kill(self, how: signal.Signals = signal.SIGKILL) -> bool:
        """Send it a signal and wait for its end; tell whether the signal ended it."""
        assert self._process.pid is not None
        if self._process.exitcode is None:
            os.kill(self._process.pid, how)
        self._process.join()
        return self._process.exitcode == -how

    def wait_s(self, seconds: float) -> None:
        """Let it go on for so long, or until it ends."""
        self._process.join(seconds)

    def wait(self) -> Outcome:
        """Wait for it to end by itself."""
        self._process.join(ENDS_S)
        if self._process.exitcode is None:
            self.kill()
            return Outcome(error="Endless", text=f"still running after {ENDS_S} s")
        return self.outcome()

    def outcome(self) -> Outcome:
        """Tell how it ended by itself."""
        if not self.job.outcome.exists():
            return Outcome(error="Died", text=f"exit code {self._process.exitcode}")
        return Outcome(**json.loads(self.job.outcome.read_text()))


def _send(job: Job) -> None:
    logging.basicConfig(filename=job.outcome.with_suffix(".log"), level=logging.INFO, force=True)
    patience.PATIENCE = SHORT
    settling.RECORD_FOR_S = RECORD_FOR_S
    if job.sabotage is not None:
        getattr(sabotage, job.sabotage)()
    try:
        said = _attempt(job)
    except Exception as exc:
        logging.exception("the run ended with an error")
        said = {"error": type(exc).__name__, "text": str(exc)}
    unfinished = job.outcome.with_suffix(".new")
    unfinished.write_text(json.dumps(said))
    unfinished.rename(job.outcome)


def _attempt(job: Job) -> dict[str, str | None]:
    # PostgreSQL too makes its tables here, so that kills hit the migration.
    store = open_store(job.store_url, migrate=True)
    if job.max_pages is not None:
        # Nobody will make room meanwhile.
        settling.RECORD_FOR_S = 0.0
        _limit(store, job.max_pages)
    result = run(
        store,
        job.url,
        numbers(job.count),
        key=job.key,
        per_request=job.per_request,
        on_unknown=OnUnknown.RESEND if job.resend else OnUnknown.HOLD,
        max_connections=job.connections,
        read_timeout_s=READ_TIMEOUT_S,
    )
    return {"error": None, "text": None if result.halted_by is None else str(result.halted_by)}


def _limit(store: Store, pages: int) -> None:
    @event.listens_for(store._db.engine, "begin")
    def full(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
