"""The tables. Migrations create them; a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_mm7.store.columns import BigId, UTCDateTime

#: Alembic's version table: the store may share a database with others.
VERSION_TABLE: Final = "mm7_alembic_version"

#: ``not_before`` of what may be claimed at once. Never NULL, so that a claim is one range of one index.
DUE_NOW: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: ``not_before`` of a retry that another run asks for: what was not tried yet goes before it, and is not held up by it.
NEXT_RUN: Final = datetime(1970, 1, 2, tzinfo=UTC)

#: ``not_before`` of a retry that waits for somebody to ask for it.
NOT_BY_ITSELF: Final = datetime(9999, 1, 1, tzinfo=UTC)

#: Number of a batch's first content, which ``content_no`` does not name: most batches have no other.
FIRST_CONTENT: Final = 1

#: ``delivery`` of what has no delivery report.
NO_REPORT: Final = ""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", BigId, primary_key=True, autoincrement=True)


batch = sa.Table(
    "mm7_batch",
    metadata,
    sa.Column("batch_id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("dag_id", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("task_id", sa.Text),
    sa.Column("map_index", sa.Integer),
    sa.Column("created_at", UTCDateTime, nullable=False),
    sa.Index(None, "created_at", "batch_id"),
    # What a page of a DAG, of a run and of a task lists, newest first.
    sa.Index("ix_mm7_batch_of_dag", "dag_id", "created_at", "batch_id"),
    sa.Index("ix_mm7_batch_of_run", "dag_id", "run_id", "created_at", "batch_id"),
    sa.Index("ix_mm7_batch_of_task", "dag_id", "task_id", "created_at", "batch_id"),
)

submission = sa.Table(
    "mm7_submission",
    metadata,
    _id(),
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), nullable=False),
    sa.Column("row_no", BigId, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("recipient_key", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("not_before", UTCDateTime, nullable=False),
    sa.Column("owner_token", sa.Text),
    sa.Column("lease_until", UTCDateTime),
    sa.Column("transaction_id", sa.Text),
    sa.Column("message_id", sa.Text),
    sa.Column("status_code", sa.Integer),
    sa.Column("status_text", sa.Text),
    # The effective delivery status, kept with the row in the report's transaction: a poll never joins.
    sa.Column("delivery", sa.Text, nullable=False),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    # The effective read status, likewise; NULL where no read reply came.
    sa.Column("read_status", sa.Text),
    # What it consists of; NULL for the batch's first content.
    sa.Column("content_no", sa.Integer),
    sa.UniqueConstraint("batch_id", "recipient_key", "row_no"),
    sa.Index(None, "batch_id", "id"),
    sqlite_autoincrement=True,
)

#: The conditions of the partial indexes. Queries repeat them literally: a planner does not see through parameters.
CLAIMABLE: Final = sa.text("state IN ('planned', 'retry')")
SENDING: Final = sa.text("state = 'sending'")
HAS_MESSAGE_ID: Final = sa.text("message_id IS NOT NULL")
ACCEPTED: Final = sa.text("state = 'accepted'")
REFUSED: Final = sa.text("state = 'refused'")
PROBLEM: Final = sa.text("state IN ('refused', 'retry', 'unknown', 'suppressed')")


def _partial(name: str, where: sa.TextClause, *columns: sa.Column[Any]) -> sa.Index:
    return sa.Index(f"ix_mm7_submission_{name}", *columns, postgresql_where=where, sqlite_where=where)


# A claim reads the head of the first: planned rows, then retries as they fall due.
_partial("claimable", CLAIMABLE, submission.c.batch_id, submission.c.not_before, submission.c.id)
_partial("sending", SENDING, submission.c.batch_id, submission.c.id)
_partial("message_id", HAS_MESSAGE_ID, submission.c.message_id)
# Filters of a page of messages, each in the order of ids.
_partial("accepted", ACCEPTED, submission.c.batch_id, submission.c.delivery, submission.c.id)
_partial("refused", REFUSED, submission.c.batch_id, submission.c.status_code, submission.c.id)
_partial("problem", PROBLEM, submission.c.batch_id, submission.c.state, submission.c.id)

# How many submissions of a batch are in a state, and with which delivery status. Changed in the transaction that
# changes the submissions, always as its last statement (see counts.py). What a poll reads: a few rows a batch.
batch_count = sa.Table(
    "mm7_batch_count",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("delivery", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

# What happened to a batch in which minute (of Unix time): how many were accepted, were refused with which status code,
# and came to have which delivery status. What charts are drawn from; a few rows for each minute with news.
batch_minute = sa.Table(
    "mm7_batch_minute",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), primary_key=True),
    sa.Column("minute", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

# How many submissions of a batch with a read reply have which delivery and read status, kept as batch_count is. Both,
# since what could not be delivered will not be read any more.
read_count = sa.Table(
    "mm7_read_count",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), primary_key=True),
    sa.Column("delivery", sa.Text, primary_key=True),
    sa.Column("read_status", sa.Text, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),
)

# What messages of a batch consist of: a row for each different content (see contents.py).
content = sa.Table(
    "mm7_content",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), primary_key=True),
    sa.Column("content_no", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.UniqueConstraint("batch_id", "digest"),
)

# The media that contents of a batch share, and where copies of them are kept.
content_media = sa.Table(
    "mm7_content_media",
    metadata,
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), primary_key=True),
    sa.Column("media_key", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("uri", sa.Text),
    sa.Column("text", sa.Text),
)

# Which of the batches that are parts of one sending has a number (see families.py).
family_member = sa.Table(
    "mm7_family_member",
    metadata,
    sa.Column("family", sa.Text, primary_key=True),
    sa.Column("recipient_key", sa.Text, primary_key=True),
    sa.Column("batch_id", sa.Text, sa.ForeignKey("mm7_batch.batch_id"), nullable=False),
    sa.Index(None, "batch_id"),
)

owner = sa.Table(
    "mm7_owner",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("started", sa.Float(53), nullable=False),
    sa.Column("claimed_at", UTCDateTime, nullable=False),
)

report = sa.Table(
    "mm7_report",
    metadata,
    _id(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("recipient_key", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text),
    sa.Column("sender", sa.Text),
    sa.Column("sender_key", sa.Text, nullable=False),
    sa.Column("mm_status", sa.Text, nullable=False),
    sa.Column("mm_status_raw", sa.Text),
    sa.Column("mm_status_extension", sa.Text),
    sa.Column("status_text", sa.Text),
    sa.Column("date", UTCDateTime),
    sa.Column("transaction_id", sa.Text),
    sa.Column("received_at", UTCDateTime, nullable=False),
    sa.Column("batch_id", sa.Text),
    sa.UniqueConstraint("kind", "message_id", "recipient_key"),
    sa.Index(None, "message_id"),
    sa.Index(None, "batch_id", "id"),
    sa.Index(None, "received_at"),
    sqlite_autoincrement=True,
)

report_event = sa.Table(
    "mm7_report_event",
    metadata,
    _id(),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text),
    sa.Column("sender", sa.Text),
    sa.Column("mm_status", sa.Text, nullable=False),
    sa.Column("mm_status_raw", sa.Text),
    sa.Column("mm_status_extension", sa.Text),
    sa.Column("status_text", sa.Text),
    sa.Column("date", UTCDateTime),
    sa.Column("transaction_id", sa.Text),
    sa.Column("received_at", UTCDateTime, nullable=False),
    sa.Index(None, "message_id"),
    sa.Index(None, "received_at"),
    sqlite_autoincrement=True,
)

inbound = sa.Table(
    "mm7_inbound",
    metadata,
    _id(),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("transaction_id", sa.Text),
    sa.Column("sender", sa.Text),
    sa.Column("recipients", sa.JSON, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("linked_id", sa.Text),
    sa.Column("date", UTCDateTime),
    sa.Column("text", sa.Text),
    sa.Column("priority", sa.Text),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.Column("received_at", UTCDateTime, nullable=False),
    # What filters compare, made from the columns above (see inbound.py).
    sa.Column("sender_key", sa.Text, nullable=False),
    sa.Column("recipient_keys", sa.Text, nullable=False),
    sa.Column("keyword", sa.Text, nullable=False),
    sa.Column("media_count", sa.Integer, nullable=False),
    sa.Index(None, "received_at"),
    sa.Index(None, "linked_id", "id"),
    sa.Index(None, "sender_key", "id"),
    sqlite_autoincrement=True,
)

# Which messages a consumer holds or has done with. A message without a row here is new to that consumer.
inbound_claim = sa.Table(
    "mm7_inbound_claim",
    metadata,
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("inbound_id", BigId, sa.ForeignKey("mm7_inbound.id"), primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    # Who holds it or held it last: over all tries of a task, and in this one.
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease_until", UTCDateTime),
    sa.Column("updated_at", UTCDateTime, nullable=False),
    sa.Index(None, "inbound_id"),
)

#: What a consumer has not done with. The condition of a partial index, as those above.
NOT_DONE: Final = sa.text("state <> 'done'")
sa.Index(
    "ix_mm7_inbound_claim_open",
    inbound_claim.c.consumer,
    inbound_claim.c.attempts,
    inbound_claim.c.inbound_id,
    postgresql_where=NOT_DONE,
    sqlite_where=NOT_DONE,
)

# Up to where a consumer has claimed all that its filter lets through. Only saves looking at old rows again.
inbound_cursor = sa.Table(
    "mm7_inbound_cursor",
    metadata,
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("filter", sa.Text, primary_key=True),
    sa.Column("after_id", sa.BigInteger, nullable=False),
)

# Who wants no messages from a connection or short code, and who did once and came back.
opt_out = sa.Table(
    "mm7_opt_out",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("number_key", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("opted_out", sa.Boolean, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("keyword", sa.Text),
    sa.Column("conn_id", sa.Text),
    # When it was said, as the message that says it tells; what came late does not undo what was said after it.
    sa.Column("said_at", UTCDateTime),
    sa.Column("changed_at", UTCDateTime, nullable=False),
    sa.Column("change_no", sa.BigInteger, nullable=False),
    # What became of the one message that confirms it; NULL where there is none.
    sa.Column("confirmation", sa.Text),
    sa.Index(None, "scope", "change_no"),
    sa.Index(None, "confirmation"),
)

# The number of the last change of a scope. Who changes it holds the row until commit: numbers come in commit order.
opt_out_clock = sa.Table(
    "mm7_opt_out_clock",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("change_no", sa.BigInteger, nullable=False),
)

aside = sa.Table(
    "mm7_aside",
    metadata,
    _id(),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("received_at", UTCDateTime, nullable=False),
    sa.Index(None, "received_at"),
    sqlite_autoincrement=True,
)

component = sa.Table(
    "mm7_component",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("pid", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("started_at", UTCDateTime, nullable=False),
    sa.Column("heartbeat_at", UTCDateTime, nullable=False),
    sa.Index(None, "kind", "heartbeat_at"),
)

# When the next message of a connection with a rate may leave.
rate = sa.Table(
    "mm7_rate",
    metadata,
    sa.Column("conn_id", sa.Text, primary_key=True),
    sa.Column("next_at", UTCDateTime, nullable=False),
)

# How many alerts a scope (a DAG's to some people) may send, and when its next summary may leave (see alerts.py).
alert_scope = sa.Table(
    "mm7_alert_scope",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    # When all that was sent will have been made up for, at the pace of the limit.
    sa.Column("paid_at", UTCDateTime, nullable=False),
    sa.Column("summary_at", UTCDateTime, nullable=False),
)

# What was alerted of, once each. Who adds one holds the scope's row until commit: ids of a scope are in one order.
alert = sa.Table(
    "mm7_alert",
    metadata,
    _id(),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    # held; going, with the alert (itself, too) or summary in told_by; then sent itself, or told by another.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("told_by", sa.Text),
    sa.Column("asked_at", UTCDateTime, nullable=False),
    sa.Column("going_at", UTCDateTime),
    sa.Index(None, "scope", "state", "id"),
    sa.Index(None, "told_by"),
    sa.Index(None, "asked_at"),
    sqlite_autoincrement=True,
)
