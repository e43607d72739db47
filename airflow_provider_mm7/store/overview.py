"""What people look at: counts over many batches, and pages of batches, messages and inbound messages.

Whatever the size of the ledger, a page is a range of an index: pages go on from the last row of the one before (they
have no numbers), filters have indexes of their own, and counts are read from what is kept beside the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import merge
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from airflow_provider_mm7.protocol.addresses import number_key
from airflow_provider_mm7.store.base import AnyRow, Base
from airflow_provider_mm7.store.batches import as_batch, as_submission
from airflow_provider_mm7.store.consent import OptOut
from airflow_provider_mm7.store.counts import REFUSED_WITH
from airflow_provider_mm7.store.inbound import as_inbound
from airflow_provider_mm7.store.keys import address_key
from airflow_provider_mm7.store.opt_outs import as_opt_out
from airflow_provider_mm7.store.tables import (
    ACCEPTED,
    CLAIMABLE,
    DUE_NOW,
    HAS_MESSAGE_ID,
    PROBLEM,
    REFUSED,
    SENDING,
    batch,
    batch_count,
    batch_minute,
    inbound,
    opt_out,
    opt_out_clock,
    submission,
)
from airflow_provider_mm7.store.text import identifier
from airflow_provider_mm7.store.types import Batch, Inbound, State, Submission

T = TypeVar("T")

#: Batches that are summed up; of more, the newest. Keeps a view of a year of small batches quick.
MOST_BATCHES: Final = 20_000

#: Messages with one MessageID that are listed: recipients of one request.
_MOST_FOUND: Final = 100

#: State and delivery status of messages (empty without a report), and how many there are.
Counts = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which batches.

    :ivar visible: DAGs whose batches may be shown, with those of no DAG; None: all.
    :ivar since: made at or after (aware).
    """

    visible: frozenset[str] | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages of a batch.

    :ivar state: only in this one.
    :ivar deliveries: only accepted ones with one of these delivery statuses; an empty one stands for no report.
    :ivar status_code: only those that the MMSC refused with it.
    :ivar recipient: only to this number, however it is spelled.
    """

    state: State | None = None
    deliveries: tuple[str, ...] | None = None
    status_code: int | None = None
    recipient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A page of a list.

    :ivar before: whether there are items before these.
    :ivar after: whether there are items after these.
    """

    items: tuple[T, ...]
    before: bool = False
    after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch and the counts of its messages."""

    batch: Batch
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A submission as pages show it.

    :ivar updated_at: when it was planned, claimed or answered, whichever came last.
    """

    submission: Submission
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """Many batches summed up.

    :ivar batches: how many.
    :ivar more: whether there are older ones, which are not counted.
    :ivar news: (first minute of a span, what, count), in order: ``accepted``, ``refused CODE`` or a delivery status.
    :ivar width: minutes of a span.
    :ivar started_at: when the oldest of the batches was made.
    """

    batches: int = 0
    more: bool = False
    counts: Counts = field(default_factory=dict)
    news: tuple[tuple[int, str, int], ...] = ()
    width: int = 1
    started_at: datetime | None = None

    @property
    def refusals(self) -> dict[int | None, int]:
        """How many were refused with which status code."""
        found: dict[int | None, int] = {}
        for _, what, n in self.news:
            if what.startswith(REFUSED_WITH):
                code = what.removeprefix(REFUSED_WITH)
                key = int(code) if code else None
                found[key] = found.get(key, 0) + n
        return found


