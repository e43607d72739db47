"""``airflow mm7 batches | reports | history | inbound``: what is in the store."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.cli.output import Row, print_rows
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.store import Batch, BatchSummary, Inbound, Report, ReportKind, open_store

#: Rows read from the store at a time.
PAGE = 1000

_Row = TypeVar("_Row", Report, Inbound)


def batches(args: Namespace) -> None:
    """List batches with their counts, newest first."""
    store = open_store(config.store_url())
    found: list[Batch] = []
    while len(found) < args.limit:
        page = store.list_batches(min(PAGE, args.limit - len(found)), before=found[-1] if found else None)
        if not page:
            break
        found += page
    counts = store.summaries(batch.batch_id for batch in found)
    print_rows([batch_row(batch, counts[batch.batch_id]) for batch in found], args.output)


def reports(args: Namespace) -> None:
    """List the effective reports, one of each kind for each message and recipient, the latest at the end."""
    kind = ReportKind(args.kind) if args.kind else None
    since = parse_time(args.since, "--since")
    store = open_store(config.store_url())

    def page(after_id: int) -> list[Report]:
        return store.reports(
            batch_id=args.batch_id, message_id=args.message_id, since=since, kind=kind, after_id=after_id, limit=PAGE
        )

    print_rows([_report_row(report) for report in last_rows(page, args.limit)], args.output)


def history(args: Namespace) -> None:
    """List all distinct reports on one message in the order of their own dates, as the MMSC told them."""
    store = open_store(config.store_url())
    found = store.report_history(args.message, recipient=args.recipient)
    print_rows([_history_row(report) for report in found], args.output)


def last_rows(page: Callable[[int], list[_Row]], limit: int | None) -> Iterable[_Row]:
    """Read all pages and return the last rows, in their order."""
    rows: deque[_Row] = deque(maxlen=limit)
    after_id = 0
    while found := page(after_id):
        rows += found
        after_id = found[-1].id
    return rows


def parse_time(text: str | None, option: str) -> datetime | None:
    """Read RFC 3339 with a zone.

    :raises CommandError: it is no time, or has no zone.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise CommandError(
            f"{option}: {text!r} is not a time with a zone, such as 2026-01-20T09:30:47Z", exit_code=EXIT_USAGE
        )
    return time


def batch_row(batch: Batch, counts: BatchSummary) -> Row:
    """Return what is printed of a batch."""
    return {
        "batch_id": batch.batch_id,
        "created_at": batch.created_at,
        "conn_id": batch.conn_id,
        "key": batch.key,
        "total": counts.total,
        "accepted": counts.accepted,
        "refused": counts.refused,
        "unknown": counts.unknown,
        "suppressed": counts.suppressed,
        "planned": counts.planned,
        "sending": counts.sending,
    }


def _report_row(report: Report) -> Row:
    return {
        "message_id": report.message_id,
        "recipient": report.recipient,
        "mm_status": report.mm_status,
        "mm_status_raw": report.mm_status_raw,
        "date": report.date,
        "batch_id": report.batch_id,
        "received_at": report.received_at,
        "kind": str(report.kind),
        "status_text": report.status_text,
    }


def _history_row(report: Report) -> Row:
    return {
        "date": report.date,
        "kind": str(report.kind),
        "recipient": report.recipient,
        "mm_status": report.mm_status,
        "mm_status_raw": report.mm_status_raw,
        "mm_status_extension": report.mm_status_extension,
        "status_text": report.status_text,
        "sender": report.sender,
        "transaction_id": report.transaction_id,
        "received_at": report.received_at,
    }
