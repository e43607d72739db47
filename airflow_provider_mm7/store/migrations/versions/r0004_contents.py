"""What the messages of a batch consist of, and which of them has which content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def upgrade() -> None:
    op.create_table(
        "mm7_content",
        _text("batch_id"),
        sa.Column("content_no", sa.Integer(), autoincrement=False, nullable=False),
        _text("digest"),
        _text("subject", null=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "content_no", name="pk_mm7_content"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_content_batch_id"),
        sa.UniqueConstraint("batch_id", "digest", name="uq_mm7_content_batch_id_digest"),
    )
    op.create_table(
        "mm7_content_media",
        _text("batch_id"),
        _text("media_key"),
        _text("name"),
        _text("content_type"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _text("sha256"),
        _text("uri", null=True),
        _text("text", null=True),
        sa.PrimaryKeyConstraint("batch_id", "media_key", name="pk_mm7_content_media"),
        sa.ForeignKeyConstraint(["batch_id"], ["mm7_batch.batch_id"], name="fk_mm7_content_media_batch_id"),
    )
    # Nothing to fill in: of messages that were sent before, nobody wrote down what they consisted of.
    op.add_column("mm7_submission", sa.Column("content_no", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("mm7_submission", "content_no")
    for name in ("mm7_content_media", "mm7_content"):
        op.drop_table(name)
