"""Has a batch been sent, delivered, read? The judgement as a pure function, and the one way to ask for its input.

Nothing here imports Airflow: the sensor judges on a worker, its trigger in the triggerer, and both must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks import config, ledger
from airflow_provider_mm7.protocol.statuses import READ, MMStatus, Outcome, is_final
from airflow_provider_mm7.store import open_store

if TYPE_CHECKING:
    from airflow_provider_mm7.store.types import DeliverySummary, Origin

#: What counts as delivered: the final successes of TS 23.140 (Rel-6 adds Delivered to Rel-5's Retrieved).
DEFAULT_DELIVERED_STATUSES = ("Retrieved", "Delivered")

#: All accepted messages have to be delivered, unless the user says otherwise.
DEFAULT_MIN_DELIVERED_RATIO = 1.0

#: How long recipients that were not sent yet hold a verdict back after the batch last changed. A running sender
#: claims its next group within seconds; ten minutes also cover a rate limit and one retry of the send task. After
#: that nobody is sending (``fail_on="never"`` leaves rows to retry for good) and only what was accepted counts.
UNSENT_GRACE = timedelta(minutes=10)


class WaitFor(StrEnum):
    """How far messages have to get.

    - ``submitted``: the MMSC has said yes or no to all of them. The ratio is accepted / total, those not counted that
      want no messages.
    - ``delivered``: a delivery report says so. The ratio is delivered / accepted.
    - ``read``: a read reply says so. The ratio is read / accepted.
    """

    SUBMITTED = "submitted"
    DELIVERED = "delivered"
    READ = "read"


class Decision(StrEnum):
    """What the sensor does next."""

    SUCCEED = "succeed"
    FAIL = "fail"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a sensor waits for: one batch, or some messages.

    :ivar batch_id: the batch, or None.
    :ivar message_ids: MessageIDs given by the MMSC; used when batch_id is None.
    """

    batch_id: str | None = None
    message_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.batch_id is None) == (not self.message_ids):
            raise InputError(
                "batch_id, message_ids", "exactly one of them is needed", "Give a batch_id, or some message_ids"
            )

    def __str__(self) -> str:
        return f"batch {self.batch_id}" if self.batch_id is not None else f"{len(self.message_ids)} message ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What the user waits for.

    :ivar delivered_statuses: MMStatus names that count as delivered, in the standard's spelling once made.
    :ivar min_delivered_ratio: the part that is wanted, 0 to 1.
    :ivar wait_for: how far it has to get; see :class:`WaitFor`.
    """

    wait_for: str = WaitFor.DELIVERED
    delivered_statuses: Sequence[str] = DEFAULT_DELIVERED_STATUSES
    min_delivered_ratio: float = DEFAULT_MIN_DELIVERED_RATIO

    def __post_init__(self) -> None:
        if self.wait_for not in list(WaitFor):
            raise InputError("wait_for", f"{self.wait_for!r} is unknown", f"Give one of: {', '.join(WaitFor)}")
        object.__setattr__(self, "wait_for", WaitFor(self.wait_for))
        ratio = self.min_delivered_ratio
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
            raise InputError("min_delivered_ratio", f"{ratio!r} is not a ratio", "Give a number from 0 to 1")
        names = self.delivered_statuses
        if isinstance(names, str) or not names:
            raise InputError(
                "delivered_statuses", "not a list of statuses", f"The default is {list(DEFAULT_DELIVERED_STATUSES)}"
            )
        object.__setattr__(self, "delivered_statuses", tuple(_status_name(name) for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement.

    :ivar reason: one sentence of ids and counts, for logs and exceptions.
    :ivar result: what the sensor returns, JSON primitives only.
    """

    decision: Decision
    reason: str
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    delivered: int
    failed: int
    ambiguous: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """How far the messages have got.

    :ivar reached: those that are where they should be.
    :ivar open: those that may still get there.
    :ivar out_of: all that count, the open ones among them.
    :ivar settled: whether the ratio may be taken as reached.
    """

    reached: int
    open: int
    out_of: int
    settled: bool


