"""The ledger, reports, inbound messages and components."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def _id() -> sa.Column[int]:
    return sa.Column("id", _BIG, autoincrement=True, nullable=False)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, _TIME, nullable=null)


def upgrade() -> None:
    _sending()
    _reports()
    _inbound()
    op.create_table(
        "mm7_component",
        _text("kind"),
        _text("host"),
        sa.Column("pid", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("started_at"),
        _time("heartbeat_at"),
        sa.PrimaryKeyConstraint("kind", "host", "pid", name="pk_mm7_component"),
    )
    op.create_index("ix_mm7_component_kind_heartbeat_at", "mm7_component", ["kind", "heartbeat_at"])
    op.create_table(
        "mm7_rate", _text("conn_id"), _time("next_at"), sa.PrimaryKeyConstraint("conn_id", name="pk_mm7_rate")
    )
    op.create_table(
        "mm7_family_member",
        _text("family"),
        _text("recipient_key"),
        _text("batch_id"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_family_member_batch_id"),
        sa.PrimaryKeyConstraint("family", "recipient_key", name="pk_mm7_family_member"),
    )
    op.create_index("ix_mm7_family_member_batch_id", "mm7_family_member", ["batch_id"])


def downgrade() -> None:
    for table in (
        "mm7_family_member",
        "mm7_rate",
        "mm7_component",
        "mm7_aside",
        "mm7_inbound",
        "mm7_report_event",
        "mm7_report",
        "mm7_owner",
        "mm7_batch_count",
        "mm7_submission",
        "mm7_batch",
    ):
        op.drop_table(table)


def _sending() -> None:
    op.create_table(
        "mm7_batch",
        _text("batch_id"),
        _text("key"),
        _text("conn_id"),
        _text("dag_id", null=True),
        _text("run_id", null=True),
        _text("task_id", null=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("batch_id", name="pk_mm7_batch"),
    )
    op.create_index("ix_mm7_batch_created_at_batch_id", "mm7_batch", ["created_at", "batch_id"])
    op.create_table(
        "mm7_submission",
        _id(),
        _text("batch_id"),
        sa.Column("row_no", _BIG, nullable=False),
        _text("recipient"),
        _text("recipient_key"),
        _text("state"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _time("not_before"),
        _text("owner_token", null=True),
        _time("lease_until", null=True),
        _text("transaction_id", null=True),
        _text("message_id", null=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        _text("status_text", null=True),
        _text("delivery"),
        _time("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_submission"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_submission_batch_id"),
        sa.UniqueConstraint(
            "batch_id", "recipient_key", "row_no", name="uq_mm7_submission_batch_id_recipient_key_row_no"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_submission_batch_id_id", "mm7_submission", ["batch_id", "id"])
    for name, columns, condition in (
        ("claimable", ["batch_id", "not_before", "id"], "state IN ('planned', 'retry')"),
        ("sending", ["batch_id", "id"], "state = 'sending'"),
        ("message_id", ["message_id"], "message_id IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(
            f"ix_mm7_submission_{name}", "mm7_submission", columns, postgresql_where=where, sqlite_where=where
        )
    op.create_table(
        "mm7_batch_count",
        _text("batch_id"),
        _text("state"),
        _text("delivery"),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "state", "delivery", name="pk_mm7_batch_count"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_batch_count_batch_id"),
    )
    op.create_table(
        "mm7_owner",
        _text("token"),
        _text("host"),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.Float(53), nullable=False),
        _time("claimed_at"),
        sa.PrimaryKeyConstraint("token", name="pk_mm7_owner"),
    )


def _reports() -> None:
    op.create_table(
        "mm7_report",
        _id(),
        _text("kind"),
        _text("conn_id"),
        _text("message_id"),
        _text("recipient_key"),
        _text("recipient", null=True),
        _text("sender", null=True),
        _text("sender_key"),
        _text("mm_status"),
        _text("mm_status_raw", null=True),
        _text("mm_status_extension", null=True),
        _text("status_text", null=True),
        _time("date", null=True),
        _text("transaction_id", null=True),
        _time("received_at"),
        _text("batch_id", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_report"),
        sa.UniqueConstraint("kind", "message_id", "recipient_key", name="uq_mm7_report_kind_message_id_recipient_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_report_message_id", "mm7_report", ["message_id"])
    op.create_index("ix_mm7_report_batch_id_id", "mm7_report", ["batch_id", "id"])
    op.create_index("ix_mm7_report_received_at", "mm7_report", ["received_at"])
    op.create_table(
        "mm7_report_event",
        _id(),
        _text("digest"),
        _text("kind"),
        _text("conn_id"),
        _text("message_id"),
        _text("recipient", null=True),
        _text("sender", null=True),
        _text("mm_status"),
        _text("mm_status_raw", null=True),
        _text("mm_status_extension", null=True),
        _text("status_text", null=True),
        _time("date", null=True),
        _text("transaction_id", null=True),
        _time("received_at"),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_report_event"),
        sa.UniqueConstraint("digest", name="uq_mm7_report_event_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_report_event_message_id", "mm7_report_event", ["message_id"])
    op.create_index("ix_mm7_report_event_received_at", "mm7_report_event", ["received_at"])


def _inbound() -> None:
    op.create_table(
        "mm7_inbound",
        _id(),
        _text("digest"),
        _text("conn_id"),
        _text("transaction_id", null=True),
        _text("sender", null=True),
        sa.Column("recipients", sa.JSON(), nullable=False),
        _text("subject", null=True),
        _text("linked_id", null=True),
        _time("date", null=True),
        _text("text", null=True),
        _text("priority", null=True),
        sa.Column("parts", sa.JSON(), nullable=False),
        _time("received_at"),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_inbound"),
        sa.UniqueConstraint("digest", name="uq_mm7_inbound_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_inbound_received_at", "mm7_inbound", ["received_at"])
    op.create_index("ix_mm7_inbound_linked_id", "mm7_inbound", ["linked_id"])
    op.create_table(
        "mm7_aside",
        _id(),
        _text("conn_id"),
        _text("content_type", null=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _text("error"),
        _time("received_at"),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_aside"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_aside_received_at", "mm7_aside", ["received_at"])