class Overview(Base):
    """Queries of pages."""

    def dag_ids(self) -> list[str]:
        """Give the DAGs that have batches, hopping from one to the next in an index."""
        first = sa.select(sa.func.min(batch.c.dag_id).label("dag_id")).cte("dags", recursive=True)
        following = sa.select(sa.func.min(batch.c.dag_id)).where(batch.c.dag_id > first.c.dag_id).scalar_subquery()
        dags = first.union_all(sa.select(following).where(first.c.dag_id.is_not(None)))
        query = sa.select(dags.c.dag_id).where(dags.c.dag_id.is_not(None))
        return self._db.read(lambda connection: list(connection.scalars(query)))

    def newest_batch(self, which: Which) -> Batch | None:
        """Give the batch that was made last."""
        found = self.batch_page(which, limit=1).items
        return found[0].batch if found else None

    def glance(self, which: Which, *, spans: Callable[[int, int], int]) -> Glance:
        """Sum batches up.

        :param spans: from the first and the last minute to the minutes that one point of the chart covers.
        """

        def read(connection: sa.Connection) -> Glance:
            columns = (batch.c.batch_id, batch.c.created_at)
            chosen = _newest(sa.select(*columns).where(*_where(which))).limit(MOST_BATCHES).subquery("chosen")
            facts = sa.select(sa.func.count(), sa.func.min(chosen.c.created_at)).select_from(chosen)
            batches, started_at = connection.execute(facts).one()
            if not batches:
                return Glance()
            mine = chosen.c.batch_id
            counts = connection.execute(
                sa.select(batch_count.c.state, batch_count.c.delivery, sa.func.sum(batch_count.c.n))
                .select_from(chosen)
                .join(batch_count, batch_count.c.batch_id == mine)
                .group_by(batch_count.c.state, batch_count.c.delivery)
            ).all()
            minute = batch_minute.c.minute
            joined = chosen.join(batch_minute, batch_minute.c.batch_id == mine)
            ends = sa.select(sa.func.min(minute), sa.func.max(minute)).select_from(joined)
            first, last = connection.execute(ends).one()
            width = 1 if first is None else spans(first, last)
            start = (minute - minute % width).label("start")
            news = connection.execute(
                sa.select(start, batch_minute.c.what, sa.func.sum(batch_minute.c.n))
                .select_from(joined)
                .group_by(start, batch_minute.c.what)
                .order_by(start, batch_minute.c.what)
            ).all()
            return Glance(
                batches=batches,
                more=batches == MOST_BATCHES,
                counts={(state, delivery): int(n) for state, delivery, n in counts if n},
                news=tuple((row[0], row[1], int(row[2])) for row in news if row[2]),
                width=width,
                started_at=started_at,
            )

        return self._db.read(read)

    def batch_glance(self, batch_id: str, *, spans: Callable[[int, int], int]) -> Glance:
        """Sum one batch up. See :meth:`glance`."""

        def read(connection: sa.Connection) -> Glance:
            made = connection.scalar(sa.select(batch.c.created_at).where(batch.c.batch_id == batch_id))
            if made is None:
                return Glance()
            minute = batch_minute.c.minute
            mine = batch_minute.c.batch_id == batch_id
            first = connection.scalar(sa.select(minute).where(mine).order_by(minute).limit(1))
            last = connection.scalar(sa.select(minute).where(mine).order_by(minute.desc()).limit(1))
            width = 1 if first is None or last is None else spans(first, last)
            start = (minute - minute % width).label("start")
            query = sa.select(start, batch_minute.c.what, sa.func.sum(batch_minute.c.n)).where(mine)
            query = query.group_by(start, batch_minute.c.what).order_by(start, batch_minute.c.what)
            return Glance(
                batches=1,
                counts=_counts_of(connection, [batch_id]).get(batch_id, {}),
                news=tuple((row[0], row[1], int(row[2])) for row in connection.execute(query) if row[2]),
                width=width,
                started_at=made,
            )

        return self._db.read(read)

    def batch_page(
        self, which: Which, *, limit: int, before: Batch | None = None, after: Batch | None = None
    ) -> Page[BatchView]:
        """Give batches, newest first.

        :param before: only those that come before this one in the list: newer ones.
        :param after: only those that come after it: older ones. Of both, none is asked for at once.
        """
        key = sa.tuple_(batch.c.created_at, batch.c.batch_id)
        query = sa.select(batch).where(*_where(which))
        if before is not None:
            query = query.where(key > _place(before)).order_by(batch.c.created_at, batch.c.batch_id)
        elif after is not None:
            query = _newest(query.where(key < _place(after)))
        else:
            query = _newest(query)

        def read(connection: sa.Connection) -> Page[BatchView]:
            rows = [as_batch(row) for row in connection.execute(query.limit(limit + 1))]
            page = _cut(rows, limit, backwards=before is not None, forwards=after is not None)
            counts = _counts_of(connection, [one.batch_id for one in page.items])
            views = tuple(BatchView(batch=one, counts=counts.get(one.batch_id, {})) for one in page.items)
            return Page(items=views, before=page.before, after=page.after)

        return self._db.read(read)

    def message_page(
        self,
        batch_id: str,
        wanted: Wanted | None = None,
        *,
        limit: int,
        before_id: int | None = None,
        after_id: int | None = None,
    ) -> Page[Message]:
        """Give messages of a batch in the order of their ids.

        :param before_id: only those with lower ids.
        :param after_id: only those with higher ids.
        """
        wanted = wanted or Wanted()
        if wanted.state is State.ACCEPTED and wanted.deliveries is None:
            known = self._db.read(lambda connection: _counts_of(connection, [batch_id])).get(batch_id, {})
            accepted = tuple(sorted(delivery for state, delivery in known if state == State.ACCEPTED))
            wanted = replace(wanted, deliveries=accepted)
        # Of one number there are few rows: they are looked up by it and sorted, not met on the way through all ids.
        order = submission.c.id if wanted.recipient is None else submission.c.id + 0
        queries = []
        for branch in _branches(wanted):
            query = sa.select(submission).where(submission.c.batch_id == batch_id, *branch)
            if before_id is not None:
                query = query.where(order < before_id).order_by(order.desc())
            else:
                query = query.where(order > (after_id or 0)).order_by(order)
            queries.append(query.limit(limit + 1))

        def read(connection: sa.Connection) -> list[Message]:
            found = [[_message(row) for row in connection.execute(query)] for query in queries]
            merged = merge(*found, key=lambda one: one.submission.id, reverse=before_id is not None)
            return list(merged)[: limit + 1]

        return _cut(self._db.read(read), limit, backwards=before_id is not None, forwards=after_id is not None)

    def message(self, batch_id: str, submission_id: int) -> Message | None:
        """Give one message."""
        query = sa.select(submission).where(submission.c.id == submission_id, submission.c.batch_id == batch_id)
        row = self._db.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _message(row)

    def messages_named(self, message_id: str) -> list[Message]:
        """Give the messages that an MMSC gave a MessageID: one for each recipient of its request."""
        query = sa.select(submission).where(submission.c.message_id == identifier(message_id), HAS_MESSAGE_ID)
        query = query.order_by(submission.c.id).limit(_MOST_FOUND)
        return self._db.read(lambda connection: [_message(row) for row in connection.execute(query)])

    def inbound_page(
        self,
        *,
        limit: int,
        sender: str | None = None,
        before_id: int | None = None,
        after_id: int | None = None,
    ) -> Page[Inbound]:
        """Give messages from handsets, newest first.

        :param sender: only from this number, however it is spelled.
        :param before_id: only those before this one in the list: with higher ids.
        :param after_id: only those after it: with lower ids.
        """
        query = sa.select(inbound)
        if sender is not None:
            query = query.where(inbound.c.sender_key == address_key(sender))
        if before_id is not None:
            query = query.where(inbound.c.id > before_id).order_by(inbound.c.id)
        else:
            query = query.order_by(inbound.c.id.desc())
            if after_id is not None:
                query = query.where(inbound.c.id < after_id)
        rows = self._db.read(lambda connection: connection.execute(query.limit(limit + 1)).all())
        items = [as_inbound(row) for row in rows]
        return _cut(items, limit, backwards=before_id is not None, forwards=after_id is not None)

    def opt_out_scopes(self) -> list[str]:
        """Give the scopes in which somebody ever opted out."""
        query = sa.select(opt_out_clock.c.scope).order_by(opt_out_clock.c.scope)
        return self._db.read(lambda connection: list(connection.scalars(query)))

    def opt_out_page(
        self, scope: str, *, limit: int, before_no: int | None = None, after_no: int | None = None
    ) -> Page[OptOut]:
        """Give who opted out, and who came back, the last change first.

        :param before_no: only changes before this one in the list: later ones.
        :param after_no: only changes after it: earlier ones.
        """
        query = sa.select(opt_out).where(opt_out.c.scope == scope)
        if before_no is not None:
            query = query.where(opt_out.c.change_no > before_no).order_by(opt_out.c.change_no)
        else:
            query = query.order_by(opt_out.c.change_no.desc())
            if after_no is not None:
                query = query.where(opt_out.c.change_no < after_no)
        rows = self._db.read(lambda connection: connection.execute(query.limit(limit + 1)).all())
        items = [as_opt_out(row) for row in rows]
        return _cut(items, limit, backwards=before_no is not None, forwards=after_no is not None)

    def inbound_message(self, inbound_id: int) -> Inbound | None:
        """Give one message from a handset."""
        query = sa.select(inbound).where(inbound.c.id == inbound_id)
        row = self._db.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else as_inbound(row)


