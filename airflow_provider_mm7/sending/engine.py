"""The sending engine: claims from the ledger, requests in flight, settlements back into the ledger.

One thread, the caller's, speaks to the store; workers speak to the MMSC. What was answered during one commit is settled
together by the next, so commits are grouped without a timer, and at most :func:`claim_bound` submissions are claimed
at any moment: a crash leaves no more than those in doubt.
"""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType

from airflow_provider_mm7.exceptions import MM7Error, OutcomeUnknown, StoreError, StoreUnavailable
from airflow_provider_mm7.protocol import Payload, Verdict
from airflow_provider_mm7.sending.breaker import Circuit
from airflow_provider_mm7.sending.halt import Halt, never
from airflow_provider_mm7.sending.opt_outs import Watch, suppressed
from airflow_provider_mm7.sending.outcome import Outcome, failed, read_outcome
from airflow_provider_mm7.sending.owner import is_alive, this_process
from airflow_provider_mm7.sending.pacer import Pace, Pacer
from airflow_provider_mm7.sending.patience import Patience, Tries, default_patience
from airflow_provider_mm7.sending.settling import Settler
from airflow_provider_mm7.sending.workers import Job, Workers
from airflow_provider_mm7.store import Owner, Settlement, State, Store, Submission
from airflow_provider_mm7.transport import MMSCClient

#: Claimed by a single connection at once: enough to make a commit cheap, few enough to look up by hand.
SINGLE_CONNECTION_CLAIM = 16
#: Seconds between looks at messages that another process is sending.
OTHERS_POLL_S = 1.0
#: Seconds that a claim outlives the longest possible exchange. A claim is renewed while its owner lives.
LEASE_MARGIN_S = 30.0
#: Seconds between looks at requests that are still in flight when the run is broken off.
WIND_DOWN_POLL_S = 1.0
#: Seconds between looks for a probe or a retry that is due, while other requests are in flight.
DUE_POLL_S = 0.5
#: Seconds between looks for a row that another process holds just now.
BUSY_POLL_S = 0.05

#: What became of a group that was given back without a request.
UNTRIED = Outcome(untried=True)

log = logging.getLogger(__name__)

Compose = Callable[[Sequence[Submission], str], Payload]


def claim_bound(connections: int) -> int:
    """Return how many submissions may be claimed at once."""
    return SINGLE_CONNECTION_CLAIM if connections == 1 else 2 * connections


def few_left(connections: int) -> int:
    """Return how many waiting submissions are few enough to claim more: what is sent during a commit, or more."""
    spare = claim_bound(connections) - connections
    # A single connection goes through its few as fast as a commit, and would wait for it.
    return spare // 2 if connections == 1 else spare // 4


def ignore(settlements: Sequence[Settlement]) -> None:
    """Take no interest in what was settled."""


