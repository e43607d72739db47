"""What claims and settlements do to rows, as parts of a transaction.

Sending writes every row twice, so this is where the ledger costs: few statements for many rows, each written once at
import, and of a row only the columns that are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, chunks
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.matching import lock_messages, match_early
from airflow_provider_mm7.store.prepared import Prepared, PreparedQuery, among, named
from airflow_provider_mm7.store.tables import (
    CLAIMABLE,
    DUE_NOW,
    NO_REPORT,
    NOT_BY_ITSELF,
    SENDING,
    opt_out,
    owner,
    report,
    submission,
)
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import Owner, Settlement, State, Submission

#: From which states an answer may move a row. `accepted` has no way out; what was answered is not unknown any more.
_ANSWERED = (State.ACCEPTED, State.REFUSED, State.RETRY, State.SUPPRESSED)
_FROM: dict[State, frozenset[State]] = {
    **dict.fromkeys(_ANSWERED, frozenset({State.SENDING, State.UNKNOWN})),
    State.UNKNOWN: frozenset({State.SENDING}),
    State.PLANNED: frozenset({State.SENDING}),
}

#: An acceptance that comes after the row was given back for sending still counts, if the row was not claimed since; and
#: so does one of what was taken out after it had left.
_GIVEN_BACK = frozenset({State.PLANNED, State.RETRY, State.SUPPRESSED})


class _Claimable(NamedTuple):
    id: int
    row_no: int
    recipient: str
    state: str
    attempts: int
    delivery: str


# SKIP LOCKED is PostgreSQL's; SQLite, which renders nothing here, has one writer at a time.
_CLAIMABLE: Final = PreparedQuery(
    lambda _: (
        sa.select(*(submission.c[name] for name in _Claimable._fields))
        .where(
            submission.c.batch_id == sa.bindparam("batch"), CLAIMABLE, submission.c.not_before <= sa.bindparam("now")
        )
        .order_by(submission.c.not_before, submission.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(skip_locked=True)
    ),
    _Claimable._make,
)


def _claim(dialect: str, transaction_id: sa.ColumnElement[str]) -> sa.Update:
    # Whether a lease is over is asked by another machine, by another clock: the database's tells, where it has one.
    until: sa.ColumnElement[Any] = sa.bindparam("until")
    if dialect == "postgresql":
        until = sa.func.clock_timestamp() + sa.bindparam("lease", type_=sa.Interval())
    return (
        sa.update(submission)
        .where(among(submission.c.id, "keys", dialect))
        .values(
            state=State.SENDING,
            attempts=submission.c.attempts + 1,
            owner_token=sa.bindparam("token"),
            lease_until=until,
            message_id=None,
            status_code=None,
            status_text=None,
            updated_at=sa.bindparam("now"),
            transaction_id=transaction_id,
        )
    )


_TRANSACTION: Final[sa.BindParameter[str]] = sa.bindparam("transaction", type_=sa.Text)
_CLAIM_EACH: Final = Prepared(lambda dialect: _claim(dialect, _TRANSACTION + sa.cast(submission.c.id, sa.Text)))
_CLAIM_GROUP: Final = Prepared(lambda dialect: _claim(dialect, _TRANSACTION))

_OPTED_OUT: Final = Prepared(
    lambda dialect: (
        sa.select(submission.c.id)
        .join(opt_out, opt_out.c.number_key == submission.c.recipient_key)
        .where(among(submission.c.id, "keys", dialect), opt_out.c.scope == sa.bindparam("scope"), opt_out.c.opted_out)
    )
)


class _Asked(NamedTuple):
    id: int
    state: str
    delivery: str
    transaction_id: str | None
    early: bool


# With whether any report waits for its submission: mostly none does, and none need be looked for.
_ASKED: Final = PreparedQuery(
    lambda dialect: (
        sa.select(
            *(submission.c[name] for name in ("id", "state", "delivery", "transaction_id")),
            sa.exists().where(report.c.batch_id.is_(None)).label("early"),
        )
        .where(among(submission.c.id, "keys", dialect), submission.c.batch_id == sa.bindparam("batch"))
        .order_by(submission.c.id)
        .with_for_update(key_share=True, of=submission)
    ),
    _Asked._make,
)
_SETTLED: Final[dict[str, Any]] = {
    "state": sa.bindparam("new_state"),
    "status_code": sa.bindparam("code"),
    "status_text": sa.bindparam("said"),
    "not_before": sa.bindparam("due"),
    "updated_at": sa.bindparam("now"),
    "owner_token": None,
    "lease_until": None,
}
# The usual case in one statement: of rows that are as they were claimed, while no report on them came before. Locked in
# the order in which the database finds them: who is refused for a deadlock is repeated.
_ACCEPT: Final = Prepared(
    lambda dialect: (
        sa.update(submission)
        .where(
            among(submission.c.id, "keys", dialect),
            submission.c.batch_id == sa.bindparam("batch"),
            SENDING,
            submission.c.delivery == NO_REPORT,
            submission.c.transaction_id == named(submission.c.id, "transactions", dialect),
            ~sa.exists().where(
                among(report.c.message_id, "message_ids", dialect),
                # No index but that of MessageIDs: others' reports may wait for ever, and be many.
                sa.func.coalesce(report.c.batch_id, sa.literal_column("''")) == sa.literal_column("''"),
            ),
        )
        .values(message_id=named(submission.c.id, "names", dialect), **_SETTLED)
    )
)
_SETTLE_ALIKE: Final = Prepared(
    lambda dialect: (
        sa.update(submission).where(among(submission.c.id, "keys", dialect)).values(message_id=None, **_SETTLED)
    )
)
_SETTLE_NAMED: Final = Prepared(
    lambda dialect: (
        sa.update(submission)
        .where(among(submission.c.id, "keys", dialect))
        .values(message_id=named(submission.c.id, "names", dialect), **_SETTLED)
    )
)


def take(
    connection: sa.Connection,
    batch_id: str,
    claimant: Owner,
    counts: Counts,
    *,
    limit: int,
    lease_s: float,
    transaction_id: Callable[[], str],
    group: int,
    now: datetime,
    remember: bool = True,
    scope: str | None = None,
) -> list[Submission]:
    """Claim rows. Parameters are those of :meth:`airflow_provider_mm7.store.claims.Claims.claim`.

    :param remember: whether the ledger may not know the claimant yet.
    :param scope: whose opt-outs the claimed rows are marked by.
    """
    rows = _CLAIMABLE.run(connection, batch=batch_id, now=now, most=limit) if limit > 0 else []
    if not rows:
        return []
    if remember:
        known = {"host": claimant.host, "pid": claimant.pid, "started": claimant.started, "claimed_at": now}
        connection.execute(_add_owner(connection.dialect.name), {"token": claimant.token, **known})
    prefix = f"{clean(transaction_id())}-"
    lease = timedelta(seconds=lease_s)
    # Each database takes one of the two that tell the end of the lease.
    common = {"token": claimant.token, "until": now + lease, "lease": lease, "now": now}
    parts = chunks(rows, CHUNK if group <= 1 else group)
    claimed = []
    for part in parts:
        keys = [row.id for row in part]
        out = {key for (key,) in _OPTED_OUT.rows(connection, keys=keys, scope=scope)} if scope is not None else ()
        shared = None if group <= 1 else f"{prefix}{keys[0]}"
        claim = _CLAIM_EACH if shared is None else _CLAIM_GROUP
        claim.run(connection, keys=keys, transaction=shared or prefix, **common)
        claimed += [
            Submission(
                id=row.id,
                batch_id=batch_id,
                row=row.row_no,
                recipient=row.recipient,
                state=State.SENDING,
                transaction_id=shared or f"{prefix}{row.id}",
                attempts=row.attempts + 1,
                delivery=row.delivery or None,
                opted_out=row.id in out,
            )
            for row in part
        ]
    for (state, delivery), n in Counter((row.state, row.delivery) for row in rows).items():
        counts.remove(batch_id, state, delivery, n)
        counts.add(batch_id, State.SENDING, delivery, n)
    return claimed


def record(
    connection: sa.Connection,
    batch_id: str,
    wanted: Mapping[int, Settlement],
    counts: Counts,
    *,
    now: datetime,
    retry_after_s: float | None = None,
) -> int:
    """Settle rows. See :meth:`airflow_provider_mm7.store.claims.Claims.settle`.

    :param wanted: settlements by submission id.
    :return: how many rows changed.
    """
    answers = _Answers(batch_id, wanted, {key: message_id_of(settlement) for key, settlement in wanted.items()}, now)
    lock_messages(connection, filter(None, answers.names.values()))
    accepted = _accept(connection, answers, counts)
    if accepted == len(wanted):
        return accepted
    # What was accepted by now is looked at once more, and stays as it is.
    return accepted + _move(connection, answers, counts, retry_after_s)


class _Answers(NamedTuple):
    """Settlements of a batch by submission id, with the MessageIDs that are stored."""

    batch_id: str
    wanted: Mapping[int, Settlement]
    names: Mapping[int, str | None]
    now: datetime


def _accept(connection: sa.Connection, answers: _Answers, counts: Counts) -> int:
    """Settle what was accepted, of rows that nobody touched since they were claimed; tell how many there were."""
    batch_id, wanted, names, now = answers
    alike: dict[tuple[int | None, str | None], dict[int, str]] = {}
    for key, settlement in wanted.items():
        if settlement.state is State.ACCEPTED and names[key] is not None and settlement.transaction_id is not None:
            same = alike.setdefault((settlement.status_code, settlement.status_text), {})
            same[key] = clean(settlement.transaction_id)
    accepted = 0
    for (code, said), transactions in alike.items():
        for keys in chunks(transactions, CHUNK):
            accepted += _ACCEPT.run(
                connection,
                keys=keys,
                batch=batch_id,
                transactions={key: transactions[key] for key in keys},
                names={key: names[key] for key in keys},
                message_ids=[names[key] for key in keys],
                new_state=State.ACCEPTED,
                code=code,
                said=clean_or_none(said),
                due=DUE_NOW,
                now=now,
            )
    counts.remove(batch_id, State.SENDING, n=accepted)
    counts.add(batch_id, State.ACCEPTED, n=accepted)
    return accepted


def _move(connection: sa.Connection, answers: _Answers, counts: Counts, retry_after_s: float | None) -> int:
    """Look at each row, and settle those that the answers may move; tell how many there were."""
    batch_id, wanted, names, now = answers
    asked = [row for keys in chunks(sorted(wanted), CHUNK) for row in _ASKED.run(connection, keys=keys, batch=batch_id)]
    rows = [row for row in asked if _may_move(row, wanted[row.id])]
    if not rows:
        return 0
    # Most answers differ in their MessageIDs only.
    alike: dict[tuple[State, int | None, str | None, datetime], list[int]] = {}
    for row in rows:
        settlement = wanted[row.id]
        state, code = settlement.state, settlement.status_code
        alike.setdefault((state, code, settlement.status_text, _due(settlement, now, retry_after_s)), []).append(row.id)
        counts.remove(batch_id, row.state, row.delivery)
        counts.add(batch_id, state, row.delivery)
        if state is State.REFUSED:
            counts.refuse(batch_id, code)
    for (state, code, said, due), keys in alike.items():
        told = {"new_state": state, "code": code, "said": clean_or_none(said), "due": due, "now": now}
        nameless = [key for key in keys if names[key] is None]
        for part in chunks(nameless, CHUNK):
            _SETTLE_ALIKE.run(connection, keys=part, **told)
        for part in chunks((key for key in keys if names[key] is not None), CHUNK):
            _SETTLE_NAMED.run(connection, keys=part, names={key: names[key] for key in part}, **told)
    if any(row.early for row in asked):
        accepted = {names[row.id] for row in rows if wanted[row.id].state is State.ACCEPTED}
        match_early(connection, {name for name in accepted if name}, counts)
    return len(rows)


def message_id_of(settlement: Settlement) -> str | None:
    """MessageID as it is stored. An empty one matches nothing."""
    return identifier(settlement.message_id) if settlement.message_id else None


def count_move(counts: Counts, rows: Sequence[AnyRow], state: State) -> None:
    """Count rows that go to a state."""
    for row in rows:
        counts.remove(row.batch_id, row.state, row.delivery)
        counts.add(row.batch_id, state, row.delivery)


def _due(settlement: Settlement, now: datetime, retry_after_s: float | None) -> datetime:
    if settlement.state is not State.RETRY:
        return DUE_NOW
    wait_s = retry_after_s if settlement.retry_after_s is None else settlement.retry_after_s
    return NOT_BY_ITSELF if wait_s is None else now + timedelta(seconds=wait_s)


def _may_move(row: _Asked, settlement: Settlement) -> bool:
    if settlement.transaction_id is not None and row.transaction_id != clean(settlement.transaction_id):
        return False
    if row.state in _FROM.get(settlement.state, frozenset()):
        return True
    named = settlement.transaction_id is not None and settlement.state is State.ACCEPTED
    return named and row.state in _GIVEN_BACK


@cache
def _add_owner(dialect: str) -> sa.Insert:
    # Not an update: the claims of one process would wait for each other's commits.
    return insert_into(dialect, owner).on_conflict_do_nothing()
