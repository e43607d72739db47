"""Delivery reports and read replies: stored once, never lost, and summed up for those who wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.protocol.addresses import number_key
from airflow_provider_mm7.store.base import IN_LIST, AnyRow, Base, chunks
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.matching import Board, ReportRow, lock_messages
from airflow_provider_mm7.store.prepared import Prepared, PreparedInsert, among
from airflow_provider_mm7.store.tables import NO_REPORT, batch, batch_count, read_count, report, report_event
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import DeliverySummary, NewReport, Report, ReportKind, State

_NO_TEXT = sa.cast(sa.null(), sa.Text)
_UNSENT = frozenset({State.PLANNED, State.RETRY, State.SENDING})


_KNOWN: Final = Prepared(
    lambda dialect: sa.select(report_event.c.digest).where(among(report_event.c.digest, "digests", dialect))
)
#: What of a report is kept beside its digest.
_EVENT_COLUMNS: Final = tuple(column.name for column in report_event.columns if column.name not in {"id", "digest"})
_event: Final = attrgetter(*_EVENT_COLUMNS)
_HEARD: Final = PreparedInsert(report_event, ("digest", *_EVENT_COLUMNS), unless=("digest",))


class _SomeAreKnown(Exception):
    """Not all reports that were taken for new are new."""


class Reports(Base):
    """Storing reports, and asking what became of messages."""

    def add_reports(self, reports: Sequence[NewReport]) -> list[bool]:
        """Store reports in one commit.

        :return: for each, whether it is new; False for a repeat of one that is stored.
        :raises StoreUnavailable: nothing was stored.
        :raises StoreError: some cannot be stored; all others are. ``results`` holds a bool for each that is, else None.
        """
        now = self._clock()
        rows = [_row(new, now) for new in reports]
        try:
            return self._add(rows)
        except StoreUnavailable:
            raise
        except StoreError as error:
            if len(rows) == 1:
                raise
            return self._one_by_one(rows, error)

    def _one_by_one(self, rows: list[ReportRow], error: StoreError) -> list[bool]:
        results: list[bool | None] = []
        for row in rows:
            try:
                results += self._add([row])
            except StoreUnavailable:
                raise
            except StoreError:
                results.append(None)
        stored = [result for result in results if result is not None]
        if len(stored) == len(rows):
            return stored
        raise StoreError(f"{len(rows) - len(stored)} of {len(rows)} reports: {error}", results=tuple(results))

    def _add(self, rows: list[ReportRow]) -> list[bool]:
        heard = [(_digest(row), row) for row in rows]
        try:
            return self._db.write(partial(self._store, heard, ask=False))
        except _SomeAreKnown:
            return self._db.write(partial(self._store, heard, ask=True))

    def _store(self, heard: list[tuple[str, ReportRow]], connection: sa.Connection, *, ask: bool) -> list[bool]:
        """Store what is new.

        :param heard: reports and their digests.
        :param ask: which of them are stored. Repeats are rare: otherwise all are taken for new.
        :raises _SomeAreKnown: they are not.
        """
        lock_messages(connection, {row.message_id for _, row in heard})
        digests = [digest for digest, _ in heard]
        known = {key for (key,) in _KNOWN.rows(connection, digests=digests)} if ask else set()
        results = []
        fresh: dict[str, ReportRow] = {}
        for digest, row in heard:
            results.append(digest not in known and digest not in fresh)
            if results[-1]:
                fresh[digest] = row
        if fresh:
            if _HEARD.run(connection, [(digest, *_event(row)) for digest, row in fresh.items()]) < len(fresh):
                raise _SomeAreKnown
            board = Board(connection, {row.message_id for row in fresh.values()})
            for row in fresh.values():
                board.put(row)
            counts = Counts()
            board.write(counts)
            counts.apply(connection, at=self._clock())
        return results

    def reports(
        self,
        *,
        batch_id: str | None = None,
        message_id: str | None = None,
        since: datetime | None = None,
        kind: ReportKind | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[Report]:
        """Give effective reports in the order in which their recipients were first heard of.

        :param since: received at or after (aware).
        :param after_id: id of the last row of the page before.
        """
        query = sa.select(report).where(report.c.id > after_id).order_by(report.c.id).limit(limit)
        if batch_id is not None:
            query = query.where(report.c.batch_id == batch_id)
        if message_id is not None:
            query = query.where(report.c.message_id == identifier(message_id))
        if since is not None:
            query = query.where(report.c.received_at >= since)
        if kind is not None:
            query = query.where(report.c.kind == kind)
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return [_report(row, row.batch_id) for row in rows]

    def report_history(self, message_id: str, recipient: str | None = None) -> list[Report]:
        """Give every distinct report on a message, in the order of their own dates.

        :param recipient: only those that name this number, as recipient or (reversed by some MMSCs) as sender.
        """
        query = sa.select(report_event).where(report_event.c.message_id == identifier(message_id))
        rows = self._db.read(lambda connection: connection.execute(query).all())
        found = [_report(row, None) for row in rows]
        if recipient is not None:
            key = number_key(recipient)
            found = [one for one in found if key in {_key(one.recipient), _key(one.sender)}]
        return sorted(found, key=lambda one: (one.date or one.received_at, one.id))

    def delivery_of_batches(self, batch_ids: Iterable[str]) -> dict[str, DeliverySummary]:
        """Say what became of batches: one query for all, a few rows of one index each.

        Batches that do not exist are left out.
        """
        wanted = list(dict.fromkeys(batch_ids))
        if not wanted:
            return {}

        def read(connection: sa.Connection) -> dict[str, DeliverySummary]:
            rows = [row for ids in chunks(wanted, IN_LIST) for row in connection.execute(_delivery_query(ids))]
            found: dict[str, list[tuple[str, str, int]]] = {}
            reads: dict[str, dict[tuple[str, str], int]] = {}
            for batch_id, state, delivery, read_status, n in rows:
                if read_status is not None:
                    reads.setdefault(batch_id, {}).update({(delivery, read_status): n} if n else {})
                else:
                    found.setdefault(batch_id, []).extend([(state, delivery, n)] if n else [])
            return {
                batch_id: _delivery(batch_id, counts, reads.get(batch_id, {})) for batch_id, counts in found.items()
            }

        return self._db.read(read)


def _delivery_query(batch_ids: Sequence[str]) -> sa.CompoundSelect[Any]:
    """Ask for the counts of batches; one row without a count for a batch that is empty.

    One statement, so that both counts are of one moment.
    """
    sent = (
        sa.select(batch.c.batch_id, batch_count.c.state, batch_count.c.delivery, _NO_TEXT, batch_count.c.n)
        .select_from(batch.outerjoin(batch_count))
        .where(batch.c.batch_id.in_(batch_ids))
    )
    columns = (read_count.c.batch_id, _NO_TEXT, read_count.c.delivery, read_count.c.read_status, read_count.c.n)
    return sa.union_all(sent, sa.select(*columns).where(read_count.c.batch_id.in_(batch_ids)))


def _row(new: NewReport, now: datetime) -> ReportRow:
    return ReportRow(
        kind=new.kind,
        conn_id=clean(new.conn_id),
        message_id=identifier(new.message_id),
        recipient_key=_key(new.recipient),
        recipient=clean_or_none(new.recipient),
        sender=clean_or_none(new.sender),
        sender_key=_key(new.sender),
        mm_status=clean(new.mm_status),
        mm_status_raw=clean_or_none(new.mm_status_raw),
        mm_status_extension=clean_or_none(new.mm_status_extension),
        status_text=clean_or_none(new.status_text),
        date=_utc(new.date),
        transaction_id=clean_or_none(new.transaction_id),
        received_at=now,
    )


def _key(address: str | None) -> str:
    return identifier(number_key(address)) if address else ""


def _utc(date: datetime | None) -> datetime | None:
    # Some MMSCs leave the zone out; a date that cannot be told in UTC is worth less than its report.
    if date is None:
        return None
    try:
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except OverflowError:
        return None


def _digest(row: ReportRow) -> str:
    date = row.date.isoformat() if row.date else ""
    # The sender too: an MMSC that reverses the two names the handset there.
    said = (*row.key, row.sender_key, row.mm_status, row.mm_status_raw or "", date)
    return sha256("\0".join(said).encode()).hexdigest()


def _report(row: AnyRow, batch_id: str | None) -> Report:
    return Report(
        id=row.id,
        kind=ReportKind(row.kind),
        message_id=row.message_id,
        recipient=row.recipient,
        sender=row.sender,
        mm_status=row.mm_status,
        mm_status_raw=row.mm_status_raw,
        mm_status_extension=row.mm_status_extension,
        date=row.date,
        batch_id=batch_id,
        conn_id=row.conn_id,
        status_text=row.status_text,
        transaction_id=row.transaction_id,
        received_at=row.received_at,
    )


def _delivery(batch_id: str, rows: list[tuple[str, str, int]], by_read: dict[tuple[str, str], int]) -> DeliverySummary:
    by_status = {delivery: n for state, delivery, n in rows if state == State.ACCEPTED and delivery != NO_REPORT and n}
    return DeliverySummary(
        batch_id=batch_id,
        total=sum(n for _, _, n in rows),
        accepted=sum(n for state, _, n in rows if state == State.ACCEPTED),
        unsent=sum(n for state, _, n in rows if state in _UNSENT),
        by_status=by_status,
        suppressed=sum(n for state, _, n in rows if state == State.SUPPRESSED),
        by_read=by_read,
    )
