"""From a draft to a result: the road that operator and command line share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_provider_mm7.exceptions import InputError, MM7Error
from airflow_provider_mm7.protocol import Part, Payload, Verdict, number_key
from airflow_provider_mm7.sending.engine import Compose, Engine
from airflow_provider_mm7.sending.halt import never
from airflow_provider_mm7.sending.keeping import Keeper, keeping
from airflow_provider_mm7.sending.owner import is_alive
from airflow_provider_mm7.sending.pacer import Pace, within_rate
from airflow_provider_mm7.sending.prepare import Prepared
from airflow_provider_mm7.sending.record import content_of, is_text
from airflow_provider_mm7.sending.result import MAX_LISTED_MESSAGES, PROBLEM_STATES, OnUnknown, SendResult
from airflow_provider_mm7.store import (
    NewContent,
    NewSubmission,
    Origin,
    RowKey,
    Settlement,
    State,
    Store,
    Submission,
    connection_scope,
)
from airflow_provider_mm7.transport import MMSCClient


def utc_now() -> datetime:
    """Return the time, with zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What there is to send: who gets something, and how each message is made.

    :ivar submissions: gives them, from the first one on with each call.
    :ivar compose: makes the payload for some of them.
    :ivar group_size: recipients in one SubmitReq.
    :ivar wanted: tells which of some rows are asked for, where the submissions need not be held for that.
    :ivar contents: what the messages consist of, for the record; the submissions say which. Consumed once, before them.
    :ivar media: that all messages share.
    """

    submissions: Callable[[], Iterable[NewSubmission]]
    compose: Compose
    contents: Iterable[NewContent] = ()
    group_size: int = 1
    wanted: Callable[[Sequence[RowKey]], set[RowKey]] | None = None
    media: Sequence[Part] = ()


def work_of(prepared: Prepared) -> Work:
    """Return the work of sending one message to all its recipients."""
    # As the ledger keys them: a row may keep the spelling of a former run.
    by_key = {number_key(item.number): item for item in prepared.recipients}

    def compose(group: Sequence[Submission], transaction_id: str) -> Payload:
        keys = [number_key(item.recipient) for item in group]
        if any(key not in by_key for key in keys):
            raise InputError(
                "idempotency_key", "another task sends to other recipients under this key", "Give each a key of its own"
            )
        return prepared.payload([by_key[key] for key in keys], transaction_id)

    return Work(
        submissions=lambda: (NewSubmission(recipient=item.number) for item in by_key.values()),
        compose=compose,
        contents=[content_of(prepared.template.subject, prepared.options, prepared.parts)],
        media=[part for part in prepared.parts if not is_text(part.content_type)],
        group_size=prepared.profile.recipients_per_request,
    )


def send(
    what: Prepared | Work,
    *,
    store: Store,
    client: MMSCClient,
    key: str,
    conn_id: str,
    origin: Origin | None = None,
    family: str | None = None,
    on_unknown: OnUnknown = OnUnknown.HOLD,
    overrides: Mapping[int, Verdict] | None = None,
    rate_per_s: float | None = None,
    opt_out_scope: str | None = None,
    honour_opt_outs: bool = True,
    on_batch: Callable[[str], None] | None = None,
    settled: Callable[[Sequence[Settlement]], None] | None = None,
    stopped: Callable[[], bool] | None = None,
    keeper: Keeper | None = None,
) -> SendResult:
    """Send to each recipient at most once under this key.

    What a former run under the key left unsent for recipients that are no longer asked for is withdrawn.

    :param what: one message for all, or work whose messages differ.
    :param key: the idempotency key.
    :param family: names the batches that are parts of one sending, in which a recipient stands once.
    :param rate_per_s: messages a second, over all who send over this connection with this store.
    :param opt_out_scope: whose opt-outs are heeded; None: those of the connection.
    :param honour_opt_outs: False only for what tells somebody that they opted out.
    :param on_batch: called with the batch id before the first request.
    :param settled: told what each commit recorded.
    :param stopped: once it returns true, nothing more is sent; may change in a signal handler.
    :param keeper: keeps copies of the media; None: none are kept.
    :return: counts and messages of the whole batch, former runs' included.
    :raises StoreError: the ledger cannot be used; nothing more is sent.
    """
    work = what if isinstance(what, Work) else work_of(what)
    batch = store.open_batch(key, conn_id=conn_id, origin=origin or Origin())
    for other in store.family_batches(family) if family is not None else ():
        # A chunk that died and was planned anew has nobody else to say so.
        store.settle_abandoned(other, is_alive=is_alive)
    contents = store.record_contents(batch.batch_id, work.contents)
    resend = on_unknown is OnUnknown.RESEND
    due = store.replan(
        batch.batch_id, work.submissions(), wanted=work.wanted, family=family, contents=contents, resend=resend
    )
    store.drop_unused_contents(batch.batch_id, used=len(contents))
    scope = (opt_out_scope or connection_scope(conn_id)) if honour_opt_outs else None
    if scope is not None:
        store.suppress_opted_out(batch.batch_id, scope, unknown=resend)
    if on_batch is not None:
        on_batch(batch.batch_id)
    ended = 0

    def count(settlements: Sequence[Settlement]) -> None:
        nonlocal ended
        ended += sum(item.state is not State.RETRY for item in settlements)
        if settled is not None:
            settled(settlements)

    engine = Engine(
        store=store,
        client=client,
        compose=work.compose,
        group_size=within_rate(work.group_size, rate_per_s),
        overrides=overrides or {},
        pace=None if rate_per_s is None else Pace(conn_id=conn_id, rate_per_s=rate_per_s),
        opt_out_scope=scope,
        resend_unknown=resend,
        settled=count,
        stopped=stopped or never,
    )
    with keeping(keeper, store, batch.batch_id, work.media):
        halted_by = engine.run(batch.batch_id)
    # Whoever plans others under this key takes out what is not sent yet. Mostly, this run has sent all of it itself.
    missing = store.missing(batch.batch_id, work.submissions(), family=family) if ended < due else 0
    return replace(read_result(store, batch.batch_id, halted_by=halted_by), missing=missing)


def read_result(store: Store, batch_id: str, *, halted_by: MM7Error | None = None) -> SendResult:
    """Read what became of a batch so far."""
    return SendResult(
        summary=store.summary(batch_id),
        messages=tuple(store.submissions(batch_id, limit=MAX_LISTED_MESSAGES)),
        problems=tuple(store.submissions(batch_id, limit=MAX_LISTED_MESSAGES, states=PROBLEM_STATES)),
        halted_by=halted_by,
    )
