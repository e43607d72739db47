"""Batches: opened once per key, planned row by row, summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

import sqlalchemy as sa

from airflow_provider_mm7.exceptions import NoSuchBatch
from airflow_provider_mm7.protocol.addresses import number_key
from airflow_provider_mm7.store.base import CHUNK, IN_LIST, AnyRow, Base, chunks
from airflow_provider_mm7.store.counts import Counts
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.families import admit
from airflow_provider_mm7.store.prepared import PreparedInsert, PreparedQuery, among
from airflow_provider_mm7.store.tables import (
    CLAIMABLE,
    DUE_NOW,
    FIRST_CONTENT,
    NO_REPORT,
    NOT_BY_ITSELF,
    batch,
    batch_count,
    family_member,
    submission,
)
from airflow_provider_mm7.store.text import clean, identifier
from airflow_provider_mm7.store.types import Batch, BatchSummary, NewSubmission, Origin, State, Submission

#: What a run under the same key sends; and what it sends as well if it is told to.
_UNSENT = (State.PLANNED, State.RETRY)
_IN_DOUBT = (State.SENDING, State.UNKNOWN)

#: Recipient key and row of a submission: what it is one by in its batch.
RowKey: TypeAlias = tuple[str, int]


class _Planned(NamedTuple):
    """What became of a chunk that was planned.

    :ivar added: rows that were not there.
    :ivar due: rows that are to be sent, those among them.
    :ivar keys: all that were asked for.
    """

    added: int
    due: int
    keys: Set[RowKey]


class _Row(NamedTuple):
    """What planning looks at of a row that is there."""

    id: int
    recipient_key: str
    row_no: int
    state: str
    content_no: int | None
    delivery: str

    @property
    def key(self) -> RowKey:
        return self.recipient_key, self.row_no


_COLUMNS: Final = [submission.c[name] for name in _Row._fields]
_ADD: Final = PreparedInsert(
    submission,
    ("recipient_key", "row_no", "recipient", "content_no"),
    alike=("batch_id", "state", "attempts", "not_before", "delivery", "updated_at"),
)
_PRESENT: Final = PreparedQuery(
    lambda dialect: sa.select(*_COLUMNS).where(
        submission.c.batch_id == sa.bindparam("batch"), among(submission.c.recipient_key, "keys", dialect)
    ),
    _Row._make,
)
_NOT_SENT: Final = PreparedQuery(
    lambda _: (
        sa.select(*_COLUMNS)
        .where(submission.c.batch_id == sa.bindparam("batch"), CLAIMABLE, submission.c.id > sa.bindparam("after"))
        .order_by(submission.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(skip_locked=True)
    ),
    _Row._make,
)


def batch_id_of(key: str) -> str:
    """Name of the batch with an idempotency key: the same in every process."""
    return "b" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class Batches(Base):
    """Opening, planning and reading batches."""

    def open_batch(self, key: str, *, conn_id: str, origin: Origin | None = None) -> Batch:
        """Give the batch of a key, making it when it is new.

        :param key: idempotency key.
        :param conn_id: Airflow connection; kept from the first opening.
        """
        batch_id = batch_id_of(key)
        origin = origin or Origin()
        found = self.find_batch(batch_id)
        if found is not None:
            return found

        def make(connection: sa.Connection) -> Batch | None:
            connection.execute(
                insert_into(connection.dialect.name, batch)
                .values(
                    batch_id=batch_id,
                    key=clean(key),
                    conn_id=clean(conn_id),
                    dag_id=origin.dag_id,
                    run_id=origin.run_id,
                    task_id=origin.task_id,
                    map_index=origin.map_index,
                    created_at=self._clock(),
                )
                .on_conflict_do_nothing()
            )
            return _find(connection, batch_id)

        made = self._db.write(make)
        if made is None:
            raise NoSuchBatch(f"batch {batch_id} was forgotten while it was opened", batch_id=batch_id)
        return made

    def find_batch(self, batch_id: str) -> Batch | None:
        """Give a batch, or None."""
        return self._db.read(lambda connection: _find(connection, batch_id))

    def list_batches(self, limit: int = 100, *, before: Batch | None = None) -> list[Batch]:
        """Give batches, newest first.

        :param before: the last one of the page before.
        """
        query = sa.select(batch).order_by(batch.c.created_at.desc(), batch.c.batch_id.desc()).limit(limit)
        if before is not None:
            query = query.where(
                sa.tuple_(batch.c.created_at, batch.c.batch_id)
                < sa.tuple_(
                    sa.literal(before.created_at, batch.c.created_at.type), sa.literal(before.batch_id, sa.Text)
                )
            )
        return self._db.read(lambda connection: [as_batch(row) for row in connection.execute(query)])

    def plan(
        self,
        batch_id: str,
        submissions: Iterable[NewSubmission],
        *,
        family: str | None = None,
        contents: Sequence[int] = (),
        resend: bool = False,
    ) -> int:
        """Add the rows that are missing. Those that are there keep their state.

        :param submissions: consumed in chunks, each committed for itself; planning again after a crash adds the rest.
        :param family: names the batches that are parts of one sending; what another of them has or had is left out.
        :param contents: the numbers of the contents that the submissions name. What is there and will be sent consists
            of them, too.
        :param resend: whether what is in doubt will be sent again.
        :return: how many were added.
        :raises NoSuchBatch: the batch was never opened, or forgotten.
        """
        chunked = self._plan_all(batch_id, submissions, family, contents, resend=resend)
        return sum(planned.added for planned in chunked)

    def replan(
        self,
        batch_id: str,
        submissions: Iterable[NewSubmission],
        *,
        wanted: Callable[[Sequence[RowKey]], set[RowKey]] | None = None,
        family: str | None = None,
        contents: Sequence[int] = (),
        resend: bool = False,
    ) -> int:
        """Plan, and withdraw what is not sent and not asked for any more: a corrected list of recipients counts.

        Rows that were sent, or may have been, stay.

        :param submissions: consumed in chunks.
        :param wanted: tells which of some (recipient key, row) are asked for, where whoever calls knows it without
            holding them all; None: they are collected from the submissions.
        :param family: see :meth:`plan`; likewise ``contents`` and ``resend``.
        :return: how many of them are to be sent now.
        :raises NoSuchBatch: the batch was never opened, or forgotten.
        """
        empty = not self._rows_in(batch_id)
        added, due, collected = 0, 0, set[RowKey]()
        for planned in self._plan_all(batch_id, submissions, family, contents, resend=resend):
            added += planned.added
            due += planned.due
            if wanted is None:
                collected |= planned.keys
        if empty and self._rows_in(batch_id) == added:
            # There is nothing else in it.
            return due
        after_id: int | None = 0
        while after_id is not None:
            step = partial(_withdraw, batch_id=batch_id, wanted=wanted or collected.intersection, after_id=after_id)
            after_id = self._db.write(step)
        return due

    def _rows_in(self, batch_id: str) -> int:
        found = self.summaries([batch_id]).get(batch_id)
        return found.total if found else 0

    def missing(self, batch_id: str, submissions: Iterable[NewSubmission], *, family: str | None = None) -> int:
        """Count those that were planned and stand neither in the batch nor in another of the family any more.

        :param submissions: consumed in chunks.
        """

        def count(connection: sa.Connection, wanted: set[RowKey]) -> int:
            keys = [recipient_key for recipient_key, _ in wanted]
            gone = wanted - {row.key for row in _PRESENT.run(connection, batch=batch_id, keys=keys)}
            if gone and family is not None:
                elsewhere = sa.select(family_member.c.recipient_key).where(
                    family_member.c.family == family,
                    family_member.c.batch_id != batch_id,
                    family_member.c.recipient_key.in_([key for key, _ in gone]),
                )
                held = set(connection.scalars(elsewhere))
                gone = {row for row in gone if row[0] not in held}
            return len(gone)

        return sum(
            self._db.read(partial(count, wanted={row_key(new) for new in chunk}))
            for chunk in chunks(submissions, CHUNK)
        )

    def _plan_all(
        self,
        batch_id: str,
        submissions: Iterable[NewSubmission],
        family: str | None,
        contents: Sequence[int],
        *,
        resend: bool,
    ) -> Iterator[_Planned]:
        unsent = (*_UNSENT, *_IN_DOUBT) if resend else _UNSENT
        for chunk in chunks(submissions, CHUNK):
            yield self._plan(batch_id, chunk, family, contents, unsent)

    def _plan(
        self,
        batch_id: str,
        chunk: Sequence[NewSubmission],
        family: str | None,
        contents: Sequence[int],
        unsent: Sequence[State],
    ) -> _Planned:
        now = self._clock()
        wanted: dict[RowKey, str] = {}
        consists_of: dict[RowKey, int | None] = {}
        for new in chunk:
            key = row_key(new)
            if key not in wanted:
                wanted[key] = identifier(new.recipient)
                consists_of[key] = _content_no(contents[new.content]) if contents else None

        def insert(connection: sa.Connection) -> _Planned:
            lock_batch(connection, batch_id)
            keys = list({recipient_key for recipient_key, _ in wanted})
            present = {row.key: row for row in _PRESENT.run(connection, batch=batch_id, keys=keys)}
            if contents:
                _change_contents(connection, present, consists_of, unsent)
            due = sum(row.state in unsent for key, row in present.items() if key in wanted)
            missing = wanted.keys() - present.keys()
            counts = Counts()
            if missing and family is not None:
                admitted = admit(connection, family, batch_id, (key for key, _ in missing), counts)
                missing = {(key, row_no) for key, row_no in missing if key in admitted}
            if not missing:
                counts.apply(connection)
                return _Planned(added=0, due=due, keys=wanted.keys())
            _ADD.run(
                connection,
                ((*key, recipient, consists_of[key]) for key, recipient in wanted.items() if key in missing),
                batch_id=batch_id,
                state=State.PLANNED,
                attempts=0,
                not_before=DUE_NOW,
                delivery=NO_REPORT,
                updated_at=now,
            )
            counts.add(batch_id, State.PLANNED, n=len(missing))
            counts.apply(connection)
            return _Planned(added=len(missing), due=due + len(missing), keys=wanted.keys())

        return self._db.write(insert)

    def family_batches(self, family: str) -> list[str]:
        """Give the batches that have numbers of a family."""
        query = sa.select(family_member.c.batch_id).where(family_member.c.family == family).distinct()
        return self._db.read(lambda connection: sorted(connection.scalars(query)))

    def summary(self, batch_id: str) -> BatchSummary:
        """Count a batch by state.

        :raises NoSuchBatch: there is no such batch.
        """
        found = self.summaries([batch_id]).get(batch_id)
        if found is None:
            raise NoSuchBatch(f"no batch {batch_id} in the store {self._db.url_masked}", batch_id=batch_id)
        return found

    def summaries(self, batch_ids: Iterable[str]) -> dict[str, BatchSummary]:
        """Count several batches by state; those that do not exist are left out."""

        def count(connection: sa.Connection) -> dict[str, dict[str, int]]:
            found: dict[str, dict[str, int]] = {}
            for ids in chunks(dict.fromkeys(batch_ids), IN_LIST):
                query = (
                    sa.select(batch.c.batch_id, batch_count.c.state, batch_count.c.n)
                    .select_from(batch.outerjoin(batch_count))
                    .where(batch.c.batch_id.in_(ids))
                )
                for batch_id, state, n in connection.execute(query):
                    states = found.setdefault(batch_id, {})
                    states[state] = states.get(state, 0) + (n or 0)
            return found

        return {batch_id: _summary(batch_id, states) for batch_id, states in self._db.read(count).items()}

    def submissions(
        self, batch_id: str, *, after_id: int = 0, limit: int = 1000, states: Iterable[State] | None = None
    ) -> list[Submission]:
        """Give a page of a batch's rows in the order of their ids.

        :param after_id: id of the last row of the page before.
        :param states: only rows in these.
        """
        query = (
            sa.select(submission)
            .where(submission.c.batch_id == batch_id, submission.c.id > after_id)
            .order_by(submission.c.id)
            .limit(limit)
        )
        if states is not None:
            query = query.where(submission.c.state.in_(list(states)))
        return self._db.read(lambda connection: [as_submission(row) for row in connection.execute(query)])


def lock_batch(connection: sa.Connection, batch_id: str) -> None:
    """Hold the batch until the transaction ends: against a second planning and against deletion.

    :raises NoSuchBatch: there is no such batch.
    """
    query = sa.select(batch.c.batch_id).where(batch.c.batch_id == batch_id).with_for_update(key_share=True)
    if connection.scalar(query) is None:
        raise NoSuchBatch(f"no batch {batch_id} in the store", batch_id=batch_id)


def as_submission(row: AnyRow) -> Submission:
    """Make a value of a row of ``mm7_submission``."""
    return Submission(
        id=row.id,
        batch_id=row.batch_id,
        row=row.row_no,
        recipient=row.recipient,
        state=State(row.state),
        transaction_id=row.transaction_id,
        message_id=row.message_id,
        status_code=row.status_code,
        status_text=row.status_text,
        attempts=row.attempts,
        delivery=row.delivery or None,
        read=row.read_status,
        content=row.content_no,
        not_before=row.not_before if row.state == State.RETRY and row.not_before < NOT_BY_ITSELF else None,
    )


def row_key(new: NewSubmission) -> RowKey:
    """Tell what makes a recipient one of its batch.

    Not the spelling: with another number format the same person must not count as another one.
    """
    return identifier(number_key(new.recipient)), new.row


def _content_no(number: int) -> int | None:
    return None if number == FIRST_CONTENT else number


def _change_contents(
    connection: sa.Connection,
    present: Mapping[RowKey, _Row],
    consists_of: Mapping[RowKey, int | None],
    unsent: Sequence[State],
) -> None:
    """Let what was planned before consist of what is sent now."""
    changed = [
        {"key": row.id, "number": consists_of[key]}
        for key, row in sorted(present.items(), key=lambda item: item[1].id)
        if row.state in unsent and key in consists_of and row.content_no != consists_of[key]
    ]
    if changed:
        # The state once more: somebody may have begun to send one of them.
        still = sa.or_(*(submission.c.state == state for state in unsent))
        chosen = submission.c.id == sa.bindparam("key"), still
        connection.execute(sa.update(submission).where(*chosen).values(content_no=sa.bindparam("number")), changed)


def _withdraw(
    connection: sa.Connection, batch_id: str, wanted: Callable[[Sequence[RowKey]], set[RowKey]], after_id: int
) -> int | None:
    """Delete unsent rows of other keys among the next ones; the id to go on from, None at the end."""
    rows = _NOT_SENT.run(connection, batch=batch_id, after=after_id, most=CHUNK)
    asked_for = wanted([row.key for row in rows])
    gone = [row for row in rows if row.key not in asked_for]
    if gone:
        connection.execute(sa.delete(submission).where(submission.c.id.in_([row.id for row in gone])))
        counts = Counts()
        for row in gone:
            counts.remove(batch_id, row.state, row.delivery)
        counts.apply(connection)
    return rows[-1].id if len(rows) == CHUNK else None


def _find(connection: sa.Connection, batch_id: str) -> Batch | None:
    row = connection.execute(sa.select(batch).where(batch.c.batch_id == batch_id)).one_or_none()
    return None if row is None else as_batch(row)


def as_batch(row: AnyRow) -> Batch:
    """Make a value of a row of ``mm7_batch``."""
    return Batch(
        batch_id=row.batch_id,
        key=row.key,
        conn_id=row.conn_id,
        origin=Origin(dag_id=row.dag_id, run_id=row.run_id, task_id=row.task_id, map_index=row.map_index),
        created_at=row.created_at,
    )


def _summary(batch_id: str, states: dict[str, int]) -> BatchSummary:
    return BatchSummary(
        batch_id=batch_id,
        total=sum(states.values()),
        accepted=states.get(State.ACCEPTED, 0),
        refused=states.get(State.REFUSED, 0),
        unknown=states.get(State.UNKNOWN, 0),
        suppressed=states.get(State.SUPPRESSED, 0),
        planned=states.get(State.PLANNED, 0) + states.get(State.RETRY, 0),
        sending=states.get(State.SENDING, 0),
    )
