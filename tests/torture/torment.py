"""One torture: senders of a batch are killed at random moments and started again until the batch is done.

After each kill the ledger is held against what the MMSC received, so whatever goes wrong is seen at the kill after
which it went wrong.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_mm7.sending.engine import claim_bound
from airflow_provider_mm7.store import State
from tests.support.sending import numbers
from tests.torture.centre import LATENCY_S, Centre, open_centre
from tests.torture.ledgers import Ledger, Rows
from tests.torture.sender import Job, Sender

#: Recipients of a batch.
COUNT = 2000
#: Share of kills that are drawn from the time before the first request: opening, migrating, planning, recovering.
EARLY = 0.25
#: Of these kills the first ones, which alone find planning that has something to plan.
FIRST_EARLY = 5
#: Seconds between start and first request, until it is measured.
LEAD_S = 0.5
#: A later kill comes after so many requests of its run at most, and as long after as an answer may take.
REQUESTS = 6
#: What a message may be in the end. Anything else is lost.
ENDED = frozenset({State.ACCEPTED, State.REFUSED, State.UNKNOWN})
_IN_DOUBT = frozenset({State.SENDING, State.UNKNOWN})


class TortureFailed(AssertionError):
    """What must never happen has happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A torture.

    :ivar kills: of processes, over as many batches as it takes.
    :ivar processes: that send the batch at once.
    :ivar per_request: recipients in one request.
    :ivar resend: whether messages in doubt are sent again (``on_unknown="resend"``) or held.
    :ivar sabotage: what is broken in the senders.
    """

    kills: int
    count: int = COUNT
    connections: int = 3
    per_request: int = 1
    resend: bool = False
    processes: int = 1
    sabotage: str | None = None

    @property
    def bound(self) -> int:
        """Messages that a process may have claimed at once."""
        return claim_bound(self.connections) * self.per_request


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came out, over all batches."""

    #: Of senders; or outages of the ledger.
    kills: int = 0
    #: Outages that their run sat out; the others ended it.
    sat_out: int = 0
    #: Kills before the first request of their run.
    early: int = 0
    batches: int = 0
    runs: int = 0
    messages: int = 0
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    #: Recipients who got two messages, all of whom were in doubt (never under hold).
    doubled: int = 0
    #: Messages claimed at the kills together, and at most at one.
    claimed: int = 0
    most_claimed: int = 0
    lost: int = 0


