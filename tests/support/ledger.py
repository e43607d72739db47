"""A store with batches in it, as sending and receiving leave them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow_provider_mm7.protocol.statuses import MMStatus
from airflow_provider_mm7.store import NewReport, NewSubmission, Owner, ReportKind, Settlement, State, Store

SENDER = Owner(token="test", host="localhost", pid=1, started=0.0)
_DATE = datetime(2026, 3, 1, tzinfo=UTC)
_numbers = itertools.count()


def send(
    store: Store,
    key: str,
    *,
    accepted: int = 0,
    refused: int = 0,
    retry: int = 0,
    suppressed: int = 0,
    planned: int = 0,
    one_message: bool = False,
) -> tuple[str, list[str]]:
    """Send a batch.

    :param one_message: one MessageID for all that are accepted, as an MMSC gives it to several recipients of a request.
    :return: its id, and the MessageIDs of what was accepted.
    """
    batch_id = store.open_batch(key, conn_id="mm7_default").batch_id
    total = accepted + refused + retry + suppressed + planned
    store.plan(batch_id, [NewSubmission(recipient=f"+6421{number:07}") for number in range(total)])
    states = [State.ACCEPTED] * accepted + [State.REFUSED] * refused + [State.RETRY] * retry
    states += [State.SUPPRESSED] * suppressed
    claimed = store.claim(
        batch_id, SENDER, limit=max(len(states), 1), lease_s=60, transaction_id=lambda: f"t{next(_numbers)}"
    )
    message_ids = [f"{key}-m{0 if one_message else number}" for number in range(accepted)]
    settlements = [
        Settlement(
            submission_id=submission.id,
            state=state,
            message_id=message_ids[number] if state is State.ACCEPTED else None,
            status_code=1000 if state is State.ACCEPTED else 3000,
        )
        for number, (submission, state) in enumerate(zip(claimed, states, strict=False))
    ]
    store.settle(batch_id, settlements)
    return batch_id, message_ids


def report(
    store: Store,
    message_ids: Sequence[str],
    status: str,
    *,
    after_s: int = 0,
    kind: ReportKind = ReportKind.DELIVERY,
) -> None:
    """Receive a delivery report, or read reply, on each message."""
    store.add_reports(
        [
            NewReport(
                kind=kind,
                conn_id="mm7_default",
                message_id=message_id,
                recipient=None,
                sender=None,
                mm_status=MMStatus.parse(status).name,
                mm_status_raw=status,
                date=_DATE + timedelta(seconds=after_s),
            )
            for message_id in message_ids
        ]
    )
