"""Which submission a report is about, and which report of a recipient is the effective one.

Whoever settles an acceptance and whoever stores a report lock the MessageID first. So one of them commits before the
other looks: a report never stays unmatched because both came at the same moment.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, NamedTuple

import sqlalchemy as sa

from airflow_provider_mm7.protocol.statuses import READ, MMStatus, Outcome, is_final
from airflow_provider_mm7.store.base import CHUNK, IN_LIST, AnyRow, chunks
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.database import lock_names
from airflow_provider_mm7.store.prepared import Prepared, PreparedInsert, PreparedQuery, among
from airflow_provider_mm7.store.tables import HAS_MESSAGE_ID, report, submission
from airflow_provider_mm7.store.types import ReportKind

#: MessageIDs share this many locks, so that a large group cannot exhaust PostgreSQL's lock table.
_LOCKS: Final = 1024


class ReportRow(NamedTuple):
    """A row of ``mm7_report``, or one that would become it: the fields are its columns but the id."""

    kind: str
    conn_id: str
    message_id: str
    recipient_key: str
    recipient: str | None
    sender: str | None
    sender_key: str
    mm_status: str
    mm_status_raw: str | None
    mm_status_extension: str | None
    status_text: str | None
    date: datetime | None
    transaction_id: str | None
    received_at: datetime
    batch_id: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one row of."""
        return self.kind, self.message_id, self.recipient_key

    @property
    def rank(self) -> tuple[bool, datetime, bool]:
        """The effective report is the one that ranks highest: final before interim, then the newest by its own date.

        Of two with one date, one that says what happened goes before one that does not. What was read once stays read,
        although it was deleted later.
        """
        status = MMStatus.parse(self.mm_status)
        settled = status.name == READ if self.kind == ReportKind.READ else is_final(status)
        return settled, self.date or self.received_at, status.outcome is not Outcome.AMBIGUOUS


@dataclass(slots=True)
class _Target:
    """A submission that has the MessageID."""

    message_id: str
    id: int
    batch_id: str
    state: str
    recipient_key: str
    delivery: str
    read_status: str | None


_SENT: Final = PreparedQuery(
    lambda dialect: (
        sa.select(*(submission.c[field.name] for field in fields(_Target)))
        .where(among(submission.c.message_id, "message_ids", dialect), HAS_MESSAGE_ID)
        .order_by(submission.c.id)
        .with_for_update(key_share=True)
    ),
    lambda row: _Target(*row),
)
#: Of most messages nothing was heard yet, and no row need be fetched.
_HEARD_OF: Final = Prepared(
    lambda dialect: sa.select(report.c.message_id).where(among(report.c.message_id, "message_ids", dialect))
)
_THESE: Final[sa.BindParameter[str]] = sa.bindparam("message_ids", expanding=True)
_HEARD: Final = sa.select(report.c.id, *(report.c[name] for name in ReportRow._fields)).where(
    report.c.message_id.in_(_THESE)
)
_FORGET: Final = sa.delete(report).where(report.c.id == sa.bindparam("key"))
_INSERT: Final = PreparedInsert(report, ReportRow._fields)
_UPDATE: Final = sa.update(report).where(report.c.id == sa.bindparam("key_id"))
_TOLD: Final = Prepared(
    lambda dialect: (
        sa.update(submission)
        .where(among(submission.c.id, "keys", dialect))
        .values(delivery=sa.bindparam("told"), read_status=sa.bindparam("read"))
    )
)


