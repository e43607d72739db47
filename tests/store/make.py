"""Short ways to the values that store tests need, and the functions that run in other processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from threading import Barrier

from airflow_provider_mm7.store import (
    Batch,
    Holder,
    NewReport,
    NewSubmission,
    Owner,
    ReportKind,
    Settlement,
    State,
    Store,
    Submission,
    open_store,
)

_serial = itertools.count(1)


def numbers(count: int, first: int = 0) -> list[str]:
    return [f"+6421{100_000 + first + n}" for n in range(count)]


def owner(token: str = "one") -> Owner:
    return Owner(token=token, host="here", pid=os.getpid(), started=1.5)


def transaction() -> str:
    return f"tx-{os.getpid()}-{next(_serial)}"


def planned(store: Store, count: int = 1, *, key: str = "k") -> Batch:
    batch = store.open_batch(key, conn_id="mm7_default")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(count)])
    return batch


def claim(
    store: Store, batch: Batch | str, limit: int = 100, *, token: str = "one", group: int = 1
) -> list[Submission]:
    batch_id = batch if isinstance(batch, str) else batch.batch_id
    return store.claim(batch_id, owner(token), limit=limit, lease_s=60, transaction_id=transaction, group=group)


def settled(
    items: Iterable[Submission], state: State = State.ACCEPTED, *, message_id: str | None = None
) -> list[Settlement]:
    """Settlements of the items' own requests; accepted ones get ``m-ROW`` unless told."""
    return [
        Settlement(
            transaction_id=item.transaction_id,
            submission_id=item.id,
            state=state,
            message_id=(message_id or f"m-{item.recipient}") if state is State.ACCEPTED else None,
            status_code=1000 if state is State.ACCEPTED else 2000,
        )
        for item in items
    ]


def accepted(store: Store, count: int = 1, *, key: str = "k") -> tuple[Batch, Sequence[Submission]]:
    batch = planned(store, count, key=key)
    items = claim(store, batch, count)
    store.settle(batch.batch_id, settled(items))
    return batch, store.submissions(batch.batch_id, limit=count)


def report(
    message_id: str,
    status: str = "Retrieved",
    *,
    recipient: str | None = None,
    sender: str | None = None,
    date: datetime | None = None,
    kind: ReportKind = ReportKind.DELIVERY,
    raw: str | None = None,
    transaction_id: str | None = None,
) -> NewReport:
    return NewReport(
        kind=kind,
        conn_id="mm7_default",
        message_id=message_id,
        recipient=recipient if recipient is not None or sender is not None else message_id.removeprefix("m-"),
        sender=sender,
        mm_status=status,
        mm_status_raw=raw or status,
        date=date,
        transaction_id=transaction_id,
    )


def open_in_process(url: str, barrier: Barrier) -> str:
    """Open and use a store at the same moment as others do."""
    barrier.wait(60)
    store = open_store(url, migrate=True)
    return store.open_batch("same key", conn_id="mm7_default").batch_id


def drain_in_process(url: str, batch_id: str, barrier: Barrier) -> list[int]:
    """Claim until nothing is left, settling each claim; the ids that were got."""
    store = open_store(url)
    barrier.wait(60)
    got: list[int] = []
    while items := claim(store, batch_id, 3, token=f"process {os.getpid()}"):
        got += [item.id for item in items]
        store.settle(batch_id, settled(items))
    return got


def plan_in_process(url: str, batch_id: str, barrier: Barrier, backwards: bool) -> int:
    """Plan the same thousand rows as the others."""
    store = open_store(url)
    wanted = [NewSubmission(recipient=number) for number in numbers(1000)]
    barrier.wait(60)
    return store.plan(batch_id, reversed(wanted) if backwards else wanted)


def consume_in_process(url: str, barrier: Barrier) -> list[int]:
    """Claim and acknowledge messages from handsets until none is left; the ids that were got."""
    store = open_store(url)
    barrier.wait(60)
    got: list[int] = []
    holder = Holder(name=f"process {os.getpid()}", token="1")
    while found := store.claim_inbound("inbox", holder=holder, limit=3, lease_s=60):
        got += [one.inbound.id for one in found]
        store.ack_inbound("inbox", got, token=holder.token)
    return got