def judge(question: Question, summary: DeliverySummary | None, criteria: Criteria, *, now: datetime) -> Verdict:
    """Judge what is known of a batch.

    It succeeds when no later report can take the ratio below the wanted one, fails when none can lift it there, and
    waits in between. Pending messages may go either way. So may recipients that are not sent yet, as long as somebody
    may be sending (:data:`UNSENT_GRACE`). An ambiguous status is final and not a delivery, unless it is listed. Nothing
    accepted is a failure, unless nobody in the batch wants messages.

    :param question: what was asked.
    :param summary: what the store knows of it; None for a batch it has never heard of.
    :param criteria: what counts, and how much of it is wanted.
    :param now: the present, aware.
    :return: the verdict; its result is empty when the batch is unknown.
    """
    if summary is None:
        return Verdict(
            decision=Decision.FAIL,
            reason=f"{question} is not in the store: never sent, pruned, or sent with another [mm7] sql_alchemy_conn",
        )
    counts = _count(summary, criteria)
    unsent = summary.unsent if _may_be_sending(summary, now) else 0
    result: dict[str, Any] = {
        "batch_id": question.batch_id,
        "total": summary.total,
        "accepted": summary.accepted,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "ambiguous": counts.ambiguous,
        "pending": counts.pending,
        "by_status": dict(sorted(summary.by_status.items())),
    }
    tally, found = _tally(summary, criteria, counts, unsent)
    if criteria.wait_for == WaitFor.READ:
        result |= {"read": tally.reached, "by_read_status": _count_reads(summary)}
    reason = f"{question}: {found}, {summary.unsent} not sent; wanted ratio {criteria.min_delivered_ratio:g}"
    decision = _decide(summary, tally, unsent, criteria.min_delivered_ratio)
    return Verdict(decision=decision, reason=reason, result=result)


def _tally(summary: DeliverySummary, criteria: Criteria, counts: _Counts, unsent: int) -> tuple[_Tally, str]:
    """Count what is waited for, and say it."""
    match criteria.wait_for:
        case WaitFor.SUBMITTED:
            out_of = summary.total - summary.suppressed
            tally = _Tally(reached=summary.accepted, open=unsent, out_of=out_of, settled=unsent == 0)
            found = f"{summary.accepted} of {out_of} messages accepted, {summary.suppressed} suppressed"
        case WaitFor.READ:
            tally = _tally_reads(summary, criteria, unsent)
            found = (
                f"{tally.reached} of {summary.accepted} accepted messages read, {tally.open - unsent} may still be, "
                f"{counts.delivered} delivered, {counts.failed} failed"
            )
        case _:
            tally = _Tally(
                reached=counts.delivered,
                open=counts.pending + unsent,
                out_of=summary.accepted + unsent,
                settled=summary.accepted > 0,
            )
            found = (
                f"{counts.delivered} of {summary.accepted} accepted messages delivered, {counts.failed} failed, "
                f"{counts.ambiguous} ambiguous, {counts.pending} pending"
            )
    return tally, found


def _decide(summary: DeliverySummary, tally: _Tally, unsent: int, wanted: float) -> Decision:
    if summary.accepted + unsent == 0:
        # Who wants no messages is no error, also where nobody does.
        return Decision.SUCCEED if 0 < summary.total == summary.suppressed else Decision.FAIL
    # x/y is the double nearest to the quotient, and so is a decimal that the user typed: 19/20 >= 0.95 holds.
    if (tally.reached + tally.open) / tally.out_of < wanted:
        return Decision.FAIL
    if tally.settled and tally.reached / tally.out_of >= wanted:
        return Decision.SUCCEED
    return Decision.WAIT


def _count(summary: DeliverySummary, criteria: Criteria) -> _Counts:
    by_outcome: Counter[Outcome] = Counter()
    for name, count in summary.by_status.items():
        by_outcome[_outcome(name, criteria)] += count
    delivered, failed, ambiguous = (by_outcome[one] for one in (Outcome.DELIVERED, Outcome.FAILED, Outcome.AMBIGUOUS))
    pending = max(summary.accepted - delivered - failed - ambiguous, 0)
    return _Counts(delivered=delivered, failed=failed, ambiguous=ambiguous, pending=pending)


