"""How many submissions of a batch are in which state: kept beside the rows, in the same transaction.

A poll by a thousand waiting sensors reads these few rows instead of counting submissions. What changes ``state`` or
``delivery`` of a submission tells it to a :class:`Counts` and applies it as the last statement of its transaction:
whoever waits for a counter row holds no lock that the other could want, and the keys are taken in order.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from airflow_provider_mm7.store.tables import NO_REPORT, batch_count


class Counts:
    """Changes of counts, collected over one transaction."""

    def __init__(self) -> None:
        self._changes: Counter[tuple[str, str, str]] = Counter()

    def add(self, batch_id: str, state: str, delivery: str = NO_REPORT, n: int = 1) -> None:
        """Count rows that appear in a state."""
        self._changes[batch_id, state, delivery] += n

    def remove(self, batch_id: str, state: str, delivery: str = NO_REPORT, n: int = 1) -> None:
        """Count rows that leave a state."""
        self._changes[batch_id, state, delivery] -= n

    def apply(self, connection: sa.Connection) -> None:
        """Write the changes. The last statement of a transaction."""
        rows = [
            {"batch_id": batch_id, "state": state, "delivery": delivery, "n": n}
            for (batch_id, state, delivery), n in sorted(self._changes.items())
            if n
        ]
        self._changes.clear()
        if rows:
            connection.execute(_upsert(connection.dialect.name), rows)


def insert_into(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """``INSERT`` with ``ON CONFLICT``, which both databases have and SQLAlchemy keeps per dialect."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def _upsert(dialect: str) -> sqlite.Insert | postgresql.Insert:
    statement = insert_into(dialect, batch_count)
    return statement.on_conflict_do_update(
        index_elements=["batch_id", "state", "delivery"], set_={"n": batch_count.c.n + statement.excluded.n}
    )
