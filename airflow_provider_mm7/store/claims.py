"""Claims and settlements: who is sending what, and what became of it.

Nothing is POSTed that is not committed here as ``sending`` first, with its TransactionID and its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, Base, chunks
from airflow_provider_mm7.store.batches import as_submission
from airflow_provider_mm7.store.counts import Counts, insert_into
from airflow_provider_mm7.store.matching import lock_messages, match_early
from airflow_provider_mm7.store.tables import CLAIMABLE, DUE_NOW, NOT_BY_ITSELF, SENDING, owner, submission
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import Owner, Settlement, State, Submission

#: From which states an answer may move a row. `accepted` has no way out; what was answered is not unknown any more.
_ANSWERED = (State.ACCEPTED, State.REFUSED, State.RETRY, State.SUPPRESSED)
_FROM: dict[State, frozenset[State]] = {
    **dict.fromkeys(_ANSWERED, frozenset({State.SENDING, State.UNKNOWN})),
    State.UNKNOWN: frozenset({State.SENDING}),
    State.PLANNED: frozenset({State.SENDING}),
}

#: An acceptance that comes after the row was given back for sending still counts, if the row was not claimed since.
_GIVEN_BACK = frozenset({State.PLANNED, State.RETRY})


class Claims(Base):
    """Claiming rows for sending, and recording the answers."""

    def claim(
        self,
        batch_id: str,
        claimant: Owner,
        *,
        limit: int,
        lease_s: float,
        transaction_id: Callable[[], str],
        group: int = 1,
    ) -> list[Submission]:
        """Take rows for sending: planned ones, then retries that are due. Committed before it returns.

        Two claims never get the same row, in whatever thread, process or machine.

        :param limit: at most so many rows.
        :param lease_s: seconds after which the claim counts as abandoned when nobody can tell whether the owner lives.
        :param transaction_id: makes a new TransactionID.
        :param group: so many rows share one TransactionID, for one SubmitReq with several recipients.
        """

        def take(connection: sa.Connection) -> list[Submission]:
            now = self._clock()
            # SKIP LOCKED is PostgreSQL's; SQLite, which renders nothing here, has one writer at a time.
            query = (
                sa.select(submission)
                .where(submission.c.batch_id == batch_id, CLAIMABLE, submission.c.not_before <= now)
                .order_by(submission.c.not_before, submission.c.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            rows = connection.execute(query).all()
            if not rows:
                return []
            _remember(connection, claimant, now)
            changes = [
                {"key": row.id, "transaction": transaction, "attempt": row.attempts + 1}
                for part in chunks(rows, max(group, 1))
                for transaction in [clean(transaction_id())]
                for row in part
            ]
            connection.execute(
                sa.update(submission)
                .where(submission.c.id == sa.bindparam("key"))
                .values(
                    state=State.SENDING,
                    transaction_id=sa.bindparam("transaction"),
                    attempts=sa.bindparam("attempt"),
                    owner_token=claimant.token,
                    lease_until=now + timedelta(seconds=lease_s),
                    message_id=None,
                    status_code=None,
                    status_text=None,
                    updated_at=now,
                ),
                changes,
            )
            _count_move(connection, rows, State.SENDING)
            return [_claimed(row, change) for row, change in zip(rows, changes, strict=True)]

        return self._db.write(take)

    def next_due(self, batch_id: str) -> datetime | None:
        """When the next row can be claimed: the past when one can be now, None when none will be by itself."""
        query = sa.select(sa.func.min(submission.c.not_before)).where(
            submission.c.batch_id == batch_id, CLAIMABLE, submission.c.not_before < NOT_BY_ITSELF
        )
        due: datetime | None = self._db.read(lambda connection: connection.scalar(query))
        return due

    def extend_lease(self, batch_id: str, claimant: Owner, *, lease_s: float) -> int:
        """Say that the owner still works on what it holds.

        :return: rows it holds.
        """
        statement = (
            sa.update(submission)
            .where(submission.c.batch_id == batch_id, SENDING, submission.c.owner_token == claimant.token)
            .values(lease_until=self._clock() + timedelta(seconds=lease_s))
        )
        return self._db.write(lambda connection: connection.execute(statement).rowcount)

    def release(self, submission_ids: Iterable[int], claimant: Owner) -> int:
        """Give back rows that were claimed and surely not POSTed. The attempt does not count.

        :return: how many were given back.
        """
        ids = sorted(set(submission_ids))

        def give_back(connection: sa.Connection) -> int:
            chosen = (submission.c.id.in_(ids), SENDING, submission.c.owner_token == claimant.token)
            return self._move(connection, chosen, State.PLANNED, not_before=DUE_NOW, attempts=submission.c.attempts - 1)

        return self._db.write(give_back)

    def split(
        self, batch_id: str, group: Sequence[Submission], *, transaction_id: Callable[[], str]
    ) -> list[Submission]:
        """Give each row of a refused group a TransactionID of its own, to be sent singly. Committed before it returns.

        :return: the rows, those that are still held under the group's TransactionID.
        """
        ids = sorted(submission.id for submission in group)
        shared = {submission.transaction_id for submission in group}

        def part(connection: sa.Connection) -> list[Submission]:
            query = (
                sa.select(submission)
                .where(submission.c.batch_id == batch_id, submission.c.id.in_(ids), SENDING)
                .order_by(submission.c.id)
            )
            held = [
                row for row in connection.execute(query.with_for_update(key_share=True)) if row.transaction_id in shared
            ]
            if held:
                connection.execute(
                    sa.update(submission)
                    .where(submission.c.id == sa.bindparam("key"))
                    .values(transaction_id=sa.bindparam("transaction"), updated_at=self._clock()),
                    [{"key": row.id, "transaction": clean(transaction_id())} for row in held],
                )
            again = sa.select(submission).where(submission.c.id.in_([row.id for row in held]))
            return [as_submission(row) for row in connection.execute(again.order_by(submission.c.id))]

        return self._db.write(part)

    def settle(self, batch_id: str, settlements: Iterable[Settlement], *, retry_after_s: float | None = None) -> int:
        """Record what became of claimed rows, all in one commit. Safe to repeat after an error.

        Rows that are `accepted` already stay as they are; reports that came before the acceptance are applied.

        :param retry_after_s: seconds until a ``retry`` row that names no time of its own can be claimed; None: not
            before :meth:`requeue_retries`.
        :return: how many rows changed.
        """
        wanted = {settlement.submission_id: settlement for settlement in settlements}
        if not wanted:
            return 0

        def record(connection: sa.Connection) -> int:
            now = self._clock()
            lock_messages(connection, filter(None, (message_id_of(s) for s in wanted.values())))
            query = (
                sa.select(submission)
                .where(submission.c.id.in_(sorted(wanted)), submission.c.batch_id == batch_id)
                .order_by(submission.c.id)
            )
            rows = [
                row
                for row in connection.execute(query.with_for_update(key_share=True))
                if _may_move(row, wanted[row.id])
            ]
            if not rows:
                return 0
            connection.execute(_SETTLE, [_settled(row.id, wanted[row.id], now, retry_after_s) for row in rows])
            counts = Counts()
            for row in rows:
                counts.remove(row.batch_id, row.state, row.delivery)
                counts.add(row.batch_id, wanted[row.id].state, row.delivery)
            accepted = {message_id_of(wanted[row.id]) for row in rows if wanted[row.id].state is State.ACCEPTED}
            match_early(connection, {message_id for message_id in accepted if message_id}, counts)
            counts.apply(connection)
            return len(rows)

        return self._db.write(record)

    def settle_abandoned(self, batch_id: str, *, is_alive: Callable[[Owner], bool | None]) -> int:
        """Turn what dead owners were sending into `unknown`.

        :param is_alive: False: surely dead; True: surely alive; None: cannot be told (another machine), and then the
            end of the lease decides.
        :return: rows turned.
        """
        dead, doubtful = [], []
        for token, known in self._owners(batch_id):
            verdict = None if known is None else is_alive(known)
            if verdict is None:
                doubtful.append(token)
            elif not verdict:
                dead.append(token)
        if not dead and not doubtful:
            return 0

        def give_up(connection: sa.Connection) -> int:
            over = sa.or_(submission.c.lease_until.is_(None), submission.c.lease_until < self._clock())
            chosen = (
                submission.c.batch_id == batch_id,
                SENDING,
                sa.or_(
                    submission.c.owner_token.in_(dead),
                    sa.and_(submission.c.owner_token.in_(doubtful), over),
                ),
            )
            return self._move(connection, chosen, State.UNKNOWN)

        return self._db.write(give_up)

    def requeue_retries(self, batch_id: str) -> int:
        """Let every `retry` row be claimed now.

        :return: such rows.
        """
        statement = (
            sa.update(submission)
            .where(submission.c.batch_id == batch_id, CLAIMABLE, submission.c.not_before > DUE_NOW)
            .values(not_before=DUE_NOW)
        )
        return self._db.write(lambda connection: connection.execute(statement).rowcount)

    def requeue_unknown(self, batch_id: str) -> int:
        """Plan the `unknown` rows anew (``on_unknown="resend"``): some of them may be received twice.

        :return: rows planned.
        """
        chosen = (submission.c.batch_id == batch_id, submission.c.state == State.UNKNOWN)
        total = 0
        while moved := self._db.write(
            lambda connection: self._move(connection, chosen, State.PLANNED, limit=CHUNK, not_before=DUE_NOW)
        ):
            total += moved
        return total

    def _owners(self, batch_id: str) -> list[tuple[str, Owner | None]]:
        query = (
            sa.select(submission.c.owner_token, owner)
            .select_from(submission.outerjoin(owner, owner.c.token == submission.c.owner_token))
            .where(submission.c.batch_id == batch_id, SENDING)
            .distinct()
        )
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return [
            (
                row.owner_token,
                None if row.token is None else Owner(token=row.token, host=row.host, pid=row.pid, started=row.started),
            )
            for row in rows
        ]

    def _move(
        self,
        connection: sa.Connection,
        chosen: Sequence[sa.ColumnElement[bool] | sa.TextClause],
        state: State,
        *,
        limit: int | None = None,
        **values: object,
    ) -> int:
        query = sa.select(submission.c.id, submission.c.batch_id, submission.c.state, submission.c.delivery)
        query = query.where(*chosen).order_by(submission.c.id).limit(limit).with_for_update(key_share=True)
        rows = connection.execute(query).all()
        for ids in chunks([row.id for row in rows], CHUNK):
            connection.execute(
                sa.update(submission)
                .where(submission.c.id.in_(ids))
                .values(state=state, owner_token=None, lease_until=None, updated_at=self._clock(), **values)
            )
        _count_move(connection, rows, state)
        return len(rows)


def _claimed(row: AnyRow, change: Mapping[str, Any]) -> Submission:
    """Say what a claimed row is now, without reading it again."""
    return Submission(
        id=row.id,
        batch_id=row.batch_id,
        row=row.row_no,
        recipient=row.recipient,
        state=State.SENDING,
        transaction_id=change["transaction"],
        attempts=change["attempt"],
        delivery=row.delivery or None,
    )


def message_id_of(settlement: Settlement) -> str | None:
    """MessageID as it is stored. An empty one matches nothing."""
    return identifier(settlement.message_id) if settlement.message_id else None


_SETTLE = (
    sa.update(submission)
    .where(submission.c.id == sa.bindparam("key"))
    .values(
        state=sa.bindparam("new_state"),
        message_id=sa.bindparam("message"),
        status_code=sa.bindparam("code"),
        status_text=sa.bindparam("said"),
        not_before=sa.bindparam("due"),
        updated_at=sa.bindparam("now"),
        owner_token=None,
        lease_until=None,
    )
)


def _settled(key: int, settlement: Settlement, now: datetime, retry_after_s: float | None) -> dict[str, object]:
    wait_s = retry_after_s if settlement.retry_after_s is None else settlement.retry_after_s
    due = DUE_NOW
    if settlement.state is State.RETRY:
        due = NOT_BY_ITSELF if wait_s is None else now + timedelta(seconds=wait_s)
    return {
        "key": key,
        "new_state": settlement.state,
        "message": message_id_of(settlement),
        "code": settlement.status_code,
        "said": clean_or_none(settlement.status_text),
        "due": due,
        "now": now,
    }


def _may_move(row: AnyRow, settlement: Settlement) -> bool:
    if settlement.transaction_id is not None and row.transaction_id != clean(settlement.transaction_id):
        return False
    if row.state in _FROM.get(settlement.state, frozenset()):
        return True
    named = settlement.transaction_id is not None and settlement.state is State.ACCEPTED
    return named and row.state in _GIVEN_BACK


def _remember(connection: sa.Connection, claimant: Owner, now: datetime) -> None:
    statement = insert_into(connection.dialect.name, owner).values(
        token=claimant.token, host=claimant.host, pid=claimant.pid, started=claimant.started, claimed_at=now
    )
    # Not an update: the claims of one process would wait for each other's commits.
    connection.execute(statement.on_conflict_do_nothing())


def _count_move(connection: sa.Connection, rows: Sequence[AnyRow], state: State) -> None:
    counts = Counts()
    for row in rows:
        counts.remove(row.batch_id, row.state, row.delivery)
        counts.add(row.batch_id, state, row.delivery)
    counts.apply(connection)
