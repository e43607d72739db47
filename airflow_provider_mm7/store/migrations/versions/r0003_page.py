"""What pages show of many messages: indexes for their lists, and what happened in which minute."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BATCH_INDEXES = (
    ("ix_mm7_batch_of_dag", ["dag_id", "created_at", "batch_id"]),
    ("ix_mm7_batch_of_run", ["dag_id", "run_id", "created_at", "batch_id"]),
    ("ix_mm7_batch_of_task", ["dag_id", "task_id", "created_at", "batch_id"]),
)
_SUBMISSION_INDEXES = (
    ("ix_mm7_submission_accepted", ["batch_id", "delivery", "id"], "state = 'accepted'"),
    ("ix_mm7_submission_refused", ["batch_id", "status_code", "id"], "state = 'refused'"),
    (
        "ix_mm7_submission_problem",
        ["batch_id", "state", "id"],
        "state IN ('refused', 'retry', 'unknown', 'suppressed')",
    ),
)

#: Minute of Unix time of a column.
_MINUTE = {
    "sqlite": "CAST(strftime('%s', {}) AS INTEGER) / 60",
    "postgresql": "CAST(floor(extract(epoch FROM {}) / 60) AS INTEGER)",
}


def upgrade() -> None:
    for name, columns in _BATCH_INDEXES:
        op.create_index(name, "mm7_batch", columns)
    for name, columns, condition in _SUBMISSION_INDEXES:
        where = sa.text(condition)
        op.create_index(name, "mm7_submission", columns, postgresql_where=where, sqlite_where=where)
    op.create_table(
        "mm7_batch_minute",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("minute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "minute", "what", name="pk_mm7_batch_minute"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_batch_minute_batch_id"),
    )
    _fill_in()


def downgrade() -> None:
    op.drop_table("mm7_batch_minute")
    for name, _, _ in _SUBMISSION_INDEXES:
        op.drop_index(name, "mm7_submission")
    for name, _ in _BATCH_INDEXES:
        op.drop_index(name, "mm7_batch")


def _fill_in() -> None:
    """Tell what happened before there was this table: rows keep when they were settled, reports when they came."""
    minute = _MINUTE[op.get_bind().dialect.name]
    settled, received = minute.format("s.updated_at"), minute.format("r.received_at")
    op.execute(
        "INSERT INTO mm7_batch_minute (batch_id, minute, what, n) "  # noqa: S608
        f"SELECT s.batch_id, {settled}, "
        "CASE WHEN s.state = 'accepted' THEN 'accepted' ELSE 'refused ' || COALESCE(CAST(s.status_code AS TEXT), '') "
        "END, count(*) FROM mm7_submission s WHERE s.state IN ('accepted', 'refused') GROUP BY 1, 2, 3"
    )
    op.execute(
        "INSERT INTO mm7_batch_minute (batch_id, minute, what, n) "  # noqa: S608
        f"SELECT r.batch_id, {received}, r.mm_status, count(*) FROM mm7_report r "
        "JOIN mm7_batch b ON b.batch_id = r.batch_id WHERE r.kind = 'delivery' GROUP BY 1, 2, 3"
    )
