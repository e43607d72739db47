"""The sending engine: claims from the ledger, requests in flight, settlements back into the ledger.

One thread, the caller's, speaks to the store; workers speak to the MMSC. What was answered during one commit is settled
together by the next, so commits are grouped without a timer, and at most :func:`claim_bound` submissions are claimed
at any moment: a crash leaves no more than those in doubt.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from queue import SimpleQueue
from types import MappingProxyType

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from airflow_provider_mm7.exceptions import MM7Error, NotSent, OutcomeUnknown, StoreUnavailable
from airflow_provider_mm7.protocol import Payload, Verdict
from airflow_provider_mm7.sending.outcome import Outcome, failed, read_outcome
from airflow_provider_mm7.sending.owner import is_alive, this_process
from airflow_provider_mm7.store import Owner, Settlement, State, Store, Submission
from airflow_provider_mm7.transport import MMSCClient

#: Claimed by a single connection at once: enough to make a commit cheap, few enough to look up by hand.
SINGLE_CONNECTION_CLAIM = 16
#: Failures to reach the MMSC, one after another, after which the rest stays planned.
UNREACHED_LIMIT = 3
#: Seconds between looks at messages that another process is sending.
OTHERS_POLL_S = 1.0
#: Seconds that a claim outlives the longest possible exchange.
LEASE_MARGIN_S = 30.0
#: Attempts, and first pause in seconds, to record answers in a store that is away for a moment.
RECORD_ATTEMPTS = 5
RECORD_PAUSE_S = 0.2

log = logging.getLogger(__name__)

Compose = Callable[[Sequence[Submission], str], Payload]


def claim_bound(connections: int) -> int:
    """Return how many submissions may be claimed at once."""
    return SINGLE_CONNECTION_CLAIM if connections == 1 else 2 * connections


@dataclass(slots=True)
class _Job:
    group: list[Submission]
    outcome: Outcome = field(default_factory=Outcome)


class _Workers:
    """Threads that exchange with the MMSC; started as they are needed, joined at the end."""

    def __init__(self, exchange: Callable[[Sequence[Submission]], Outcome], most: int) -> None:
        self._exchange = exchange
        self._most = most
        self._todo: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[_Job] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def put(self, group: list[Submission]) -> None:
        """Hand over a group; a thread is started for it while there are fewer than allowed."""
        self._todo.put(_Job(group))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name="mm7-send", daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self) -> list[_Job]:
        """Wait for one finished job and return it with all others that are finished too."""
        jobs = [self._done.get()]
        while not self._done.empty():
            jobs.append(self._done.get())
        return jobs

    def join(self) -> None:
        """Let every thread finish what it has begun."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            job.outcome = self._exchange(job.group)
            self._done.put(job)