def _where(which: Which) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    for column, value in (
        (batch.c.dag_id, which.dag_id),
        (batch.c.run_id, which.run_id),
        (batch.c.task_id, which.task_id),
    ):
        if value is not None:
            where.append(column == value)
    if which.visible is not None:
        where.append(sa.or_(batch.c.dag_id.is_(None), batch.c.dag_id.in_(sorted(which.visible))))
    if which.since is not None:
        where.append(batch.c.created_at >= which.since)
    return where


def _newest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(batch.c.created_at.desc(), batch.c.batch_id.desc())


def _place(one: Batch) -> sa.Tuple:
    return sa.tuple_(sa.literal(one.created_at, batch.c.created_at.type), sa.literal(one.batch_id, sa.Text))


def _cut(rows: Sequence[T], limit: int, *, backwards: bool, forwards: bool) -> Page[T]:
    """Make a page of one row more than it shows."""
    more, items = len(rows) > limit, tuple(rows[:limit])
    if backwards:
        return Page(items=items[::-1], before=more, after=True)
    return Page(items=items, before=forwards, after=more)


def _counts_of(connection: sa.Connection, batch_ids: Sequence[str]) -> dict[str, Counts]:
    columns = (batch_count.c.batch_id, batch_count.c.state, batch_count.c.delivery, batch_count.c.n)
    found: dict[str, Counts] = {}
    for batch_id, state, delivery, n in connection.execute(
        sa.select(*columns).where(batch_count.c.batch_id.in_(list(batch_ids)))
    ):
        if n:
            found.setdefault(batch_id, {})[state, delivery] = n
    return found


def _branches(wanted: Wanted) -> list[list[Any]]:
    """Split a filter into conditions that each are one range of one index, in the order of ids."""
    if wanted.recipient is not None:
        return [[submission.c.recipient_key == identifier(number_key(wanted.recipient))]]
    if wanted.deliveries is not None:
        return [[ACCEPTED, submission.c.delivery == delivery] for delivery in wanted.deliveries]
    if wanted.status_code is not None:
        return [[REFUSED, submission.c.status_code == wanted.status_code]]
    if wanted.state is State.PLANNED:
        return [[CLAIMABLE, submission.c.not_before == DUE_NOW, submission.c.state == State.PLANNED]]
    if wanted.state is State.SENDING:
        return [[SENDING]]
    if wanted.state in (State.REFUSED, State.RETRY, State.UNKNOWN, State.SUPPRESSED):
        return [[PROBLEM, submission.c.state == wanted.state]]
    return [[]]


def _message(row: AnyRow) -> Message:
    return Message(submission=as_submission(row), updated_at=row.updated_at)
