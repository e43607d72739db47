"""Claims and settlements: who is sending what, and what became of it.

Nothing is POSTed that is not committed here as ``sending`` first, with its TransactionID and its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, Base, chunks
from airflow_provider_mm7.store.batches import as_submission
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.moves import count_move, record, take
from airflow_provider_mm7.store.tables import CLAIMABLE, DUE_NOW, NEXT_RUN, NOT_BY_ITSELF, SENDING, owner, submission
from airflow_provider_mm7.store.text import clean
from airflow_provider_mm7.store.types import Owner, Settlement, State, Submission


class Claims(Base):
    """Claiming rows for sending, and recording the answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Tokens of owners that are committed: one for each run of this process.
        self._remembered: set[str] = set()

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
        :param transaction_id: makes the part of a TransactionID that is new with each claim; the id of the row, or of
            the first one of a group, follows it.
        :param group: so many rows share one TransactionID, for one SubmitReq with several recipients.
        """
        return self.turn(batch_id, claimant, limit=limit, lease_s=lease_s, transaction_id=transaction_id, group=group)

    def turn(
        self,
        batch_id: str,
        claimant: Owner,
        *,
        settlements: Iterable[Settlement] = (),
        limit: int,
        lease_s: float,
        transaction_id: Callable[[], str],
        group: int = 1,
        scope: str | None = None,
    ) -> list[Submission]:
        """Settle what was answered and claim what is sent next, in one commit.

        An error may leave it open whether the commit took place. Settlements can be repeated then; claims that nobody
        was told of are given back with :meth:`release`.

        :param settlements: see :meth:`settle`.
        :param scope: whose opt-outs the claimed rows are marked by; whoever claims them settles them.
        :return: what was claimed; see :meth:`claim`.
        """
        wanted = {settlement.submission_id: settlement for settlement in settlements}

        def work(connection: sa.Connection) -> list[Submission]:
            now, counts = self._clock(), Counts()
            if wanted:
                record(connection, batch_id, wanted, counts, now=now)
            taken = take(
                connection,
                batch_id,
                claimant,
                counts,
                limit=limit,
                lease_s=lease_s,
                transaction_id=transaction_id,
                group=group,
                now=now,
                remember=claimant.token not in self._remembered,
                scope=scope,
            )
            counts.apply(connection, at=now)
            return taken

        taken = self._db.write(work)
        if taken:
            self._remembered.add(claimant.token)
        return taken

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

        def extend(connection: sa.Connection) -> int:
            until = self._now(connection) + timedelta(seconds=lease_s)
            held = (submission.c.batch_id == batch_id, SENDING, submission.c.owner_token == claimant.token)
            return connection.execute(sa.update(submission).where(*held).values(lease_until=until)).rowcount

        return self._db.write(extend)

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

        def work(connection: sa.Connection) -> int:
            now, counts = self._clock(), Counts()
            changed = record(connection, batch_id, wanted, counts, now=now, retry_after_s=retry_after_s)
            counts.apply(connection, at=now)
            return changed

        return self._db.write(work)

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
            over = sa.or_(submission.c.lease_until.is_(None), submission.c.lease_until < self._now(connection))
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
        """Let every `retry` row be claimed now, after what is planned.

        :return: such rows.
        """
        statement = (
            sa.update(submission)
            .where(submission.c.batch_id == batch_id, CLAIMABLE, submission.c.not_before > NEXT_RUN)
            .values(not_before=NEXT_RUN)
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
        counts = Counts()
        count_move(counts, rows, state)
        counts.apply(connection)
        return len(rows)
