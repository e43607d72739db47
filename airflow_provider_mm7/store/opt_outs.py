"""Opt-outs: kept by number and scope, changed in one order, asked for by those who send.

Each change has a number, and numbers of a scope are in the order of commits: whoever changes something holds the
scope's clock until it is committed. So a sender that asks for what came after a number misses nothing, and mostly reads
one row to learn that there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, Base, chunks
from airflow_provider_mm7.store.consent import OPTED_OUT_TEXT, Confirmation, OptOut, OptOutChange, OptOutNews
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.keys import address_key
from airflow_provider_mm7.store.moves import count_move
from airflow_provider_mm7.store.tables import DUE_NOW, opt_out, opt_out_clock, submission
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import State

#: A row of ``mm7_opt_out`` as it will be.
_Row = dict[str, Any]

_CLOCK: Final = sa.select(opt_out_clock.c.change_no).where(opt_out_clock.c.scope == sa.bindparam("asked"))
_NEWS: Final = sa.select(opt_out.c.number_key, opt_out.c.opted_out).where(
    opt_out.c.scope == sa.bindparam("asked"),
    opt_out.c.change_no > sa.bindparam("after"),
    # Not the whole of an import that runs beside a batch.
    sa.exists().where(
        submission.c.batch_id == sa.bindparam("batch"), submission.c.recipient_key == opt_out.c.number_key
    ),
)


class OptOuts(Base):
    """Recording and reading who wants no messages, and keeping batches from being sent to them."""

    def record_opt_outs(self, changes: Iterable[OptOutChange]) -> int:
        """Record what was said, in its order.

        :param changes: consumed in chunks, each committed for itself; recording again changes nothing.
        :return: numbers that went out or came back.
        """

        def work(connection: sa.Connection, chunk: Sequence[OptOutChange]) -> int:
            return record_changes(connection, chunk, now=partial(self._now, connection))

        return sum(self._db.write(partial(work, chunk=chunk)) for chunk in chunks(changes, CHUNK))

    def find_opt_out(self, scope: str, number: str) -> OptOut | None:
        """Give what stands for a number, None when it never said anything."""
        query = sa.select(opt_out).where(opt_out.c.scope == scope, opt_out.c.number_key == address_key(number))
        row = self._db.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else as_opt_out(row)

    def opt_outs(
        self, scope: str | None = None, *, after: OptOut | None = None, returned: bool = False, limit: int = 1000
    ) -> list[OptOut]:
        """Give opt-outs in the order of scopes and numbers.

        :param scope: only its.
        :param after: the last one of the page before.
        :param returned: those who came back, too.
        """
        columns = (opt_out.c.scope, opt_out.c.number_key)
        query = sa.select(opt_out).order_by(*columns).limit(limit)
        if scope is not None:
            query = query.where(opt_out.c.scope == scope)
        if not returned:
            query = query.where(opt_out.c.opted_out)
        if after is not None:
            place = sa.tuple_(sa.literal(after.scope, sa.Text), sa.literal(address_key(after.number), sa.Text))
            query = query.where(sa.tuple_(*columns) > place)
        return self._db.read(lambda connection: [as_opt_out(row) for row in connection.execute(query)])

    def opt_out_clock(self, scope: str) -> int:
        """Give the number of a scope's last change; 0 when nobody ever opted out there."""
        found: int | None = self._db.read(lambda connection: connection.scalar(_CLOCK, {"asked": scope}))
        return found or 0

    def opt_out_news(self, scope: str, batch_id: str, after: int) -> OptOutNews:
        """Say what changed for the numbers of a batch after a change.

        :param after: the last change that is known; see :class:`OptOutNews`.
        """

        def read(connection: sa.Connection) -> OptOutNews:
            last = connection.scalar(_CLOCK, {"asked": scope}) or 0
            if last == after:
                return OptOutNews(change_no=after)
            # What is committed between the two statements is told of twice, never left out.
            rows = connection.execute(_NEWS, {"asked": scope, "after": after, "batch": batch_id}).all()
            return OptOutNews(
                change_no=last,
                out=frozenset(row.number_key for row in rows if row.opted_out),
                back=frozenset(row.number_key for row in rows if not row.opted_out),
            )

        return self._db.read(read)

    def suppress_opted_out(self, batch_id: str, scope: str, *, unknown: bool = False) -> int:
        """Take out of a batch what is not sent and whose recipient wants no messages. It never comes back.

        :param unknown: also what may have been accepted, which would be sent again otherwise.
        :return: submissions taken out.
        """
        if not self.opt_out_clock(scope):
            return 0
        states = [State.PLANNED, State.RETRY, *([State.UNKNOWN] if unknown else [])]
        page = partial(_suppress, batch_id=batch_id, scope=scope, states=states, now=self._clock())
        total, after_id = 0, 0
        while True:
            ids = self._db.write(partial(page, after_id=after_id))
            total += len(ids)
            if len(ids) < CHUNK:
                return total
            after_id = ids[-1]

    def due_confirmations(self, *, since: datetime, limit: int = 100) -> list[OptOut]:
        """Give opt-outs whose confirmation is to be sent, the oldest first; what is older than a time expires.

        :param since: aware.
        """
        due = opt_out.c.confirmation == Confirmation.DUE
        query = sa.select(opt_out).where(due).order_by(opt_out.c.changed_at).limit(limit)
        rows = self._db.read(lambda connection: connection.execute(query).all())
        if any(row.changed_at < since for row in rows):
            old = sa.update(opt_out).where(due, opt_out.c.changed_at < since)
            self._db.write(lambda connection: connection.execute(old.values(confirmation=Confirmation.EXPIRED)))
        return [as_opt_out(row) for row in rows if row.changed_at >= since]

    def settle_confirmation(self, confirmed: OptOut, confirmation: Confirmation | None) -> bool:
        """Say what became of a confirmation; None: none is wanted.

        :return: whether the opt-out still stands as it was.
        """
        statement = (
            sa.update(opt_out)
            .where(
                opt_out.c.scope == confirmed.scope,
                opt_out.c.number_key == address_key(confirmed.number),
                opt_out.c.change_no == confirmed.change_no,
            )
            .values(confirmation=confirmation)
        )
        return self._db.write(lambda connection: connection.execute(statement).rowcount) > 0


