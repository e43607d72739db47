"""Forgetting: one batch, or all that is old. Bounded chunks, so that nobody waits long for a lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, Base
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.tables import (
    NOT_DONE,
    alert,
    aside,
    batch,
    batch_count,
    batch_minute,
    component,
    content,
    content_media,
    family_member,
    inbound,
    inbound_claim,
    owner,
    read_count,
    report,
    report_event,
    submission,
)
from airflow_provider_mm7.store.types import PruneCounts, State

#: Rows in these would be sent, or may have been: the batch is still needed.
_UNFINISHED = (State.PLANNED, State.RETRY, State.SENDING, State.UNKNOWN)


class Pruning(Base):
    """Deleting what is not needed any more."""

    def forget_batch(self, batch_id: str) -> bool:
        """Delete a batch with its reports, whatever state it is in. The same key would be sent anew after this.

        :return: whether there was such a batch.
        """
        return self._forget(batch_id, finished_only=False) is not None

    def prune(self, before: datetime, *, unfinished: bool = False) -> PruneCounts:
        """Delete batches opened before a date with their submissions and reports, and whatever else came in before it.

        A key whose batch is deleted would be sent anew: choose a date before every run that may be cleared.

        :param before: aware.
        :param unfinished: also batches with planned, sending or unknown rows, and messages from handsets that a
            consumer claimed and has not acknowledged.
        """
        batches = submissions = reports = events = 0
        for batch_id in self._old_batches(before, unfinished=unfinished):
            counts = self._forget(batch_id, finished_only=not unfinished)
            if counts is not None:
                batches += counts.batches
                submissions += counts.submissions
                reports += counts.reports
                events += counts.report_events
        orphan = (report.c.received_at < before, report.c.batch_id.is_(None))
        told = sa.select(report.c.id).where(report.c.message_id == report_event.c.message_id).exists()
        return PruneCounts(
            batches=batches,
            submissions=submissions,
            reports=reports + self._delete(report, *orphan),
            report_events=events + self._delete(report_event, report_event.c.received_at < before, ~told),
            inbound=self._prune_inbound(before, unfinished=unfinished),
            kept_aside=self._delete(aside, aside.c.received_at < before),
            alerts=self._delete(alert, alert.c.asked_at < before),
            components=self._prune_processes(before),
        )

    def _old_batches(self, before: datetime, *, unfinished: bool) -> list[str]:
        query = sa.select(batch.c.batch_id).where(batch.c.created_at < before).order_by(batch.c.created_at)
        if not unfinished:
            query = query.where(~_open_rows(batch.c.batch_id))
        return self._db.read(lambda connection: list(connection.scalars(query)))

    def _forget(self, batch_id: str, *, finished_only: bool) -> PruneCounts | None:
        submissions = reports = events = 0
        while True:
            step = self._db.write(lambda connection: _forget_chunk(connection, batch_id, finished_only))
            if step is None:
                return None
            submissions += step.submissions
            reports += step.reports
            events += step.report_events
            if step.batches:
                return PruneCounts(batches=1, submissions=submissions, reports=reports, report_events=events)

    def _delete(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        query = sa.select(table.c.id).where(*where).order_by(table.c.id).limit(CHUNK)
        deleted = 0
        while True:

            def delete(connection: sa.Connection) -> int:
                ids = list(connection.scalars(query))
                # The condition again: a report may have been matched since it was chosen.
                return connection.execute(sa.delete(table).where(table.c.id.in_(ids), *where)).rowcount if ids else 0

            done = self._db.write(delete)
            deleted += done
            if done < CHUNK:
                return deleted

    def _prune_inbound(self, before: datetime, *, unfinished: bool) -> int:
        held = sa.select(inbound_claim.c.inbound_id).where(NOT_DONE)
        old = sa.select(inbound.c.id).where(inbound.c.received_at < before).order_by(inbound.c.id).limit(CHUNK)
        query = old if unfinished else old.where(~held.where(inbound_claim.c.inbound_id == inbound.c.id).exists())

        def delete(connection: sa.Connection) -> tuple[int, int]:
            # Locked first: who is about to claim one of them waits, and finds it gone.
            ids = set(connection.scalars(query.with_for_update(of=inbound)))
            if not unfinished:
                # And who was quicker keeps it.
                ids -= set(connection.scalars(held.where(inbound_claim.c.inbound_id.in_(ids))))
            connection.execute(sa.delete(inbound_claim).where(inbound_claim.c.inbound_id.in_(ids)))
            return len(ids), connection.execute(sa.delete(inbound).where(inbound.c.id.in_(ids))).rowcount

        deleted = 0
        while True:
            chosen, done = self._db.write(delete)
            deleted += done
            if not chosen:
                return deleted

    def _prune_processes(self, before: datetime) -> int:
        holds = sa.select(submission.c.id).where(
            submission.c.owner_token == owner.c.token, submission.c.state == State.SENDING
        )

        def delete(connection: sa.Connection) -> int:
            connection.execute(sa.delete(owner).where(owner.c.claimed_at < before, ~holds.exists()))
            return connection.execute(sa.delete(component).where(component.c.heartbeat_at < before)).rowcount

        return self._db.write(delete)


def _open_rows(batch_id: sa.ColumnElement[str] | str) -> sa.Exists:
    return (
        sa.select(batch_count.c.n)
        .where(batch_count.c.batch_id == batch_id, batch_count.c.state.in_(_UNFINISHED), batch_count.c.n > 0)
        .exists()
    )


def _forget_chunk(connection: sa.Connection, batch_id: str, finished_only: bool) -> PruneCounts | None:
    """Delete some rows of a batch; the batch itself with the last ones. None when it is gone or needed again."""
    held = sa.select(batch.c.batch_id).where(batch.c.batch_id == batch_id).with_for_update()
    if connection.scalar(held) is None:
        return None
    if finished_only and connection.scalar(sa.select(_open_rows(batch_id))):
        return None
    columns = (submission.c.id, submission.c.state, submission.c.delivery, submission.c.read_status)
    query = sa.select(*columns).where(submission.c.batch_id == batch_id).order_by(submission.c.id).limit(CHUNK)
    rows = connection.execute(query.with_for_update()).all()
    if rows:
        connection.execute(sa.delete(submission).where(submission.c.id.in_([row.id for row in rows])))
        counts = Counts()
        for row in rows:
            counts.remove(batch_id, row.state, row.delivery)
            counts.remove_read(batch_id, row.delivery, row.read_status)
        counts.apply(connection)
        return PruneCounts(submissions=len(rows))
    reports = connection.execute(
        sa.select(report.c.id, report.c.message_id).where(report.c.batch_id == batch_id).limit(CHUNK)
    ).all()
    if reports:
        return PruneCounts(reports=len(reports), report_events=_forget_reports(connection, reports))
    for key in (content.c.content_no, content_media.c.media_key):
        if _forget_contents(connection, key, batch_id) == CHUNK:
            return PruneCounts()
    connection.execute(sa.delete(family_member).where(family_member.c.batch_id == batch_id))
    for kept in (batch_minute, batch_count, read_count):
        connection.execute(sa.delete(kept).where(kept.c.batch_id == batch_id))
    connection.execute(sa.delete(batch).where(batch.c.batch_id == batch_id))
    return PruneCounts(batches=1)


def _forget_contents(connection: sa.Connection, key: sa.Column[Any], batch_id: str) -> int:
    """Delete some contents or media, which may be as many as messages; return how many."""
    of_batch = key.table.c.batch_id == batch_id
    keys = list(connection.scalars(sa.select(key).where(of_batch).order_by(key).limit(CHUNK)))
    if keys:
        connection.execute(sa.delete(key.table).where(of_batch, key.in_(keys)))
    return len(keys)


def _forget_reports(connection: sa.Connection, reports: Sequence[AnyRow]) -> int:
    connection.execute(sa.delete(report).where(report.c.id.in_([row.id for row in reports])))
    left = sa.select(report.c.id).where(report.c.message_id == report_event.c.message_id).exists()
    messages = sorted({row.message_id for row in reports})
    return connection.execute(sa.delete(report_event).where(report_event.c.message_id.in_(messages), ~left)).rowcount
