"""How many submissions of a batch are in which state, and how many were read: kept beside them, in one transaction.

A poll by a thousand waiting sensors reads these few rows instead of counting submissions. What changes ``state``,
``delivery`` or ``read_status`` of a submission tells it to a :class:`Counts` and applies it at the end of its
transaction: whoever waits for a counter row holds no lock that the other could want, and the keys are taken in order.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_mm7.store.prepared import PreparedInsert
from airflow_provider_mm7.store.tables import NO_REPORT, batch_count, batch_minute, read_count
from airflow_provider_mm7.store.types import State

#: What of ``mm7_batch_minute`` begins so is followed by a status code, or by nothing.
REFUSED_WITH: Final = "refused "
#: What of ``mm7_batch_minute`` counts acceptances. Everything else is a delivery status, in capitals.
ACCEPTED: Final = "accepted"


class Counts:
    """Changes of counts, collected over one transaction."""

    def __init__(self) -> None:
        self._changes: Counter[tuple[str, str, str]] = Counter()
        self._reads: Counter[tuple[str, str, str]] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()

    def add(self, batch_id: str, state: str, delivery: str = NO_REPORT, n: int = 1) -> None:
        """Count rows that appear in a state."""
        self._changes[batch_id, state, delivery] += n

    def remove(self, batch_id: str, state: str, delivery: str = NO_REPORT, n: int = 1) -> None:
        """Count rows that leave a state."""
        self._changes[batch_id, state, delivery] -= n

    def add_read(self, batch_id: str, delivery: str, read_status: str | None, n: int = 1) -> None:
        """Count rows that get a delivery and a read status; those without a read reply are not counted here."""
        if read_status is not None:
            self._reads[batch_id, delivery, read_status] += n

    def remove_read(self, batch_id: str, delivery: str, read_status: str | None, n: int = 1) -> None:
        """Count rows that lose a delivery and a read status."""
        self.add_read(batch_id, delivery, read_status, -n)

    def refuse(self, batch_id: str, status_code: int | None, n: int = 1) -> None:
        """Say why rows, which are counted for themselves, were refused."""
        self._refusals[batch_id, f"{REFUSED_WITH}{'' if status_code is None else status_code}"] += n

    def apply(self, connection: sa.Connection, *, at: datetime | None = None) -> None:
        """Write the changes. The last statements of a transaction.

        :param at: when they happened; None for what is no news of a message.
        """
        news = self._news(at) if at is not None else Counter()
        self._refusals.clear()
        for table, changes in ((batch_count, self._changes), (read_count, self._reads), (batch_minute, news)):
            rows = [(*key, n) for key, n in sorted(changes.items()) if n]
            changes.clear()
            _ADD[table.name].run(connection, rows)

    def _news(self, at: datetime) -> Counter[tuple[Any, ...]]:
        minute = int(at.timestamp()) // 60
        news: Counter[tuple[Any, ...]] = Counter()
        for (batch_id, what), n in self._refusals.items():
            news[batch_id, minute, what] += n
        for (batch_id, state, delivery), n in self._changes.items():
            if state == State.ACCEPTED:
                news[batch_id, minute, ACCEPTED] += n
                if delivery != NO_REPORT:
                    news[batch_id, minute, delivery] += n
        return news


def _add_to(table: sa.Table) -> PreparedInsert:
    key = [column.name for column in table.primary_key.columns]
    return PreparedInsert(table, [*key, "n"], unless=key, add="n")


_ADD: Final = {table.name: _add_to(table) for table in (batch_count, read_count, batch_minute)}