@dataclass(slots=True, kw_only=True)
class Engine:
    """Sends what a batch has to send. Made for one run; see :meth:`run`.

    :ivar compose: makes the payload for a group of submissions and a TransactionID.
    :ivar group_size: recipients in one SubmitReq.
    :ivar overrides: the connection's verdicts per status code.
    :ivar resend_unknown: whether messages that a former run left in doubt are sent again.
    """

    store: Store
    client: MMSCClient
    compose: Compose
    group_size: int = 1
    overrides: Mapping[int, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    resend_unknown: bool = False
    _owner: Owner = field(default_factory=this_process)
    _halt: threading.Event = field(default_factory=threading.Event)
    _halted_by: MM7Error | None = None
    _unreached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, batch_id: str) -> MM7Error | None:
        """Send everything that the batch has planned or may try again.

        Returns when nothing is left to send, or when going on would only hammer an MMSC that takes nothing. Messages
        that another live process is sending under the same key are waited for, within their lease.

        :return: the error for which it stopped early, or None.
        :raises StoreUnavailable: answers could not be recorded; what was in flight becomes unknown.
        """
        self._recover(batch_id)
        self.store.requeue_retries(batch_id)
        self._send(batch_id)
        deadline = time.monotonic() + self.lease_s
        while not self._halt.is_set() and self.store.summary(batch_id).sending and time.monotonic() < deadline:
            self._halt.wait(OTHERS_POLL_S)
            self._recover(batch_id)
            self._send(batch_id)
        return self._halted_by

    def _recover(self, batch_id: str) -> None:
        """Take over what a dead process left behind."""
        self.store.settle_abandoned(batch_id, is_alive=is_alive)
        if self.resend_unknown:
            self.store.requeue_unknown(batch_id)

    @property
    def lease_s(self) -> float:
        """Seconds after which a claim whose owner cannot be asked counts as abandoned."""
        endpoint = self.client.endpoint
        # A claimed message waits for at most one exchange before its own; Digest may take two.
        return 3 * (endpoint.connect_timeout_s + endpoint.read_timeout_s) + LEASE_MARGIN_S

    def _send(self, batch_id: str) -> None:
        connections = self.client.endpoint.max_connections
        bound = claim_bound(connections) * self.group_size
        workers = _Workers(self._exchange, connections)
        in_flight = 0
        try:
            while True:
                groups = self._claim(batch_id, bound - in_flight)
                for group in groups:
                    workers.put(group)
                    in_flight += len(group)
                if not in_flight:
                    return
                in_flight -= self._settle(batch_id, workers.take(), workers)
        except BaseException:
            # Nothing that still waits may leave once its answer cannot be recorded.
            self._halt.set()
            raise
        finally:
            workers.join()

    def _claim(self, batch_id: str, room: int) -> list[list[Submission]]:
        if self._halt.is_set() or room <= 0:
            return []
        claimed = self.store.claim(
            batch_id,
            self._owner,
            limit=room,
            lease_s=self.lease_s,
            transaction_id=_new_transaction_id,
            group=self.group_size,
        )
        return [list(group) for _, group in groupby(claimed, key=lambda item: item.transaction_id)]

    def _exchange(self, group: Sequence[Submission]) -> Outcome:
        """Run in a worker: never raises, since a claim without a settlement would stay in doubt."""
        if self._halt.is_set():
            return Outcome(untried=True)
        outcome = self._try(group)
        with self._lock:
            # Refused at the door, or not reached several times in a row: going on would only hammer.
            self._unreached = self._unreached + 1 if isinstance(outcome.failure, NotSent) else 0
            if not self._halt.is_set() and (outcome.halts or self._unreached >= UNREACHED_LIMIT):
                self._halted_by = outcome.failure
                self._halt.set()
        return outcome

    def _try(self, group: Sequence[Submission]) -> Outcome:
        try:
            payload = self.compose(group, group[0].transaction_id or _new_transaction_id())
        except Exception as exc:
            return failed(
                group, exc if isinstance(exc, MM7Error) else MM7Error(f"composing failed: {type(exc).__name__}")
            )
        try:
            return read_outcome(group, self.client.exchange(payload), self.overrides)
        except MM7Error as exc:
            return failed(group, exc)
        except Exception as exc:
            log.exception("an exchange with the MMSC ended in an unforeseen error")
            return failed(group, OutcomeUnknown(f"unforeseen {type(exc).__name__}"))

    def _settle(self, batch_id: str, jobs: Sequence[_Job], workers: _Workers) -> int:
        """Record what was answered, in one commit, and return how many submissions are no longer in flight."""
        settlements: list[Settlement] = []
        untried: list[int] = []
        lost = 0
        for job in jobs:
            if job.outcome.untried:
                untried += [item.id for item in job.group]
            elif job.outcome.split:
                singles = self.store.split(batch_id, job.group, transaction_id=_new_transaction_id)
                for single in singles:
                    workers.put([single])
                # Rows that somebody else settled meanwhile are no longer ours.
                lost += len(job.group) - len(singles)
            settlements += job.outcome.settlements
        if settlements:
            self._record(batch_id, settlements)
        if untried:
            self.store.release(untried, self._owner)
        return len(settlements) + len(untried) + lost

    def _record(self, batch_id: str, settlements: Sequence[Settlement]) -> None:
        """Settle, patiently: an answer that cannot be recorded leaves its message in doubt."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(StoreUnavailable),
                stop=stop_after_attempt(RECORD_ATTEMPTS),
                wait=wait_exponential(multiplier=RECORD_PAUSE_S),
                reraise=True,
            ):
                with attempt:
                    self.store.settle(batch_id, settlements)
        except StoreUnavailable:
            accepted = [item.message_id for item in settlements if item.state is State.ACCEPTED]
            log.exception("answers could not be recorded; MessageIDs accepted meanwhile: %s", accepted)
            raise


def _new_transaction_id() -> str:
    return str(uuid.uuid4())
