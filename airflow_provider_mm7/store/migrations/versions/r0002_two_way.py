"""What consumers of messages from handsets have done, opt-outs, counts of read replies, and limits of alerts."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)

#: Rows filled in at a time.
_CHUNK = 1000


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def upgrade() -> None:
    _inbound()
    op.create_table(
        "mm7_opt_out",
        _text("scope"),
        _text("number_key"),
        _text("number"),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        _text("source"),
        _text("keyword", null=True),
        _text("conn_id", null=True),
        sa.Column("said_at", _TIME, nullable=True),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.Column("change_no", sa.BigInteger(), nullable=False),
        _text("confirmation", null=True),
        sa.PrimaryKeyConstraint("scope", "number_key", name="pk_mm7_opt_out"),
    )
    op.create_index("ix_mm7_opt_out_scope_change_no", "mm7_opt_out", ["scope", "change_no"])
    op.create_index("ix_mm7_opt_out_confirmation", "mm7_opt_out", ["confirmation"])
    op.create_table(
        "mm7_opt_out_clock",
        _text("scope"),
        sa.Column("change_no", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_mm7_opt_out_clock"),
    )
    _reads()
    _alerts()


def downgrade() -> None:
    for name in ("mm7_alert", "mm7_alert_scope"):
        op.drop_table(name)
    for name in ("mm7_read_count", "mm7_opt_out_clock", "mm7_opt_out", "mm7_inbound_cursor", "mm7_inbound_claim"):
        op.drop_table(name)
    op.drop_column("mm7_submission", "read_status")
    op.drop_index("ix_mm7_inbound_sender_key_id", "mm7_inbound")
    op.drop_index("ix_mm7_inbound_linked_id_id", "mm7_inbound")
    op.create_index("ix_mm7_inbound_linked_id", "mm7_inbound", ["linked_id"])
    with op.batch_alter_table("mm7_inbound", table_kwargs={"sqlite_autoincrement": True}) as table:
        for column in ("media_count", "keyword", "recipient_keys", "sender_key"):
            table.drop_column(column)


def _reads() -> None:
    op.add_column("mm7_submission", sa.Column("read_status", sa.Text(), nullable=True))
    op.create_table(
        "mm7_read_count",
        _text("batch_id"),
        _text("delivery"),
        _text("read_status"),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "delivery", "read_status", name="pk_mm7_read_count"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_read_count_batch_id"),
    )
    # Read replies that came before this table did.
    replies = (
        "mm7_report WHERE mm7_report.kind = 'read' AND mm7_report.batch_id IS NOT NULL "
        "AND mm7_report.message_id = mm7_submission.message_id "
        "AND mm7_report.recipient_key = mm7_submission.recipient_key"
    )
    op.execute(
        f"UPDATE mm7_submission SET read_status = (SELECT mm_status FROM {replies}) "  # noqa: S608 - our own text
        f"WHERE message_id IS NOT NULL AND EXISTS (SELECT 1 FROM {replies})"
    )
    op.execute(
        "INSERT INTO mm7_read_count (batch_id, delivery, read_status, n) SELECT batch_id, delivery, read_status, "
        "count(*) FROM mm7_submission WHERE read_status IS NOT NULL GROUP BY batch_id, delivery, read_status"
    )


def _alerts() -> None:
    op.create_table(
        "mm7_alert_scope",
        _text("scope"),
        sa.Column("paid_at", _TIME, nullable=False),
        sa.Column("summary_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_mm7_alert_scope"),
    )
    op.create_table(
        "mm7_alert",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        _text("key"),
        _text("scope"),
        _text("event"),
        _text("state"),
        _text("told_by", null=True),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("going_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_mm7_alert"),
        sa.UniqueConstraint("key", name="uq_mm7_alert_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mm7_alert_scope_state_id", "mm7_alert", ["scope", "state", "id"])
    op.create_index("ix_mm7_alert_told_by", "mm7_alert", ["told_by"])
    op.create_index("ix_mm7_alert_asked_at", "mm7_alert", ["asked_at"])


def _inbound() -> None:
    with op.batch_alter_table("mm7_inbound", table_kwargs={"sqlite_autoincrement": True}) as table:
        for name in ("sender_key", "recipient_keys", "keyword"):
            table.add_column(sa.Column(name, sa.Text(), nullable=True))
        table.add_column(sa.Column("media_count", sa.Integer(), nullable=True))
    _fill_in(op.get_bind())
    with op.batch_alter_table("mm7_inbound", table_kwargs={"sqlite_autoincrement": True}) as table:
        for name in ("sender_key", "recipient_keys", "keyword"):
            table.alter_column(name, existing_type=sa.Text(), nullable=False)
        table.alter_column("media_count", existing_type=sa.Integer(), nullable=False)
    op.drop_index("ix_mm7_inbound_linked_id", "mm7_inbound")
    op.create_index("ix_mm7_inbound_linked_id_id", "mm7_inbound", ["linked_id", "id"])
    op.create_index("ix_mm7_inbound_sender_key_id", "mm7_inbound", ["sender_key", "id"])
    op.create_table(
        "mm7_inbound_claim",
        _text("consumer"),
        sa.Column("inbound_id", _BIG, autoincrement=False, nullable=False),
        _text("state"),
        _text("holder"),
        _text("token"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", _TIME, nullable=True),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "inbound_id", name="pk_mm7_inbound_claim"),
        sa.ForeignKeyConstraint(["inbound_id"], ["mm7_inbound.id"], name="fk_mm7_inbound_claim_inbound_id"),
    )
    op.create_index("ix_mm7_inbound_claim_inbound_id", "mm7_inbound_claim", ["inbound_id"])
    not_done = sa.text("state <> 'done'")
    op.create_index(
        "ix_mm7_inbound_claim_open",
        "mm7_inbound_claim",
        ["consumer", "attempts", "inbound_id"],
        postgresql_where=not_done,
        sqlite_where=not_done,
    )
    op.create_table(
        "mm7_inbound_cursor",
        _text("consumer"),
        _text("filter"),
        sa.Column("after_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "filter", name="pk_mm7_inbound_cursor"),
    )


def _fill_in(connection: sa.Connection) -> None:
    """Give old rows what filters compare, as the store of this revision made it."""
    after = 0
    query = sa.text(
        "SELECT id, sender, recipients, text, parts FROM mm7_inbound WHERE id > :after ORDER BY id LIMIT :chunk"
    )
    update = sa.text(
        "UPDATE mm7_inbound SET sender_key = :sender, recipient_keys = :recipients, keyword = :keyword, "
        "media_count = :media WHERE id = :id"
    )
    while rows := connection.execute(query, {"after": after, "chunk": _CHUNK}).all():
        after = rows[-1].id
        connection.execute(
            update,
            [
                {
                    "id": row.id,
                    "sender": _key(row.sender or ""),
                    "recipients": "".join(f"|{_key(one)}" for one in _json(row.recipients)) + "|",
                    "keyword": _first_word(row.text or ""),
                    "media": sum(_is_media(part["content_type"]) for part in _json(row.parts)),
                }
                for row in rows
            ],
        )


def _json(value: object) -> list[Any]:
    return list(json.loads(value)) if isinstance(value, str) else list(value)  # type: ignore[call-overload]


def _key(address: str) -> str:
    plain = re.split("/TYPE=", address, maxsplit=1, flags=re.IGNORECASE)[0].strip()
    if re.search(r"[^\W\d_]", plain) or "@" in plain:
        return plain.casefold()[:255]
    return re.sub("[^0-9]", "", plain) or plain[:255]


def _first_word(text: str) -> str:
    found = re.search(r"\w+", unicodedata.normalize("NFKC", text[:1000]))
    return found[0].casefold()[:64] if found else ""


def _is_media(content_type: str) -> bool:
    return not content_type.lower().startswith(("text/plain", "application/smil"))
