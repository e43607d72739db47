"""Threads that speak to the MMSC, and the list of what they were given until it is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from airflow_provider_mm7.sending.outcome import Outcome
from airflow_provider_mm7.store import Submission


@dataclass(slots=True, eq=False)
class Job:
    """Submissions of one request, and what became of it; None until it has ended.

    :ivar probe: whether it is to show if an MMSC that took nothing takes messages again.
    """

    group: list[Submission]
    probe: bool = False
    outcome: Outcome | None = None


class Workers:
    """Threads that exchange with the MMSC; started as they are needed.

    A job stands in :attr:`jobs` from before it is handed over until the caller says that it is recorded: an exception
    at any place, a signal's too, leaves nothing forgotten.

    :param exchange: tries one job; never raises.
    :param most: threads at most.
    """

    def __init__(self, exchange: Callable[[Job], Outcome], most: int) -> None:
        self.jobs: list[Job] = []
        self._exchange = exchange
        self._most = most
        self._todo: SimpleQueue[Job | None] = SimpleQueue()
        #: One token for each job that has ended.
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def load(self) -> int:
        """Submissions that are not recorded yet."""
        return sum(len(job.group) for job in self.jobs)

    @property
    def busy(self) -> bool:
        """Whether a thread runs."""
        return any(thread.is_alive() for thread in self._threads)

    def put(self, group: list[Submission], *, probe: bool = False) -> None:
        """Hand over a group; a thread is started for it while there are fewer than allowed."""
        job = Job(group, probe)
        self.jobs.append(job)
        self._todo.put(job)
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name="mm7-send", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, timeout_s: float) -> list[Job]:
        """Wait for a job to end, and return all that have ended."""
        try:
            self._ended.get(timeout=timeout_s)
            while not self._ended.empty():
                self._ended.get()
        except Empty:
            pass
        return self.ended()

    def ended(self) -> list[Job]:
        """Return the jobs that have ended and are not recorded yet."""
        return [job for job in self.jobs if job.outcome is not None]

    def drop(self, jobs: Iterable[Job]) -> None:
        """Forget jobs that are recorded."""
        recorded = set(jobs)
        self.jobs = [job for job in self.jobs if job not in recorded]

    def dismiss(self) -> None:
        """Let every thread end after what was handed over before; does not wait for them."""
        for _ in self._threads:
            self._todo.put(None)

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            job.outcome = self._exchange(job)
            self._ended.put(None)
