"""A ledger that forgets: what the engine asks of a store, in memory. Tells what the real one costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from airflow_provider_mm7.store import (
    Batch,
    BatchSummary,
    NewContent,
    NewSubmission,
    OptOutNews,
    Origin,
    Owner,
    SentMedia,
    Settlement,
    State,
    Store,
    Submission,
    batch_id_of,
)
from airflow_provider_mm7.store.tables import FIRST_CONTENT


class NoLedger(Store):
    """The calls of a run in which every message is accepted.

    Whatever else is asked of it goes to a database without tables, and fails loudly.
    """

    def __init__(self) -> None:
        # Nothing is opened by naming it, and nobody can open it.
        super().__init__("sqlite:////dev/null/mm7.db")
        self._planned: dict[str, list[NewSubmission]] = {}
        self._total: dict[str, int] = {}
        self._accepted: dict[str, int] = {}
        self._ids = count(1)

    def open_batch(self, key: str, *, conn_id: str, origin: Origin | None = None) -> Batch:
        batch_id = batch_id_of(key)
        self._planned[batch_id], self._total[batch_id], self._accepted[batch_id] = [], 0, 0
        return Batch(batch_id=batch_id, key=key, conn_id=conn_id, created_at=datetime.now(UTC))

    def record_contents(self, batch_id: str, contents: Iterable[NewContent]) -> Sequence[int]:
        return [FIRST_CONTENT for _ in contents]

    def drop_unused_contents(self, batch_id: str, *, used: int) -> int:
        return 0

    def record_media(self, batch_id: str, media: Sequence[SentMedia]) -> None:
        pass

    def replan(self, batch_id: str, submissions: Iterable[NewSubmission], **_: object) -> int:
        # Taken from the end.
        self._planned[batch_id] = list(submissions)[::-1]
        self._total[batch_id] = len(self._planned[batch_id])
        return self._total[batch_id]

    def claim(
        self,
        batch_id: str,
        claimant: Owner,
        *,
        limit: int,
        lease_s: float,
        transaction_id: Callable[[], str],
        group: int = 1,
    ) -> list[Submission]:
        planned = self._planned[batch_id]
        return [
            Submission(
                id=next(self._ids),
                batch_id=batch_id,
                row=0,
                recipient=planned.pop().recipient,
                state=State.SENDING,
                transaction_id=transaction_id(),
                attempts=1,
            )
            for _ in range(min(limit, len(planned)))
        ]

    def settle(self, batch_id: str, settlements: Iterable[Settlement], *, retry_after_s: float | None = None) -> int:
        moved = 0
        for settlement in settlements:
            if settlement.state is not State.ACCEPTED:
                raise RuntimeError(f"the sink accepts everything, and this is {settlement}")
            moved += 1
        self._accepted[batch_id] += moved
        return moved

    def turn(
        self,
        batch_id: str,
        claimant: Owner,
        *,
        settlements: Iterable[Settlement] = (),
        scope: str | None = None,
        **room: Any,
    ) -> list[Submission]:
        self.settle(batch_id, settlements)
        return self.claim(batch_id, claimant, **room)

    def opt_out_clock(self, scope: str) -> int:
        return 0

    def opt_out_news(self, scope: str, batch_id: str, after: int) -> OptOutNews:
        return OptOutNews(change_no=0)

    def settle_abandoned(self, batch_id: str, *, is_alive: Callable[[Owner], bool | None]) -> int:
        return 0

    def requeue_retries(self, batch_id: str) -> int:
        return 0

    def next_due(self, batch_id: str) -> datetime | None:
        return datetime.now(UTC) if self._planned[batch_id] else None

    def extend_lease(self, batch_id: str, claimant: Owner, *, lease_s: float) -> int:
        return 0

    def summary(self, batch_id: str) -> BatchSummary:
        total, accepted, planned = self._total[batch_id], self._accepted[batch_id], len(self._planned[batch_id])
        return BatchSummary(
            batch_id=batch_id,
            total=total,
            accepted=accepted,
            refused=0,
            unknown=0,
            suppressed=0,
            planned=planned,
            sending=total - accepted - planned,
        )

    def submissions(
        self, batch_id: str, *, after_id: int = 0, limit: int = 1000, states: Iterable[State] | None = None
    ) -> list[Submission]:
        return []