class Board:
    """The reports and submissions of some MessageIDs, while a transaction works on them."""

    def __init__(self, connection: sa.Connection, message_ids: Iterable[str]) -> None:
        self._connection = connection
        self._targets: dict[str, list[_Target]] = {}
        self._rows: dict[tuple[str, str, str], ReportRow] = {}
        self._ids: dict[tuple[str, str, str], int] = {}
        self._changed: set[tuple[str, str, str]] = set()
        #: targets that reports speak of, with their delivery and read status before.
        self._moved: dict[int, tuple[_Target, str, str | None]] = {}
        for part in chunks(sorted(set(message_ids)), IN_LIST):
            self._load(part)

    def put(self, arrived: ReportRow) -> None:
        """Take a report: match it, and keep the one that counts."""
        row, targets = self._placed(arrived)
        present = self._rows.get(row.key)
        # A later arrival wins among equals: the peer said it last.
        if present is None or row.rank >= present.rank:
            if present is not None and row.batch_id is None:
                row = row._replace(batch_id=present.batch_id)
            self._rows[row.key] = row
            self._changed.add(row.key)
        status = self._rows[row.key].mm_status
        for target in targets:
            self._moved.setdefault(target.id, (target, target.delivery, target.read_status))
            if row.kind == ReportKind.DELIVERY:
                target.delivery = status
            else:
                target.read_status = status

    def match(self) -> None:
        """Match reports that came before their submissions were accepted."""
        early = [row for row in self._rows.values() if row.batch_id is None and self._placed(row)[1]]
        # All leave their places first: one may go where another stood.
        for row in early:
            del self._rows[row.key]
            self._changed.add(row.key)
        for row in sorted(early, key=lambda row: (row.received_at, self._ids[row.key])):
            self.put(row)

    def write(self, counts: Counts) -> None:
        """Write what changed."""
        gone = [{"key": self._ids[key]} for key in self._changed if key in self._ids and key not in self._rows]
        if gone:
            self._connection.execute(_FORGET, gone)
        written = [key for key in sorted(self._changed) if key in self._rows]
        _INSERT.run(self._connection, [self._rows[key] for key in written if key not in self._ids])
        updates = [{"key_id": self._ids[key], **self._rows[key]._asdict()} for key in written if key in self._ids]
        if updates:
            self._connection.execute(_UPDATE, updates)
        moved = [
            (target, delivery, read_status)
            for target, delivery, read_status in self._moved.values()
            if (target.delivery, target.read_status) != (delivery, read_status)
        ]
        told: dict[tuple[str, str | None], list[int]] = {}
        for target, _, _ in moved:
            told.setdefault((target.delivery, target.read_status), []).append(target.id)
        for (delivered, read), ids in told.items():
            for part in chunks(ids, CHUNK):
                _TOLD.run(self._connection, keys=part, told=delivered, read=read)
        for target, delivery, read_status in moved:
            counts.remove(target.batch_id, target.state, delivery)
            counts.add(target.batch_id, target.state, target.delivery)
            counts.remove_read(target.batch_id, delivery, read_status)
            counts.add_read(target.batch_id, target.delivery, target.read_status)

    def _load(self, message_ids: list[str]) -> None:
        row: AnyRow
        for target in sorted(_SENT.run(self._connection, message_ids=message_ids), key=lambda one: one.id):
            self._targets.setdefault(target.message_id, []).append(target)
        heard_of = {key for (key,) in _HEARD_OF.rows(self._connection, message_ids=message_ids)}
        if not heard_of:
            return
        for row in self._connection.execute(_HEARD, {"message_ids": sorted(heard_of)}):
            known = ReportRow(*row[1:])
            self._rows[known.key], self._ids[known.key] = known, row.id

    def _placed(self, row: ReportRow) -> tuple[ReportRow, list[_Target]]:
        candidates = self._targets.get(row.message_id, [])
        targets = [target for target in candidates if row.recipient_key == target.recipient_key]
        if targets:
            return row._replace(batch_id=targets[0].batch_id), targets
        # One real MMSC says Recipient where it means Sender and the other way round.
        targets = [target for target in candidates if row.sender_key == target.recipient_key]
        if targets:
            swapped = row._replace(
                recipient=row.sender,
                recipient_key=row.sender_key,
                sender=row.recipient,
                sender_key=row.recipient_key,
                batch_id=targets[0].batch_id,
            )
            return swapped, targets
        if len(candidates) == 1:
            # The MessageID alone says it, however the MMSC writes the number.
            target = candidates[0]
            return row._replace(recipient_key=target.recipient_key, batch_id=target.batch_id), candidates
        return row, []


def lock_messages(connection: sa.Connection, message_ids: Iterable[str]) -> None:
    """Keep others from settling or reporting these MessageIDs until the transaction ends."""
    lock_names(connection, (zlib.crc32(message_id.encode()) % _LOCKS for message_id in message_ids))


_EARLY: Final = (
    sa.select(report.c.message_id).where(report.c.message_id.in_(_THESE), report.c.batch_id.is_(None)).distinct()
)


def match_early(connection: sa.Connection, message_ids: set[str], counts: Counts) -> None:
    """Apply reports that came before the acceptance. The MessageIDs must be locked."""
    if not message_ids:
        return
    found = set(connection.scalars(_EARLY, {"message_ids": sorted(message_ids)}))
    if found:
        board = Board(connection, found)
        board.match()
        board.write(counts)