def record_changes(connection: sa.Connection, changes: Iterable[OptOutChange], *, now: Callable[[], datetime]) -> int:
    """Record what was said, as a part of a transaction.

    :param now: tells the time, by one clock for all who record.
    :return: numbers that went out or came back.
    """
    by_scope: dict[str, list[OptOutChange]] = {}
    for change in changes:
        by_scope.setdefault(identifier(change.scope), []).append(change)
    # In order, so that two transactions do not wait for each other's clocks crosswise.
    return sum(_record(connection, scope, by_scope[scope], now()) for scope in sorted(by_scope))


def _record(connection: sa.Connection, scope: str, changes: Sequence[OptOutChange], now: datetime) -> int:
    dialect = connection.dialect.name
    clock = insert_into(dialect, opt_out_clock).values(scope=scope, change_no=len(changes))
    connection.execute(
        clock.on_conflict_do_update(
            index_elements=["scope"], set_={"change_no": opt_out_clock.c.change_no + clock.excluded.change_no}
        )
    )
    last = connection.execute(_CLOCK, {"asked": scope}).scalar_one()
    keys = sorted({address_key(change.number) for change in changes})
    query = sa.select(opt_out).where(opt_out.c.scope == scope, opt_out.c.number_key.in_(keys))
    before: dict[str, _Row] = {row.number_key: dict(row._mapping) for row in connection.execute(query)}
    standing = dict(before)
    touched: dict[str, _Row] = {}
    for change_no, change in enumerate(changes, last - len(changes) + 1):
        key = address_key(change.number)
        after = _heed(standing.get(key), change, now)
        if after is not None:
            if "change_no" not in after:
                after |= {"scope": scope, "number_key": key, "changed_at": now, "change_no": change_no}
            standing[key] = touched[key] = after
    if touched:
        insert = insert_into(dialect, opt_out)
        names = [column.name for column in opt_out.columns if not column.primary_key]
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["scope", "number_key"], set_={name: insert.excluded[name] for name in names}
            ),
            list(touched.values()),
        )
    return sum((key in before and before[key]["opted_out"]) != row["opted_out"] for key, row in touched.items())


def _heed(before: _Row | None, change: OptOutChange, now: datetime) -> _Row | None:
    """Return what stands after a change; None: what stood before.

    The last word counts, in the order in which words come in. One exception: messages that were turned away come
    again later, and a word of return that was said before the opt-out must not undo it. The other way round an opt-out
    that comes late counts: who is asked twice is annoyed, who is written to against their will is wronged.
    """
    # A peer's clock may be ahead of ours; what it says must not outlast what is said next.
    said_at = min(change.said_at, now) if change.said_at is not None else None
    if before is None or not before["opted_out"]:
        if not change.opted_out:
            return None
    else:
        earlier = said_at is not None and before["said_at"] is not None and said_at < before["said_at"]
        if change.opted_out:
            return None if said_at is None or earlier else {**before, "said_at": said_at}
        if earlier:
            return None
    return {
        "number": clean(change.number),
        "opted_out": change.opted_out,
        "source": change.source,
        "keyword": clean_or_none(change.keyword),
        "conn_id": clean_or_none(change.conn_id),
        "said_at": said_at,
        "confirmation": Confirmation.DUE if change.opted_out and change.confirm else None,
    }


def _suppress(
    connection: sa.Connection, *, batch_id: str, scope: str, states: Sequence[State], after_id: int, now: datetime
) -> list[int]:
    out = sa.exists().where(
        opt_out.c.scope == scope, opt_out.c.number_key == submission.c.recipient_key, opt_out.c.opted_out
    )
    query = (
        sa.select(*(submission.c[name] for name in ("id", "batch_id", "state", "delivery")))
        .where(submission.c.batch_id == batch_id, submission.c.id > after_id, submission.c.state.in_(states), out)
        .order_by(submission.c.id)
        .limit(CHUNK)
        .with_for_update(key_share=True)
    )
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    if ids:
        connection.execute(
            sa.update(submission)
            .where(submission.c.id.in_(ids))
            .values(
                state=State.SUPPRESSED,
                status_code=None,
                status_text=OPTED_OUT_TEXT,
                not_before=DUE_NOW,
                updated_at=now,
            )
        )
        counts = Counts()
        count_move(counts, rows, State.SUPPRESSED)
        counts.apply(connection)
    return ids


def as_opt_out(row: AnyRow) -> OptOut:
    """Make a value of a row of ``mm7_opt_out``."""
    return OptOut(**{name: value for name, value in row._mapping.items() if name != "number_key"})