def _outcome(name: str, criteria: Criteria) -> Outcome:
    if name in criteria.delivered_statuses:
        return Outcome.DELIVERED
    outcome = MMStatus.parse(name).outcome
    # A success that the user does not count is final as well.
    return Outcome.AMBIGUOUS if outcome is Outcome.DELIVERED else outcome


def _count_reads(summary: DeliverySummary) -> dict[str, int]:
    reads: Counter[str] = Counter()
    for (_, status), count in summary.by_read.items():
        reads[status] += count
    return dict(sorted(reads.items()))


def _tally_reads(summary: DeliverySummary, criteria: Criteria, unsent: int) -> _Tally:
    """Count who has read, and who may still: not those who said otherwise, nor those whom nothing reached."""
    read = 0
    answered: Counter[str] = Counter()
    for (delivery, status), count in summary.by_read.items():
        read += count if status == READ else 0
        answered[delivery] += count if is_final(MMStatus.parse(status)) else 0
    unreached = sum(
        max(count - answered[name], 0)
        for name, count in summary.by_status.items()
        if _outcome(name, criteria) is Outcome.FAILED
    )
    return _Tally(
        reached=read,
        open=max(summary.accepted - answered.total() - unreached, 0) + unsent,
        out_of=summary.accepted + unsent,
        settled=summary.accepted > 0,
    )


def _may_be_sending(summary: DeliverySummary, now: datetime) -> bool:
    """Whether its unsent recipients may still be sent: a batch that nobody has touched for a while stays as it is."""
    return summary.changed_at is not None and now - summary.changed_at < UNSENT_GRACE


def _status_name(value: str) -> str:
    name = MMStatus.parse(value).name
    if name == "UNKNOWN" and value != name:
        raise InputError(
            "delivered_statuses", f"{value!r} is not an MMStatus", "Use the standard's names, or UNKNOWN for all others"
        )
    return name


def ledger_url() -> str:
    """Say which store is read, as the operators say which one they write; blocking.

    :raises StoreNotShared: SQLite under an executor that spans machines.
    """
    url = config.store_url()
    ledger.refuse_unshared(url, ledger.executors())
    return url


def read_store(url: str, questions: Collection[Question]) -> dict[Question, DeliverySummary | None]:
    """Ask the store; blocking. A few queries, however many questions.

    :param url: the store.
    :param questions: what to ask.
    :return: an answer to every question; None for a batch that the store does not know.
    :raises StoreError: the store cannot be used.
    """
    store = open_store(url)
    of_batches = [question for question in questions if question.batch_id is not None]
    of_messages = [question for question in questions if question.batch_id is None]
    answers: dict[Question, DeliverySummary | None] = {}
    if of_batches:
        batches = store.delivery_of_batches(str(question.batch_id) for question in of_batches)
        unsent = [batch_id for batch_id, summary in batches.items() if summary.unsent]
        for batch_id, changed_at in (store.last_changes(unsent) if unsent else {}).items():
            batches[batch_id] = replace(batches[batch_id], changed_at=changed_at)
        answers.update((question, batches.get(str(question.batch_id))) for question in of_batches)
    if of_messages:
        summaries = store.deliveries_of_messages(question.message_ids for question in of_messages)
        answers.update(zip(of_messages, summaries, strict=True))
    return answers


def sender_of(url: str, question: Question) -> Origin | None:
    """Say which task has sent what is asked about; blocking.

    :param url: the store.
    :return: None when it is no batch, or the store does not know it.
    :raises StoreError: the store cannot be used.
    """
    found = open_store(url).find_batch(question.batch_id) if question.batch_id is not None else None
    return found.origin if found is not None else None


def receivers_alive(url: str) -> bool:
    """Whether a receiver has written to the store lately; blocking.

    :param url: the store.
    :raises StoreError: the store cannot be used.
    """
    return open_store(url).receivers_alive()
