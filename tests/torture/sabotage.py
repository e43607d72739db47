"""What is broken on purpose, in a process that sends or receives, to see that a torture finds it.

Named after the damage.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import sqlalchemy as sa

from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.receiver.writer import GroupWriter
from airflow_provider_mm7.sending import engine
from airflow_provider_mm7.sending.patience import Tries
from airflow_provider_mm7.store import Settlement, State, Store, claims, moves, reports
from airflow_provider_mm7.store.database import _WRITE, Database
from airflow_provider_mm7.store.tables import DUE_NOW

#: Seconds by which media come late.
LATE_S = 0.2


def claims_are_committed_late() -> None:
    """The requests have left when the next turn commits what they were claimed by."""
    held: list[tuple[sa.Connection, sa.RootTransaction]] = []

    def write(self: Database, work: Callable[[sa.Connection], Any]) -> Any:
        while held:
            connection, transaction = held.pop()
            transaction.commit()
            connection.close()
        connection = self.engine.connect().execution_options(**{_WRITE: True})
        transaction = connection.begin()
        done = work(connection)
        held.append((connection, transaction))
        if ".turn." not in getattr(work, "__qualname__", ""):
            transaction.commit()
            connection.close()
            held.clear()
        return done

    _put(Database, "write", write)


def abandoned_is_sent_again() -> None:
    """What a dead process was sending counts as not sent."""
    real = Store._move

    def move(self: Store, connection: sa.Connection, chosen: Sequence[Any], state: State, **values: Any) -> int:
        if state is State.UNKNOWN:
            return real(self, connection, chosen, State.PLANNED, **{"not_before": DUE_NOW, **values})
        return real(self, connection, chosen, state, **values)

    _put(Store, "_move", move)


def claims_know_no_bound() -> None:
    """More is claimed at once than may be in doubt."""
    real = engine.claim_bound
    _put(engine, "claim_bound", lambda connections: 2 * real(connections))


def settlements_are_lost() -> None:
    """Some answers are not recorded."""
    real, number = moves.record, count()

    def record(connection: Any, batch_id: str, wanted: dict[int, Settlement], counts: Any, **named: Any) -> int:
        kept = {key: settlement for key, settlement in wanted.items() if next(number) % 7}
        return real(connection, batch_id, kept, counts, **named) if kept else 0

    _put(claims, "record", record)


def settlements_are_mixed_up() -> None:
    """Answers are recorded for the message before."""
    real = Store.turn

    def turn(self: Store, *arguments: Any, settlements: Iterable[Settlement] = (), **named: Any) -> Any:
        given = list(settlements)
        ids = [item.submission_id for item in given]
        moved = [replace(item, submission_id=other) for item, other in zip(given, ids[1:] + ids[:1], strict=True)]
        # Named by its TransactionID a settlement would not be taken.
        return real(self, *arguments, settlements=[replace(item, transaction_id=None) for item in moved], **named)

    _put(Store, "turn", turn)


def doubt_is_not_held() -> None:
    """Messages in doubt are sent again though nobody said so."""
    real = engine.Engine._recover

    def recover(self: engine.Engine, batch_id: str) -> None:
        real(self, batch_id)
        self.store.requeue_unknown(batch_id)

    _put(engine.Engine, "_recover", recover)


def retries_are_forgotten() -> None:
    """What the MMSC does not take now is never tried again."""
    _put(Store, "requeue_retries", lambda self, batch_id: 0)
    _put(Tries, "postpone", lambda self, outcome: outcome.settlements)


def callbacks_are_acknowledged_early() -> None:
    """A callback is acknowledged when it waits for its commit."""
    real = GroupWriter.put

    async def put(self: GroupWriter[Any, Any], item: Any) -> Any:
        task = asyncio.ensure_future(real(self, item))
        _early.add(task)
        return await asyncio.sleep(0, result=True)

    _put(GroupWriter, "put", put)


#: An event loop keeps no task alive.
_early: set[asyncio.Future[Any]] = set()


def media_are_stored_late() -> None:
    """A message is in the store before its media are."""
    real = FolderSink.store

    def store(self: FolderSink, name: str, body: bytes, content_type: str) -> str:
        threading.Timer(LATE_S, lambda: real(self, name, body, content_type)).start()
        return (self._folder / name).as_uri()

    _put(FolderSink, "store", store)


def repeats_are_new() -> None:
    """A callback that comes again is stored again."""
    _put(reports, "_digest", lambda row: secrets.token_hex(32))


def _put(where: object, name: str, what: object) -> None:
    setattr(where, name, what)
