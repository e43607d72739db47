"""What claims and settlements do to rows, as parts of a transaction.

Sending writes every row twice, so this is where the ledger costs: few statements for many rows, each written once at
import, and of a row only the columns that are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, chunks
from airflow_provider_mm7.store.counts import Counts, insert_into
from airflow_provider_mm7.store.matching import lock_messages, match_early
from airflow_provider_mm7.store.tables import CLAIMABLE, DUE_NOW, NOT_BY_ITSELF, opt_out, owner, submission
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

_KEYS: Final[sa.BindParameter[Any]] = sa.bindparam("keys", expanding=True)

# SKIP LOCKED is PostgreSQL's; SQLite, which renders nothing here, has one writer at a time.
_CLAIMABLE: Final = (
    sa.select(*(submission.c[name] for name in ("id", "row_no", "recipient", "state", "attempts", "delivery")))
    .where(submission.c.batch_id == sa.bindparam("batch"), CLAIMABLE, submission.c.not_before <= sa.bindparam("now"))
    .order_by(submission.c.not_before, submission.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_CLAIM: Final = (
    sa.update(submission)
    .where(submission.c.id.in_(_KEYS))
    .values(
        state=State.SENDING,
        attempts=submission.c.attempts + 1,
        owner_token=sa.bindparam("token"),
        lease_until=sa.bindparam("until"),
        message_id=None,
        status_code=None,
        status_text=None,
        updated_at=sa.bindparam("now"),
    )
)
_ALONE: Final = sa.bindparam("transaction", type_=sa.Text) + sa.cast(submission.c.id, sa.Text)
_CLAIM_EACH: Final = _CLAIM.values(transaction_id=_ALONE)
_CLAIM_GROUP: Final = _CLAIM.values(transaction_id=sa.bindparam("transaction"))

_OPTED_OUT: Final = (
    sa.select(submission.c.id)
    .join(opt_out, opt_out.c.number_key == submission.c.recipient_key)
    .where(submission.c.id.in_(_KEYS), opt_out.c.scope == sa.bindparam("scope"), opt_out.c.opted_out)
)

_ASKED: Final = (
    sa.select(*(submission.c[name] for name in ("id", "state", "delivery", "transaction_id")))
    .where(submission.c.id.in_(_KEYS), submission.c.batch_id == sa.bindparam("batch"))
    .order_by(submission.c.id)
    .with_for_update(key_share=True)
)
_SETTLE: Final = (
    sa.update(submission)
    .where(submission.c.id.in_(_KEYS))
    .values(
        state=sa.bindparam("new_state"),
        message_id=None,
        status_code=sa.bindparam("code"),
        status_text=sa.bindparam("said"),
        not_before=sa.bindparam("due"),
        updated_at=sa.bindparam("now"),
        owner_token=None,
        lease_until=None,
    )
)
_NAME: Final = (
    sa.update(submission).where(submission.c.id == sa.bindparam("key")).values(message_id=sa.bindparam("message"))
)


def take(
    connection: sa.Connection,
    batch_id: str,
    claimant: Owner,
    counts: Counts,
    *,
    limit: int,
    lease_until: datetime,
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
    rows = connection.execute(_CLAIMABLE, {"batch": batch_id, "now": now, "most": limit}).all() if limit > 0 else []
    if not rows:
        return []
    if remember:
        known = {"host": claimant.host, "pid": claimant.pid, "started": claimant.started, "claimed_at": now}
        connection.execute(_add_owner(connection.dialect.name), {"token": claimant.token, **known})
    prefix = f"{clean(transaction_id())}-"
    common = {"token": claimant.token, "until": lease_until, "now": now}
    parts = chunks(rows, CHUNK if group <= 1 else group)
    claimed = []
    for part in parts:
        keys = [row.id for row in part]
        out = set(connection.scalars(_OPTED_OUT, {"keys": keys, "scope": scope})) if scope is not None else ()
        shared = None if group <= 1 else f"{prefix}{keys[0]}"
        connection.execute(
            _CLAIM_EACH if shared is None else _CLAIM_GROUP, {"keys": keys, "transaction": shared or prefix, **common}
        )
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
    for row in rows:
        counts.remove(batch_id, row.state, row.delivery)
        counts.add(batch_id, State.SENDING, row.delivery)
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
    lock_messages(connection, filter(None, (message_id_of(settlement) for settlement in wanted.values())))
    rows = [
        row
        for keys in chunks(sorted(wanted), CHUNK)
        for row in connection.execute(_ASKED, {"keys": keys, "batch": batch_id})
        if _may_move(row, wanted[row.id])
    ]
    if not rows:
        return 0
    # Most answers differ in their MessageIDs only.
    alike: dict[tuple[State, int | None, str | None, datetime], list[int]] = {}
    named = []
    for row in rows:
        settlement = wanted[row.id]
        code, said, due = settlement.status_code, settlement.status_text, _due(settlement, now, retry_after_s)
        alike.setdefault((settlement.state, code, said, due), []).append(row.id)
        if (message_id := message_id_of(settlement)) is not None:
            named.append({"key": row.id, "message": message_id})
        counts.remove(batch_id, row.state, row.delivery)
        counts.add(batch_id, settlement.state, row.delivery)
        if settlement.state is State.REFUSED:
            counts.refuse(batch_id, code)
    for (state, code, said, due), keys in alike.items():
        told = {"new_state": state, "code": code, "said": clean_or_none(said), "due": due, "now": now}
        for part in chunks(keys, CHUNK):
            connection.execute(_SETTLE, {"keys": part, **told})
    if named:
        connection.execute(_NAME, named)
    accepted = {message_id_of(wanted[row.id]) for row in rows if wanted[row.id].state is State.ACCEPTED}
    match_early(connection, {message_id for message_id in accepted if message_id}, counts)
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


def _may_move(row: AnyRow, settlement: Settlement) -> bool:
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
