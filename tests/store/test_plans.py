"""Queries that run all day use their indexes, as the databases themselves say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import NewContent, NewSubmission, ReportKind, Store, database, prepared
from airflow_provider_mm7.store.filters import ANY
from tests.store.make import claim, numbers, report, settled


@pytest.fixture
def filled(store: Store) -> Store:
    """A few batches with rows in every state."""
    for n in range(3):
        batch = store.open_batch(f"k{n}", conn_id="c")
        wanted = [NewSubmission(recipient=number) for number in numbers(20, first=1000 * n)]
        store.plan(batch.batch_id, wanted)
        items = claim(store, batch, 12)
        store.settle(batch.batch_id, settled(items[:10]))
        store.add_reports([report(f"m-{item.recipient}") for item in items[:8]])
        store.add_reports([report(f"m-{item.recipient}", "Read", kind=ReportKind.READ) for item in items[:4]])
    return store


def statements_of(store: Store, work: Callable[[], object]) -> list[tuple[str, object]]:
    """Listen to what is sent to the database."""
    heard: list[tuple[str, object]] = []

    def listen(_c: object, _cursor: object, statement: str, parameters: object, _context: object, many: bool) -> None:
        heard.append((statement, parameters[0] if many else parameters))  # type: ignore[index]

    def overhear(connection: sa.Connection, text: str, values: object, result: Callable[[Any], object]) -> object:
        heard.append((text, values))
        return execute(connection, text, values, result)

    execute = database.by_driver
    engine = store._db.engine
    sa.event.listen(engine, "before_cursor_execute", listen)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepared, "by_driver", overhear)
            work()
    finally:
        sa.event.remove(engine, "before_cursor_execute", listen)
    return [(text, values) for text, values in heard if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]


def plan_of(store: Store, statement: str, parameters: object, *, as_it_is: bool = False) -> str:
    prefix = "EXPLAIN QUERY PLAN " if store.dialect == "sqlite" else "EXPLAIN "
    with store._db.engine.connect() as connection:
        if store.dialect == "postgresql" and not as_it_is:
            # Small tables are read whole by choice; what is asked is whether there is an index to choose.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        rows = connection.exec_driver_sql(prefix + statement, parameters).all()  # type: ignore[arg-type]
        return "\n".join(str(row[-1]) for row in rows)


def scans(plan: str) -> list[str]:
    """Whole tables read: ``SCAN mm7_x`` of SQLite, ``Seq Scan on mm7_x`` of PostgreSQL."""
    return [
        line
        for line in plan.splitlines()
        if "Seq Scan" in line or (line.startswith("SCAN mm7") and "INDEX" not in line)
    ]


#: Tables of few rows: a planner may read them whole.
FEW = {"mm7_owner", "mm7_batch", "mm7_batch_count", "mm7_read_count"}


def ids(store: Store) -> list[str]:
    return [batch.batch_id for batch in store.list_batches()]


@pytest.mark.parametrize(
    ("work", "index"),
    [
        (lambda store, batch: claim(store, batch, 5), "ix_mm7_submission_claimable"),
        (lambda store, batch: store.settle(batch, settled(claim(store, batch, 5))), "ix_mm7_report_message_id"),
        (lambda store, batch: store.next_due(batch), "ix_mm7_submission_claimable"),
        (lambda store, batch: store.settle_abandoned(batch, is_alive=lambda _: False), "ix_mm7_submission_sending"),
        (lambda store, batch: store.add_reports([report("m-+6421100001", "Expired")]), "ix_mm7_submission_message_id"),
        (lambda store, batch: store.delivery_of_messages(["m-+6421100001"]), "ix_mm7_submission_message_id"),
        (lambda store, batch: store.first_inbound(ANY, senders=["1", "2"]), "ix_mm7_inbound_sender_key_id"),
        (lambda store, batch: store.first_inbound(ANY, linked_ids=["m1"]), "ix_mm7_inbound_linked_id_id"),
        (lambda store, batch: store.submissions(batch, after_id=50, limit=5), ""),
        (lambda store, batch: store.reports(batch_id=batch, limit=5), ""),
        (lambda store, batch: store.plan(batch, [NewSubmission(recipient="+1")]), ""),
        (lambda store, batch: store.plan(batch, [NewSubmission(recipient=numbers(1)[0])], contents=[7]), ""),
        (lambda store, batch: store.record_contents(batch, [NewContent()]), "mm7_content"),
        (lambda store, batch: store.only_content(batch), "mm7_content"),
        (lambda store, batch: store.content(batch, 1), "mm7_content"),
    ],
    ids=[
        "claim",
        "settle",
        "next_due",
        "abandoned",
        "add_reports",
        "messages",
        "answer_from",
        "answer_to",
        "submissions",
        "reports",
        "plan",
        "plan_other_content",
        "record_contents",
        "only_content",
        "content",
    ],
)
def test_no_table_is_read_whole(filled: Store, work: Callable[[Store, str], object], index: str) -> None:
    batch_id = ids(filled)[0]
    heard = statements_of(filled, lambda: work(filled, batch_id))
    heard = [(text, values) for text, values in heard if "pg_advisory" not in text]
    plans = [plan_of(filled, text, values) for text, values in heard]
    assert plans
    assert [line for plan in plans for line in scans(plan) if not FEW & set(line.split())] == []
    assert any(index in plan for plan in plans)


def test_a_poll_of_many_batches_is_one_query_of_few_rows(filled: Store) -> None:
    wanted = ids(filled)[:2]
    heard = statements_of(filled, lambda: filled.delivery_of_batches(wanted))
    (poll,) = heard
    assert "mm7_submission" not in poll[0]
    assert "mm7_report" not in poll[0]
    with filled._db.engine.connect() as connection:
        rows = connection.exec_driver_sql(*poll).all()  # type: ignore[arg-type]
    # planned, sending, accepted, accepted and delivered, and read: however many submissions there are.
    assert len(rows) <= 5 * len(wanted)
    if filled.dialect == "sqlite":
        plan = plan_of(filled, *poll)
        assert "SEARCH mm7_batch_count USING INDEX" in plan
        assert "SEARCH mm7_read_count USING INDEX" in plan
        assert not [line for line in plan.splitlines() if line.startswith("SCAN")]


@pytest.mark.postgres
def test_a_poll_on_postgres_uses_the_index_among_many_batches(postgres_store: Store) -> None:
    fill = """
        INSERT INTO mm7_batch (batch_id, key, conn_id, created_at)
            SELECT 'b' || n, n, 'c', now() FROM generate_series(1, 5000) n;
        INSERT INTO mm7_submission (batch_id, row_no, recipient, recipient_key, state, attempts, not_before, delivery,
                                    updated_at)
            SELECT 'b' || n, 0, n, n, 'planned', 0, now(), '', now() FROM generate_series(1, 5000) n;
        INSERT INTO mm7_batch_count SELECT 'b' || n, 'planned', '', 1 FROM generate_series(1, 5000) n;
        INSERT INTO mm7_read_count SELECT 'b' || n, '', 'Read', 1 FROM generate_series(1, 5000) n;
        ANALYZE mm7_batch; ANALYZE mm7_batch_count; ANALYZE mm7_read_count;
    """
    with postgres_store._db.engine.begin() as connection:
        for statement in fill.split(";")[:-1]:
            connection.execute(sa.text(statement))
    (poll,) = statements_of(postgres_store, lambda: postgres_store.delivery_of_batches(["b17", "b18"]))
    plan = plan_of(postgres_store, *poll, as_it_is=True)
    assert "Seq Scan" not in plan
    assert "pk_mm7_batch_count" in plan
    assert "pk_mm7_read_count" in plan