@dataclass(slots=True, kw_only=True)
class Batch:
    """One batch under torture, and what was seen of it so far."""

    plan: Plan
    ledger: Ledger
    centre: Centre
    rng: random.Random
    folder: Path
    key: str
    tally: Tally
    #: Recipient and TransactionID of every claim that somebody died with.
    doubts: set[tuple[str, str | None]] = field(default_factory=set)
    _accepted: dict[str, str | None] = field(default_factory=dict)
    _lead_s: float = LEAD_S
    _kills: int = 0

    def start(self, **changes: int | None) -> list[Sender]:
        """Start the processes of one run."""
        plan = self.plan
        jobs = [
            Job(
                url=self.centre.url,
                store_url=self.ledger.url,
                outcome=self.folder / f"outcome-{number}.json",
                key=self.key,
                count=plan.count,
                connections=plan.connections,
                per_request=plan.per_request,
                resend=plan.resend,
                sabotage=plan.sabotage,
                max_pages=changes.get("max_pages"),
            )
            for number in range(plan.processes)
        ]
        self.tally.runs += len(jobs)
        return [Sender(job) for job in jobs]

    def killed_run(self, most: int) -> bool:
        """Start the processes, kill each at a moment of its own, and check.

        :param most: so many may be killed.
        :return: whether the batch was done before.
        """
        began, arrivals = time.monotonic(), self.centre.arrivals
        senders = self.start()
        killed: list[Sender] = []
        threads = []
        for sender in senders[:most]:
            moment = self._draw(sender, began, arrivals)

            def work(sender: Sender = sender, moment: Callable[[], None] = moment) -> None:
                moment()
                if sender.kill():
                    killed.append(sender)

            threads.append(threading.Thread(target=work))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = [sender.wait() for sender in senders if sender not in killed]
        for outcome in ended:
            self.must(outcome.done, f"a run ended with {outcome}")
        self._kills += len(killed)
        self.tally.kills += len(killed)
        if killed and self.centre.arrivals == arrivals:
            self.tally.early += len(killed)
        self.check_claims(dead=len(senders))
        return not killed

    def _draw(self, sender: Sender, began: float, arrivals: int) -> Callable[[], None]:
        if self._kills < FIRST_EARLY or self.rng.random() < EARLY:
            moment = began + self.rng.uniform(0, self._lead_s)
            return lambda: time.sleep(max(moment - time.monotonic(), 0))
        requests, pause = self.rng.randint(1, REQUESTS), self.rng.uniform(0, LATENCY_S)

        def after_requests() -> None:
            if self.centre.wait_for(arrivals + 1, still=lambda: sender.running):
                self._lead_s = time.monotonic() - began
            if self.centre.wait_for(arrivals + requests, still=lambda: sender.running):
                time.sleep(pause)

        return after_requests

    def last_run(self) -> None:
        """Start the processes once more, and let them end."""
        for sender in self.start():
            outcome = sender.wait()
            self.must(outcome.done, f"a run ended with {outcome}")

    def check_claims(self, *, dead: int = 1) -> Rows:
        """Check the ledger against what was received, now that so many processes are dead."""
        received = self.centre.snapshot()
        rows = self.ledger.look(self.key)
        doubts = {(name, row.transaction_id) for name, row in rows.items() if row.state in _IN_DOUBT}
        claimed = doubts - self.doubts
        self.tally.claimed += len(claimed)
        self.tally.most_claimed = max(self.tally.most_claimed, len(claimed))
        self.must(len(claimed) <= dead * self.plan.bound, f"{len(claimed)} were claimed, {self.plan.bound} may be")
        if not self.plan.resend:
            self.must(self.doubts <= doubts, "messages in doubt did not stay so, and nobody answered")
        self.doubts |= doubts
        doubtful = {name for name, _ in self.doubts}
        for name, transactions in received.items():
            row = rows.get(name)
            self.must(row is not None, "a message was sent that the ledger does not know")
            assert row is not None
            # Each, not one of them: the first of two may have arrived when the ledger had been looked at already.
            known = set(transactions) == {row.transaction_id} and row.state in {*_IN_DOUBT, State.ACCEPTED}
            self.must(
                known or (self.plan.resend and name in doubtful),
                f"a message was sent in {transactions}, and the ledger says {row.state} in {row.transaction_id}",
            )
            self.must(len(transactions) == 1 or (self.plan.resend and name in doubtful), "a recipient got two messages")
        for name, message_id in self._accepted.items():
            kept = rows.get(name)
            self.must(kept is not None and kept.message_id == message_id, "an acceptance was forgotten")
        self._accepted = {name: row.message_id for name, row in rows.items() if row.state is State.ACCEPTED}
        for name, message_id in self._accepted.items():
            self.must(
                message_id in {f"m-{transaction}" for transaction in received.get(name, ())},
                "a message is accepted by a MessageID that it was not given",
            )
        return rows

    def check_end(self) -> None:
        """Check a batch whose last run has ended, and add it up."""
        plan, tally, rows = self.plan, self.tally, self.check_claims(dead=0)
        wanted = set(numbers(plan.count))
        lost = [name for name in wanted if name not in rows or rows[name].state not in ENDED]
        self.must(not lost, f"{len(lost)} of {plan.count} messages are lost")
        self.must(set(rows) == wanted, "the ledger has rows that nobody asked for")
        by_state = {state: {name for name, row in rows.items() if row.state is state} for state in ENDED}
        accepted, refused, unknown = (by_state[state] for state in (State.ACCEPTED, State.REFUSED, State.UNKNOWN))
        received, doubled = set(self.centre.snapshot()), self.centre.doubled()
        doubtful = {name for name, _ in self.doubts}
        self.must(accepted <= received, "messages are accepted that were never received")
        self.must(received - accepted <= unknown, "messages were received, and are neither accepted nor unknown")
        self.must(refused <= self.centre.refused, "messages are refused that the MMSC did not refuse")
        self.must(unknown <= doubtful, "messages are in doubt that nobody died with")
        if plan.resend:
            self.must(not unknown, "messages stayed in doubt that were to be sent again")
            self.must(doubled <= doubtful, "messages were sent twice that were never in doubt")
        else:
            self.must(not doubled, "messages were sent twice")
        tally.batches += 1
        tally.messages += len(rows)
        tally.accepted += len(accepted)
        tally.refused += len(refused)
        tally.unknown += len(unknown)
        tally.doubled += len(doubled)
        tally.lost += len(lost)

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise TortureFailed(f"{otherwise} (batch {self.key}, after {self.tally.kills} kills)")


def torment(plan: Plan, ledger: Ledger, *, rng: random.Random, folder: Path) -> Tally:
    """Kill as often as planned, and see every batch to its end.

    :raises TortureFailed: a promise was broken.
    """
    tally = Tally()
    while tally.kills < plan.kills:
        with open_centre(rng) as centre:
            batch = Batch(
                plan=plan,
                ledger=ledger,
                centre=centre,
                rng=rng,
                folder=folder,
                key=f"batch {tally.batches + 1}",
                tally=tally,
            )
            done = False
            while not done and tally.kills < plan.kills:
                done = batch.killed_run(plan.kills - tally.kills)
            if not done:
                batch.last_run()
            batch.check_end()
    return tally
