"""Which consumer has which messages from handsets: each is claimed, then acknowledged or given back.

A consumer is a name. To each consumer every message is new once. A message that was claimed and neither acknowledged
nor given back is handed out again when its lease has ended, or at once to the holder that has begun again. Writes for
one consumer come one after the other, so two claims never get the same message.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import sqlalchemy as sa

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.store.base import CHUNK, AnyRow, Base, chunks
from airflow_provider_mm7.store.database import insert_into, lock_names
from airflow_provider_mm7.store.filters import ANY, InboundFilter, conditions
from airflow_provider_mm7.store.handed import (
    MAX_WAITING,
    ClaimedInbound,
    ClaimState,
    Holder,
    InboundClaim,
    WaitingInbound,
)
from airflow_provider_mm7.store.inbound import as_inbound
from airflow_provider_mm7.store.tables import NOT_DONE, inbound, inbound_claim, inbound_cursor
from airflow_provider_mm7.store.text import identifier
from airflow_provider_mm7.store.types import Inbound

T = TypeVar("T")

#: Consumers share this many locks of PostgreSQL, whose names are below this one (see inbound.py for the others).
_LOCKS: Final = 1024
_FIRST_LOCK: Final = -1000

#: Messages that a look for what waits may leave behind it before it moves the cursor past them.
_STRIDE: Final = 1000


class Inbox(Base):
    """Handing messages from handsets to consumers."""

    def claim_inbound(
        self,
        consumer: str,
        wanted: InboundFilter = ANY,
        *,
        holder: Holder,
        limit: int,
        lease_s: float,
        max_attempts: int | None = None,
    ) -> list[ClaimedInbound]:
        """Take messages that nobody of this consumer has. Committed before it returns.

        Those that were handed out least often come first, then the oldest: one on which every attempt dies holds up no
        others. With ``max_attempts`` a message has its last attempt alone, so that none is parked for another's sake.

        :param consumer: its name.
        :param wanted: only such messages.
        :param limit: at most so many.
        :param lease_s: seconds after which they are handed out again, unless :meth:`extend_inbound` says otherwise.
        :param max_attempts: only those that were handed out less often; see :meth:`park_inbound`.
        :raises InputError: a consumer without a name.
        """
        last = None if max_attempts is None else max_attempts - 1

        def claim(connection: sa.Connection, name: str) -> list[ClaimedInbound]:
            now = self._now(connection)
            most = 1 if last == 0 else limit
            fresh, newest = _new(connection, name, wanted, most)
            again = _again(connection, _may_claim(name, wanted, holder, now), most - len(fresh), below=last)
            if last is not None and not fresh and not again:
                again = _again(connection, _may_claim(name, wanted, holder, now), 1, below=last + 1)
            values = {
                "state": ClaimState.CLAIMED,
                "holder": holder.name,
                "token": holder.token,
                "lease_until": now + timedelta(seconds=lease_s),
                "updated_at": now,
            }
            if fresh:
                rows = [{"consumer": name, "inbound_id": row.id, "attempts": 1, **values} for row in fresh]
                connection.execute(sa.insert(inbound_claim), rows)
            if again:
                more = {"attempts": inbound_claim.c.attempts + 1, **values}
                for ids in chunks([row.id for row in again], CHUNK):
                    connection.execute(sa.update(inbound_claim).where(*_of(name, ids)).values(more))
            _move_cursor(connection, name, wanted, fresh[-1].id if len(fresh) == most else newest)
            return [ClaimedInbound(inbound=as_inbound(row), attempts=1) for row in fresh] + [
                ClaimedInbound(inbound=as_inbound(row), attempts=row.attempts + 1) for row in again
            ]

        return self._of_consumer(consumer, claim) if limit > 0 else []

    def extend_inbound(self, consumer: str, ids: Collection[int], *, token: str, lease_s: float) -> int:
        """Say that the holder still works on what it claimed.

        :return: how many of them it holds.
        """
        return self._change(
            consumer,
            ids,
            inbound_claim.c.token == identifier(token),
            inbound_claim.c.state == ClaimState.CLAIMED,
            lease_s=lease_s,
        )

    def ack_inbound(self, consumer: str, ids: Collection[int], *, token: str) -> int:
        """Be done with messages: they are never handed to this consumer again. Safe to repeat after an error.

        :return: how many of them; the others were handed to another holder, because a lease had ended.
        """
        return self._change(
            consumer,
            ids,
            inbound_claim.c.token == identifier(token),
            inbound_claim.c.state.in_((ClaimState.CLAIMED, ClaimState.DONE, ClaimState.PARKED)),
            state=ClaimState.DONE,
            lease_until=None,
        )

    def release_inbound(self, consumer: str, ids: Collection[int], *, token: str) -> int:
        """Give messages back: they may be claimed at once. The attempt counts.

        :return: how many of them were held.
        """
        return self._change(
            consumer,
            ids,
            inbound_claim.c.token == identifier(token),
            inbound_claim.c.state.in_((ClaimState.CLAIMED, ClaimState.RELEASED)),
            state=ClaimState.RELEASED,
            lease_until=None,
        )

    def hand_back_inbound(self, consumer: str, ids: Collection[int]) -> int:
        """Make messages new to a consumer again, done or not; but not those that it works on now.

        :return: how many were done or held and now are new.
        """
        return self._change(consumer, ids, free=True, state=ClaimState.RELEASED, attempts=0)

    def park_inbound(
        self, consumer: str, wanted: InboundFilter = ANY, *, holder: Holder, max_attempts: int
    ) -> list[int]:
        """Give up on messages that the holder could claim again, but that were handed out often enough.

        They wait no more, and are kept until they are handed back by hand or pruned.

        :param max_attempts: how often that is.
        :return: ids, in their order.
        """

        def park(connection: sa.Connection, name: str) -> list[int]:
            now = self._now(connection)
            query = _may_claim(name, wanted, holder, now).where(inbound_claim.c.attempts >= max_attempts)
            ids = sorted(connection.scalars(query.with_only_columns(inbound.c.id)))
            for part in chunks(ids, CHUNK):
                parked = {"state": ClaimState.PARKED, "lease_until": None, "updated_at": now}
                connection.execute(sa.update(inbound_claim).where(*_of(name, part)).values(parked))
            return ids

        return self._of_consumer(consumer, park)

    def parked_inbound(
        self, consumer: str, limit: int = 1000, *, after_id: int = 0, wanted: InboundFilter = ANY
    ) -> list[Inbound]:
        """Give messages that a consumer has parked, in the order of ids.

        :param after_id: the last one of the page before.
        """
        parked = inbound_claim.c.state == ClaimState.PARKED
        query = _open_claims(_checked(consumer), wanted, parked).where(inbound.c.id > after_id)
        query = query.with_only_columns(*inbound.c).order_by(inbound.c.id).limit(limit)
        return self._db.read(lambda connection: [as_inbound(row) for row in connection.execute(query)])

    def waiting_inbound(self, consumer: str, wanted: InboundFilter = ANY) -> WaitingInbound:
        """Look what a consumer could claim now. Claims nothing."""
        name = _checked(consumer)

        def look(connection: sa.Connection) -> tuple[WaitingInbound, int, int]:
            newest, after = _newest_id(connection), _cursor(connection, name, wanted)
            fresh = _unclaimed(name, wanted, after, newest).with_only_columns(inbound.c.id)
            last = connection.scalar(fresh.order_by(inbound.c.id.desc()).limit(1)) or 0
            again = _open_claims(name, wanted, _waits(self._now(connection))).with_only_columns(inbound.c.id)
            count = sum(
                connection.scalar(sa.select(sa.func.count()).select_from(query.limit(MAX_WAITING).subquery())) or 0
                for query in ((fresh, again) if last else (again,))
            )
            # All up to there was claimed or is not wanted, whoever else claims meanwhile.
            return WaitingInbound(count=min(count, MAX_WAITING), newest_id=last), 0 if last else newest, after

        waiting, passed, after = self._db.read(look)
        if passed - after >= _STRIDE:
            self._db.write(lambda connection: _move_cursor(connection, name, wanted, passed))
        return waiting

    def inbound_claims(self, consumer: str, ids: Collection[int]) -> dict[int, InboundClaim]:
        """Say what a consumer has done with messages; those that it never had are left out."""
        name = _checked(consumer)
        columns = [inbound_claim.c[one] for one in ("state", "holder", "attempts", "lease_until", "updated_at")]

        def read(connection: sa.Connection) -> dict[int, InboundClaim]:
            found = {}
            for part in chunks(sorted(set(ids)), CHUNK):
                query = sa.select(inbound_claim.c.inbound_id, *columns).where(*_of(name, part))
                for inbound_id, state, *values in connection.execute(query):
                    fields = zip(("holder", "attempts", "lease_until", "updated_at"), values, strict=True)
                    found[inbound_id] = InboundClaim(state=ClaimState(state), **dict(fields))
            return found

        return self._db.read(read)

    def _change(
        self,
        consumer: str,
        ids: Collection[int],
        *where: sa.ColumnElement[bool],
        free: bool = False,
        lease_s: float | None = None,
        **values: object,
    ) -> int:
        """Change claims where all conditions hold.

        :param free: only those on which nobody works.
        :param lease_s: how long a lease they have from now on, in seconds.
        """

        def change(connection: sa.Connection, name: str) -> int:
            now, done = self._now(connection), 0
            lease = {} if lease_s is None else {"lease_until": now + timedelta(seconds=lease_s)}
            also = (_free(now),) if free else ()
            for part in chunks(sorted(set(ids)), CHUNK):
                statement = sa.update(inbound_claim).where(*_of(name, part), *where, *also)
                done += connection.execute(statement.values(updated_at=now, **lease, **values)).rowcount
            return done

        return self._of_consumer(consumer, change) if ids else 0

    def _of_consumer(self, consumer: str, work: Callable[[sa.Connection, str], T]) -> T:
        """Write while no other write for this consumer goes on."""
        name = _checked(consumer)

        def alone(connection: sa.Connection) -> T:
            lock_names(connection, {_FIRST_LOCK - zlib.crc32(name.encode()) % _LOCKS})
            return work(connection, name)

        return self._db.write(alone)


def _checked(consumer: str) -> str:
    if not consumer or not consumer.strip():
        raise InputError("consumer", "empty", "Name whoever handles the messages, the same in every run")
    return identifier(consumer)


def _of(consumer: str, ids: Sequence[int]) -> tuple[sa.ColumnElement[bool], ...]:
    return inbound_claim.c.consumer == consumer, inbound_claim.c.inbound_id.in_(ids)


def _unclaimed(consumer: str, wanted: InboundFilter, after: int, newest: int) -> sa.Select[AnyRow]:
    claimed = sa.select(inbound_claim.c.inbound_id).where(
        inbound_claim.c.consumer == consumer, inbound_claim.c.inbound_id == inbound.c.id
    )
    return sa.select(inbound).where(
        inbound.c.id > after, inbound.c.id <= newest, *conditions(wanted), ~claimed.exists()
    )


def _open_claims(consumer: str, wanted: InboundFilter, may: sa.ColumnElement[bool]) -> sa.Select[AnyRow]:
    return (
        sa.select(inbound, inbound_claim.c.attempts)
        .join(inbound_claim, inbound_claim.c.inbound_id == inbound.c.id)
        .where(inbound_claim.c.consumer == consumer, NOT_DONE, may, *conditions(wanted))
    )


def _free(now: datetime) -> sa.ColumnElement[bool]:
    """Nobody works on it now, as far as can be told."""
    return sa.or_(inbound_claim.c.state != ClaimState.CLAIMED, inbound_claim.c.lease_until <= now)


def _waits(now: datetime) -> sa.ColumnElement[bool]:
    """Nobody works on it now, and it is to be handed out again."""
    return sa.and_(inbound_claim.c.state != ClaimState.PARKED, _free(now))


def _may_claim(consumer: str, wanted: InboundFilter, holder: Holder, now: datetime) -> sa.Select[AnyRow]:
    """Those that the consumer had and was not done with, and that the holder may have now."""
    former = sa.and_(
        inbound_claim.c.state == ClaimState.CLAIMED,
        inbound_claim.c.holder == holder.name,
        inbound_claim.c.token != holder.token,
    )
    return _open_claims(consumer, wanted, sa.or_(_waits(now), former))


def _new(connection: sa.Connection, consumer: str, wanted: InboundFilter, limit: int) -> tuple[list[AnyRow], int]:
    """Find messages that the consumer never had, and the id up to which they were looked for."""
    newest = _newest_id(connection)
    query = _unclaimed(consumer, wanted, _cursor(connection, consumer, wanted), newest).order_by(inbound.c.id)
    # A prune that has begun goes first, one that begins waits: a claim is never of a message that is gone.
    held = query.limit(limit).with_for_update(read=True, key_share=True, of=inbound)
    return list(connection.execute(held)), newest


def _again(
    connection: sa.Connection, may_claim: sa.Select[AnyRow], limit: int, *, below: int | None = None
) -> list[AnyRow]:
    """Find messages to hand out again.

    :param below: only those that were handed out less often.
    """
    if limit <= 0:
        return []
    query = may_claim if below is None else may_claim.where(inbound_claim.c.attempts < below)
    query = query.order_by(inbound_claim.c.attempts, inbound_claim.c.inbound_id).limit(limit)
    return list(connection.execute(query.with_for_update(read=True, key_share=True, of=inbound)))


def _newest_id(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(inbound.c.id))) or 0


def _cursor(connection: sa.Connection, consumer: str, wanted: InboundFilter) -> int:
    query = sa.select(inbound_cursor.c.after_id).where(
        inbound_cursor.c.consumer == consumer, inbound_cursor.c.filter == wanted.name
    )
    return connection.scalar(query) or 0


def _move_cursor(connection: sa.Connection, consumer: str, wanted: InboundFilter, after_id: int) -> None:
    """Say that nothing up to an id will ever be new to the consumer. Never moves back."""
    if wanted.is_narrow or wanted.since is not None:
        # An index finds their messages, and there may be one such filter for each number or run.
        return
    insert = insert_into(connection.dialect.name, inbound_cursor)
    statement = insert.values(consumer=consumer, filter=wanted.name, after_id=after_id)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["consumer", "filter"],
            set_={"after_id": statement.excluded.after_id},
            where=inbound_cursor.c.after_id < statement.excluded.after_id,
        )
    )
