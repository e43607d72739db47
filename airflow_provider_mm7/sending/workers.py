"""Threads that speak to the MMSC, and the list of what they were given until it is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue

from airflow_provider_mm7.sending.outcome import Outcome
from airflow_provider_mm7.store import Submission

#: Seconds that an answer waits for others to be recorded with.
LINGER_S = 0.05


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
    :param low: so many jobs that no thread has taken yet are few enough to ask for more.
    """

    def __init__(self, exchange: Callable[[Job], Outcome], most: int, *, low: int) -> None:
        self.jobs: list[Job] = []
        self._exchange = exchange
        self._most = most
        self._low = low
        self._todo: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: Set by a thread whose job has ended; the other one when it is worth a commit.
        self._one_ended = threading.Event()
        self._enough_ended = threading.Event()
        self._last_ones = False

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

    def wait(self, timeout_s: float, *, last_ones: bool = False) -> list[Job]:
        """Wait for jobs to end, and return all that have ended.

        What ends within a moment is returned together, unless threads would soon have nothing to do.

        :param timeout_s: seconds to wait for the first.
        :param last_ones: whether there is nothing more to hand over.
        """
        self._last_ones = last_ones
        # Set while the last lot was recorded: it says nothing of now.
        self._enough_ended.clear()
        if self._one_ended.wait(timeout_s) and not self._enough():
            self._enough_ended.wait(LINGER_S)
        # What ends from here on sets it again, and is returned now or the next time.
        self._one_ended.clear()
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
            if not self._enough_ended.is_set() and self._enough():
                self._enough_ended.set()
            if not self._one_ended.is_set():
                self._one_ended.set()

    def _enough(self) -> bool:
        """Whether threads will soon have nothing to do, or, of the last ones, nothing is left to wait for."""
        left = self._todo.qsize()
        if not self._last_ones:
            return left <= self._low
        return not left and all(job.outcome for job in self.jobs)