@dataclass(slots=True, kw_only=True)
class Engine:
    """Sends what a batch has to send. Made for one run; see :meth:`run`.

    :ivar compose: makes the payload for a group of submissions and a TransactionID.
    :ivar group_size: recipients in one SubmitReq; 1 once the MMSC has refused to take several.
    :ivar overrides: the connection's verdicts per status code.
    :ivar opt_out_scope: whose opt-outs are heeded; None: nobody's.
    :ivar pace: the connection's rate, shared by all who send over it; None: as fast as it goes.
    :ivar patience: how long it waits for an MMSC that takes nothing now.
    :ivar resend_unknown: whether messages that a former run left in doubt are sent again.
    :ivar settled: told in the caller's thread what each commit recorded.
    :ivar stopped: asked before each request; once true, nothing more is sent. It may become true in a signal handler.
    """

    store: Store
    client: MMSCClient
    compose: Compose
    group_size: int = 1
    overrides: Mapping[int, Verdict] = field(default_factory=lambda: MappingProxyType({}))
    opt_out_scope: str | None = None
    pace: Pace | None = None
    patience: Patience = field(default_factory=default_patience)
    resend_unknown: bool = False
    settled: Callable[[Sequence[Settlement]], None] = ignore
    stopped: Callable[[], bool] = never
    _owner: Owner = field(default_factory=this_process)
    _halt: Halt = field(init=False)
    #: Set by who sends a signal, and not by what the run finds itself.
    _told: Halt = field(init=False)
    _settler: Settler = field(init=False)
    _circuit: Circuit = field(init=False)
    _tries: Tries = field(init=False)
    _pacer: Pacer | None = field(init=False, default=None)
    _watch: Watch | None = field(init=False, default=None)
    _renew_at: float = 0.0
    #: Whether the last claim found less than there was room for.
    _exhausted: bool = False

    def __post_init__(self) -> None:
        connections = self.client.endpoint.max_connections
        self._halt = Halt(self.stopped)
        self._told = Halt(self.stopped)
        self._settler = Settler(self.store, lease_s=self.lease_s, told=self._told)
        self._circuit = Circuit(self.patience, doubt_limit=claim_bound(connections))
        self._tries = Tries(self.patience)
        if self.pace is not None:
            self._pacer = Pacer(self.store, self.pace, group_size=self.group_size, halt=self._halt)

    def run(self, batch_id: str) -> MM7Error | None:
        """Send everything that the batch has planned or may try again.

        Returns when nothing is left to send, or when the MMSC took nothing for longer than a task should wait. What it
        does not take now is tried again when it is due. Messages that another live process is sending under the same
        key are waited for, within their lease.

        :return: the error for which it stopped early, or for which what is not sent was set aside; None where another
            try may send what is left.
        :raises StoreUnavailable: answers could not be recorded; those messages become unknown.
        """
        if self.opt_out_scope is not None:
            self._watch = Watch(self.store, self.opt_out_scope, batch_id, halt=self._halt)
        self._recover(batch_id)
        if self.resend_unknown:
            # Once: what this run leaves in doubt is the next run's, or it could be received again and again.
            self.store.requeue_unknown(batch_id)
        self.store.requeue_retries(batch_id)
        self._send(batch_id)
        deadline = time.monotonic() + self.lease_s
        while not self._halt and self.store.summary(batch_id).sending and time.monotonic() < deadline:
            self._halt.wait_until(time.monotonic() + OTHERS_POLL_S)
            self._recover(batch_id)
            self._send(batch_id)
        if self._circuit.halted_by is not None or self._halt or self._tries.gave_up:
            return self._circuit.halted_by
        return self._circuit.set_aside

    def _recover(self, batch_id: str) -> None:
        """Put in doubt what a dead process was sending."""
        self.store.settle_abandoned(batch_id, is_alive=is_alive)

    @property
    def lease_s(self) -> float:
        """Seconds after which a claim whose owner cannot be asked counts as abandoned."""
        endpoint = self.client.endpoint
        # Digest may take two exchanges; the third is for a pause of the whole process.
        return 3 * (endpoint.connect_timeout_s + endpoint.read_timeout_s) + LEASE_MARGIN_S

    def _send(self, batch_id: str) -> None:
        connections = self.client.endpoint.max_connections
        workers = Workers(self._exchange, connections, low=few_left(connections))
        try:
            self._pump(batch_id, workers)
        except BaseException as exc:
            # A signal may have raised this anywhere. Nothing that still waits may leave.
            self._halt.set()
            if not isinstance(exc, Exception):
                self._told.set()
            self._wind_down(batch_id, workers)
            raise
        finally:
            workers.dismiss()

    def _pump(self, batch_id: str, workers: Workers) -> None:
        pause_s = self.lease_s / 3
        self._renew_at = time.monotonic() + pause_s
        ended: list[Job] = []
        while True:
            self._turn(batch_id, ended, workers)
            if workers.jobs:
                uneventful = self._circuit.closed and not self._tries
                ended = workers.wait(pause_s if uneventful else DUE_POLL_S, last_ones=self._exhausted)
            elif self._wait_for_due(batch_id):
                ended = []
            else:
                return
            if time.monotonic() >= self._renew_at:
                self._renew_at = time.monotonic() + pause_s
                self._renew(batch_id)

    def _wait_for_due(self, batch_id: str) -> bool:
        """Wait, with nothing in flight, for the next probe or retry; tell whether there is any."""
        due = self.store.next_due(batch_id)
        if due is None:
            return False
        now = time.monotonic()
        moment = max(now + (due - datetime.now(UTC)).total_seconds(), self._circuit.probe_at or 0.0)
        # Beyond that is none of ours.
        if moment - now > self.patience.longest_wait_s + self.patience.longest_pause_s:
            return False
        return self._halt.wait_until(max(moment, now + BUSY_POLL_S))

    def _renew(self, batch_id: str) -> None:
        """Keep others from taking our claims for abandoned; the next turn comes long before they could."""
        try:
            self.store.extend_lease(batch_id, self._owner, lease_s=self.lease_s)
        except StoreUnavailable as exc:
            log.warning("batch %s: the claims could not be renewed: %s", batch_id, exc)

    def _wind_down(self, batch_id: str, workers: Workers) -> None:
        """Record what is answered while the last requests end, then give back what surely was not accepted."""
        workers.dismiss()
        while workers.busy:
            self._rescue(batch_id, workers.wait(WIND_DOWN_POLL_S), workers)
        self._rescue(batch_id, workers.ended(), workers)
        # Left are answers that could not be recorded, and jobs that no thread took.
        in_doubt = {item.id for job in workers.ended() for item in job.group}
        try:
            self._give_back(batch_id, in_doubt)
        except StoreError as exc:
            log.warning("batch %s: claims could not be given back: %s", batch_id, exc)

    def _rescue(self, batch_id: str, jobs: Sequence[Job], workers: Workers) -> None:
        settlements = [item for job in jobs if job.outcome for item in job.outcome.settlements]
        try:
            self._record(batch_id, settlements)
        except StoreError:
            # Told by the settler. What was not tried, or refused as a whole, need not be kept with it.
            workers.drop(job for job in jobs if job.outcome and (job.outcome.untried or not job.outcome.settlements))
        else:
            workers.drop(jobs)

    def _sending(self, batch_id: str) -> Iterator[Submission]:
        """Yield what is being sent by anyone; only its owner can give a row back."""
        after_id = 0
        while page := self.store.submissions(batch_id, after_id=after_id, states=(State.SENDING,)):
            yield from page
            after_id = page[-1].id

    def _exchange(self, job: Job) -> Outcome:
        """Run in a worker: never raises, since a claim without a settlement would stay in doubt."""
        outcome = self._try(job)
        if self._circuit.learn(outcome, probe=job.probe):
            self._halt.set()
        return outcome

    def _barred(self, job: Job) -> bool:
        """Whether a request may not leave (any more)."""
        # What is answered while the ledger is away would be in doubt with the rest.
        return bool(self._halt) or self._settler.away or not (self._circuit.closed or job.probe)

    def _try(self, job: Job) -> Outcome:
        if self._barred(job):
            return UNTRIED
        out = [] if self._watch is None else self._watch.known(job.group)
        return _but(out, job.group, lambda others: self._try_these(others, job))

    def _try_these(self, group: Sequence[Submission], job: Job) -> Outcome:
        transaction_id = group[0].transaction_id or _new_transaction_id()
        try:
            payload = self.compose(group, transaction_id)
        except Exception as exc:
            return failed(group, _known(exc, "composing"))
        try:
            if self._pacer is not None and not self._pacer.wait(len(group), unless=lambda: self._barred(job)):
                return UNTRIED
            # The last thing before the request: whoever has opted out by now gets nothing.
            out = [] if self._watch is None else self._watch.ask(group)
        except Exception as exc:
            return Outcome(untried=True, failure=_known(exc, "waiting for leave to send"), halts=True)
        if out is None:
            return UNTRIED
        if not out:
            return self._post(group, payload, transaction_id)

        def post(others: Sequence[Submission]) -> Outcome:
            try:
                payload = self.compose(others, transaction_id)
            except Exception as exc:
                return failed(others, _known(exc, "composing"))
            return self._post(others, payload, transaction_id)

        return _but(out, group, post)

    def _post(self, group: Sequence[Submission], payload: Payload, transaction_id: str) -> Outcome:
        try:
            answer = self.client.exchange(payload, transaction_id=transaction_id)
            return read_outcome(group, answer, self.overrides, retry_after_s=answer.retry_after_s)
        except MM7Error as exc:
            return failed(group, exc)
        except Exception as exc:
            where = "".join(traceback.format_tb(exc.__traceback__))
            # Not with the text of the error, which may quote what was sent.
            log.error("an exchange with the MMSC ended in an unforeseen %s\n%s", type(exc).__name__, where)  # noqa: TRY400
            return failed(group, OutcomeUnknown(f"unforeseen {type(exc).__name__}"))

    def _turn(self, batch_id: str, ended: Sequence[Job], workers: Workers) -> None:
        """Record what was answered and claim what may leave now, in one commit; hand that to the workers."""
        outcomes = [(job.group, job.outcome) for job in ended if job.outcome is not None]
        settlements = [item for _, outcome in outcomes for item in self._tries.postpone(outcome)]
        room, probe = self._room(workers.load - len(settlements))
        claimed = self._commit(batch_id, settlements, room, workers) if settlements or room > 0 else []
        self._exhausted = len(claimed) < room
        settled = {item.submission_id for item in settlements}
        untried = [
            item.id for group, outcome in outcomes if outcome.untried for item in group if item.id not in settled
        ]
        if untried:
            self.store.release(untried, self._owner)
        for group, outcome in outcomes:
            if outcome.split:
                # It takes no groups. Those that wait already are refused and split as well.
                self.group_size = 1
                for single in self.store.split(batch_id, group, transaction_id=_new_transaction_id):
                    workers.put([single])
        workers.drop(ended)
        if probe and claimed:
            self._circuit.begin_probe()
        for _, group_ in groupby(claimed, key=attrgetter("transaction_id")):
            workers.put(list(group_), probe=probe)

    def _room(self, held: int) -> tuple[int, bool]:
        """Return how many submissions may be claimed now, and whether as a probe of an MMSC that is down."""
        if self._halt:
            return 0, False
        room = claim_bound(self.client.endpoint.max_connections) * self.group_size - held
        if self._circuit.closed:
            return room, False
        return (min(room, self.group_size) if self._circuit.wants_probe else 0), True

    def _commit(
        self, batch_id: str, settlements: Sequence[Settlement], room: int, workers: Workers
    ) -> list[Submission]:
        try:
            claimed = self.store.turn(
                batch_id,
                self._owner,
                settlements=settlements,
                limit=room,
                lease_s=self.lease_s,
                transaction_id=_new_transaction_id,
                group=self.group_size,
                scope=None if self._watch is None else self._watch.scope,
            )
        except StoreUnavailable:
            if not settlements:
                raise
            # It may have been committed all the same, and nobody knows what was claimed then.
            self._record(batch_id, settlements)
            self._renew(batch_id)
            self._give_back(batch_id, {item.id for job in workers.jobs for item in job.group})
            return []
        if settlements:
            self.settled(settlements)
        return claimed

    def _give_back(self, batch_id: str, but: Container[int]) -> None:
        """Return to the ledger what this run has claimed and did not send."""
        self.store.release([item.id for item in self._sending(batch_id) if item.id not in but], self._owner)

    def _record(self, batch_id: str, settlements: Sequence[Settlement]) -> None:
        if settlements:
            self._settler.settle(batch_id, settlements)
            self.settled(settlements)


def _new_transaction_id() -> str:
    return str(uuid.uuid4())


def _but(
    out: Sequence[Submission], group: Sequence[Submission], go_on: Callable[[Sequence[Submission]], Outcome]
) -> Outcome:
    """Go on with those of a group who want messages, and settle the others."""
    if not out:
        return go_on(group)
    others = [item for item in group if item not in out]
    outcome = go_on(others) if others else UNTRIED
    return replace(outcome, settlements=(*suppressed(out), *outcome.settlements))


def _known(error: Exception, what: str) -> MM7Error:
    """Make an error that nobody foresaw one of ours, without its text, which may quote what was to be sent."""
    return error if isinstance(error, MM7Error) else MM7Error(f"{what} failed: {type(error).__name__}")
