"""Questions of those who wait for reports, asked for all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from airflow_provider_mm7.store.base import IN_LIST, AnyRow, Base, chunks
from airflow_provider_mm7.store.filters import InboundFilter, conditions
from airflow_provider_mm7.store.inbound import as_inbound
from airflow_provider_mm7.store.tables import HAS_MESSAGE_ID, NO_REPORT, inbound, report, submission
from airflow_provider_mm7.store.text import identifier
from airflow_provider_mm7.store.types import DeliverySummary, Inbound, ReportKind


class Waiting(Base):
    """What a poll for many waiting sensors needs beside :meth:`Reports.delivery_of_batches`."""

    def delivery_of_messages(self, message_ids: Iterable[str]) -> DeliverySummary:
        """Say what became of messages, also of those that were not sent through this store.

        Each id counts as accepted once, or once for each of its recipients when more of them are known.
        """
        return self.deliveries_of_messages([list(message_ids)])[0]

    def deliveries_of_messages(self, groups: Iterable[Collection[str]]) -> list[DeliverySummary]:
        """Say what became of several sets of messages, as :meth:`Reports.delivery_of_messages` does of one.

        Three queries for all of them (and three more for each further 10,000 ids).

        :param groups: sets of MessageIDs; an id may stand in many.
        :return: a summary for each, in their order.
        """
        wanted = [list(dict.fromkeys(identifier(message_id) for message_id in group)) for group in groups]
        ids = list(dict.fromkeys(message_id for group in wanted for message_id in group))
        sent: Counter[str] = Counter()
        heard: dict[str, Counter[str]] = {}
        read_by: dict[str, Counter[tuple[str, str]]] = {}

        def read(connection: sa.Connection) -> None:
            for part in chunks(ids, IN_LIST):
                accepted = sa.select(submission.c.message_id, sa.func.count()).where(
                    submission.c.message_id.in_(part), HAS_MESSAGE_ID
                )
                for message_id, n in connection.execute(accepted.group_by(submission.c.message_id)):
                    sent[message_id] = n
                reported = sa.select(report.c.message_id, report.c.mm_status, sa.func.count()).where(
                    report.c.message_id.in_(part), report.c.kind == ReportKind.DELIVERY
                )
                for message_id, status, n in connection.execute(
                    reported.group_by(report.c.message_id, report.c.mm_status)
                ):
                    heard.setdefault(message_id, Counter())[status] = n
                for message_id, delivery, read_status, n in connection.execute(_read_replies(part)):
                    read_by.setdefault(message_id, Counter())[delivery or NO_REPORT, read_status] = n

        self._db.read(read)
        return [_sum_up(group, sent, heard, read_by) for group in wanted]

    def newest_inbound_id(self) -> int:
        """Give the id of the latest message from a handset, 0 when there is none."""
        return self._db.read(lambda connection: connection.scalar(sa.select(sa.func.max(inbound.c.id)))) or 0

    def first_inbound(
        self,
        wanted: InboundFilter,
        *,
        senders: Sequence[str] = (),
        linked_ids: Sequence[str] = (),
        after_id: int = 0,
    ) -> Inbound | None:
        """Give the first message from a handset that fits, if there is one. Claims nothing.

        :param senders: one of these numbers, as :class:`InboundFilter` keeps them; empty: any.
        :param linked_ids: an answer to one of these MessageIDs; empty: any.
        :param after_id: only among those with a higher id.
        """
        chosen = [inbound.c.id > after_id, *conditions(wanted)]
        few = IN_LIST // 2
        parts = [
            [
                *chosen,
                *([inbound.c.sender_key.in_(some)] if some else []),
                *([inbound.c.linked_id.in_(ids)] if ids else []),
            ]
            for some in list(chunks(senders, few)) or [[]]
            for ids in list(chunks(linked_ids, few)) or [[]]
        ]

        def read(connection: sa.Connection) -> list[AnyRow]:
            queries = [sa.select(inbound).where(*where).order_by(inbound.c.id).limit(1) for where in parts]
            return [row for query in queries for row in connection.execute(query)]

        found = self._db.read(read)
        return as_inbound(min(found, key=lambda row: row.id)) if found else None

    def last_changes(self, batch_ids: Iterable[str]) -> dict[str, datetime]:
        """Say when a submission of each batch was last planned, claimed or settled; reports do not count.

        Reads all submissions of the batches: ask for those that are being sent only.
        """
        newest: dict[str, datetime] = {}

        def read(connection: sa.Connection) -> None:
            for part in chunks(dict.fromkeys(batch_ids), IN_LIST):
                query = sa.select(submission.c.batch_id, sa.func.max(submission.c.updated_at)).where(
                    submission.c.batch_id.in_(part)
                )
                newest.update((row[0], row[1]) for row in connection.execute(query.group_by(submission.c.batch_id)))

        self._db.read(read)
        return newest


def _read_replies(message_ids: Sequence[str]) -> sa.Select[Any]:
    """Count read replies, each with what became of the delivery to its recipient."""
    delivery = report.alias()
    same = (delivery.c.message_id == report.c.message_id) & (delivery.c.recipient_key == report.c.recipient_key)
    return (
        sa.select(report.c.message_id, delivery.c.mm_status, report.c.mm_status, sa.func.count())
        .select_from(report.outerjoin(delivery, same & (delivery.c.kind == ReportKind.DELIVERY)))
        .where(report.c.message_id.in_(message_ids), report.c.kind == ReportKind.READ)
        .group_by(report.c.message_id, delivery.c.mm_status, report.c.mm_status)
    )


def _sum_up(
    ids: Sequence[str],
    sent: Counter[str],
    heard: dict[str, Counter[str]],
    read_by: dict[str, Counter[tuple[str, str]]],
) -> DeliverySummary:
    by_status: Counter[str] = Counter()
    by_read: Counter[tuple[str, str]] = Counter()
    accepted = 0
    for message_id in ids:
        statuses = heard.get(message_id, Counter())
        replies = read_by.get(message_id, Counter())
        by_status.update(statuses)
        by_read.update(replies)
        accepted += max(1, sent[message_id], statuses.total(), replies.total())
    return DeliverySummary(
        batch_id=None, total=accepted, accepted=accepted, unsent=0, by_status=dict(by_status), by_read=dict(by_read)
    )
