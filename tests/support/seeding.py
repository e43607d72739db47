"""A ledger of a million messages in seconds: rows as sending and reports leave them, written by SQL in bulk."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from airflow_provider_mm7.store import Store

#: Of a hundred messages of a batch: state, status code, delivery status, and how many. In the order of their rows.
MIX = (
    ("accepted", 1000, "Retrieved", 88),
    ("accepted", 1000, "Expired", 3),
    ("accepted", 1000, "Rejected", 2),
    ("accepted", 1000, "Indeterminate", 1),
    ("accepted", 1000, "", 3),
    ("refused", 2002, "", 2),
    ("refused", 3002, "", 1),
)


def seed(
    store: Store,
    *,
    batches: int,
    each: int,
    newest: datetime,
    apart: timedelta = timedelta(minutes=7),
    dags: int = 5,
    first: int = 0,
) -> list[str]:
    """Write batches with messages, reports, and all that is kept beside them.

    :param each: messages of a batch; a multiple of 100.
    :param newest: when the newest batch was made (aware).
    :param apart: time between two batches.
    :param dags: how many DAGs take turns.
    :param first: number of the first batch; higher than that of any batch written before.
    :return: batch ids, the oldest first.
    """
    # Longer than any key, so that they are in the order of the time.
    ids = [f"b{n:024d}" for n in range(first, first + batches)]
    made = [newest - apart * (batches - 1 - n) for n in range(batches)]
    rows = [
        {
            "batch_id": batch_id,
            "key": f"seed/{n}",
            "conn_id": "mm7_default",
            "dag_id": f"campaign_{n % dags}",
            "run_id": f"scheduled__{at:%Y-%m-%dT%H:%M:%S}+00:00",
            "task_id": "send",
            "map_index": -1,
            "created_at": at if store.dialect == "postgresql" else at.replace(tzinfo=None),
        }
        for n, (batch_id, at) in enumerate(zip(ids, made, strict=True), first)
    ]

    def fill(connection: sa.Connection) -> None:
        if store.dialect == "postgresql":
            # No check of every foreign key: rows are made from those that they refer to.
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.text(_BATCH), rows)
        for statement in _STATEMENTS[store.dialect]:
            connection.execute(sa.text(statement), {"each": each, "lowest": ids[0]})
        for batch_id, at in zip(ids, made, strict=True):
            _counts(connection, batch_id, int(at.timestamp()) // 60, each)

    store._db.write(fill)
    if store.dialect == "postgresql":
        # As its autovacuum does by itself. SQLite has no figures of its tables unless somebody asks for them.
        store._db.write(lambda connection: connection.execute(sa.text("ANALYZE")))
    return ids


def _counts(connection: sa.Connection, batch_id: str, minute: int, each: int) -> None:
    counts: dict[tuple[str, str], int] = {}
    news: dict[tuple[int, str], int] = {}
    for state, code, delivery, share in MIX:
        n = share * each // 100
        counts[state, delivery] = counts.get((state, delivery), 0) + n
        what = "accepted" if state == "accepted" else f"refused {code}"
        for place in range(5):
            news[minute + place, what] = news.get((minute + place, what), 0) + n // 5
            if delivery:
                at = minute + 2 + place * 3
                news[at, delivery] = news.get((at, delivery), 0) + n // 5
    connection.execute(
        sa.text("INSERT INTO mm7_batch_count VALUES (:batch_id, :state, :delivery, :n)"),
        [{"batch_id": batch_id, "state": one[0], "delivery": one[1], "n": n} for one, n in counts.items()],
    )
    connection.execute(
        sa.text("INSERT INTO mm7_batch_minute VALUES (:batch_id, :minute, :what, :n)"),
        [{"batch_id": batch_id, "minute": at, "what": what, "n": n} for (at, what), n in news.items()],
    )


_BATCH = """
    INSERT INTO mm7_batch (batch_id, key, conn_id, dag_id, run_id, task_id, map_index, created_at)
    VALUES (:batch_id, :key, :conn_id, :dag_id, :run_id, :task_id, :map_index, :created_at)
"""

_PLACES = "WITH RECURSIVE places(p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM places WHERE p + 1 < :each)"


def _case(column: int) -> str:
    """Map a place to a value of :data:`MIX`, spread evenly: the same hundred again and again."""
    text, edge = "CASE ", 0
    for entry in MIX:
        edge += entry[3]
        # 37 and 100 have no common divisor: neighbours differ.
        text += f"WHEN p * 37 % 100 < {edge} THEN {entry[column]!r} "
    return text + "END"


_SUBMISSION = f"""
    {_PLACES}
    INSERT INTO mm7_submission (batch_id, row_no, recipient, recipient_key, state, attempts, not_before, transaction_id,
                                message_id, status_code, status_text, delivery, updated_at)
    SELECT b.batch_id, 0, '+6421' || (1000000 + p), '6421' || (1000000 + p), {_case(0)}, 1, {{epoch}},
           't-' || b.batch_id || p, CASE WHEN {_case(0)} = 'accepted' THEN 'm-' || b.batch_id || p END,
           {_case(1)}, 'Success', {_case(2)}, {{soon}}
    FROM mm7_batch b CROSS JOIN places WHERE b.batch_id >= :lowest ORDER BY b.batch_id, p
"""
_REPORT = """
    INSERT INTO {table} ({digest}kind, conn_id, message_id, {keys}recipient, sender, mm_status, mm_status_raw, date,
                         received_at{batch})
    SELECT {values}'delivery', 'mm7_default', message_id, {key_values}recipient, NULL, delivery, delivery, updated_at,
           updated_at{batch_value}
    FROM mm7_submission WHERE delivery <> '' AND state = 'accepted' AND batch_id >= :lowest AND :each > 0
"""
_REPORTS = (
    _REPORT.format(
        table="mm7_report",
        digest="",
        keys="recipient_key, sender_key, ",
        batch=", batch_id",
        values="",
        key_values="recipient_key, '', ",
        batch_value=", batch_id",
    ),
    _REPORT.format(
        table="mm7_report_event",
        digest="digest, ",
        keys="",
        batch="",
        values="'d-' || message_id, ",
        key_values="",
        batch_value="",
    ),
)
_STATEMENTS = {
    "sqlite": (
        _SUBMISSION.format(
            epoch="'1970-01-01 00:00:00.000000'",
            soon="strftime('%Y-%m-%d %H:%M:%S.000000', b.created_at, '+' || (p * 300 / :each) || ' seconds')",
        ),
        *_REPORTS,
    ),
    "postgresql": (
        _SUBMISSION.format(
            epoch="timestamptz '1970-01-01 00:00:00+00'",
            soon="b.created_at + interval '1 second' * (p * 300 / CAST(:each AS integer))",
        ).replace(":each)", "CAST(:each AS integer))"),
        *_REPORTS,
    ),
}
