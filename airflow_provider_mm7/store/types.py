"""Values that go into the store and come out of it. Times are aware datetimes in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from airflow_provider_mm7.store.consent import OptOutChange


class State(StrEnum):
    """State of one submission: one recipient of one batch.

    .. code-block:: text

        planned ── claim ──> sending ── answer ──> accepted | refused | retry
           ^                    │                               │
           │                    └── crash, time-out ──> unknown │
           └──────────── claimed again <────────────────────────┘

    What was not sent because its recipient wants no messages is ``suppressed``, from any of these but ``accepted`` and
    ``refused``; it is never sent under the same key, whatever its recipient says later.
    """

    PLANNED = "planned"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRY = "retry"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"


class ReportKind(StrEnum):
    """Which of the two reports."""

    DELIVERY = "delivery"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which task a batch belongs to. All None when it was not sent by Airflow."""

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One idempotent send.

    :ivar batch_id: derived from the key, so that two tasks with one key meet in one batch.
    :ivar key: the idempotency key.
    """

    batch_id: str
    key: str
    conn_id: str
    origin: Origin = field(default_factory=Origin)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission:
    """A recipient to plan. ``row`` tells apart the same recipient twice in one batch (0 when it cannot occur).

    :ivar content: which of the contents that are planned with it, from 0.
    """

    recipient: str
    row: int = 0
    content: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One recipient of one batch and what became of the sending."""

    id: int
    batch_id: str
    row: int
    recipient: str
    state: State
    transaction_id: str | None = None
    message_id: str | None = None
    status_code: int | None = None
    status_text: str | None = None
    attempts: int = 0
    #: mm_status of the effective delivery report; None before any came.
    delivery: str | None = None
    #: mm_status of the effective read reply; None before any came.
    read: str | None = None
    #: when a retry is due.
    not_before: datetime | None = None
    #: of what was claimed: whether its recipient wanted no messages by then.
    opted_out: bool = False
    #: number of its content in the batch; None: the first one. Not told of what was claimed.
    content: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a claim: one sending process.

    :ivar token: unique to this run of the process (a uuid).
    :ivar host: host name.
    :ivar pid: process id on that host.
    :ivar started: the process's start time in seconds, since the machine's own start or, above 1e9, since 1970.
    """

    token: str
    host: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of one claimed submission.

    :ivar transaction_id: of the request that was answered. When given, an answer to an earlier request than the
        row's last one changes nothing.
    :ivar retry_after_s: seconds before a ``retry`` may be claimed again; None: what ``settle`` was told for all.
    """

    submission_id: int
    state: State
    message_id: str | None = None
    status_code: int | None = None
    status_text: str | None = None
    transaction_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """Counts of a batch by state."""

    batch_id: str
    total: int
    accepted: int
    refused: int
    unknown: int
    suppressed: int
    #: planned or retry: not sent, would be sent by a retry.
    planned: int
    #: claimed by a process that still runs (or whose lease has not ended).
    sending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReport:
    """A delivery report or read reply as it came in.

    :ivar mm_status: the standard's spelling, or ``UNKNOWN``.
    :ivar mm_status_raw: the peer's spelling.
    """

    kind: ReportKind
    conn_id: str
    message_id: str
    recipient: str | None
    sender: str | None
    mm_status: str
    mm_status_raw: str | None
    date: datetime | None
    status_text: str | None = None
    mm_status_extension: str | None = None
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The effective report of one (message_id, recipient): a final one before an interim, then the newest.

    Of read replies: one that says Read before any other, then the newest.
    """

    kind: ReportKind
    message_id: str
    recipient: str | None
    mm_status: str
    mm_status_raw: str | None
    date: datetime | None
    batch_id: str | None
    conn_id: str
    status_text: str | None
    received_at: datetime
    id: int = 0
    sender: str | None = None
    mm_status_extension: str | None = None
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """What became of the accepted messages of a batch (or of a set of message ids).

    total = accepted + refused + unknown + suppressed + planned + sending;
    accepted = sum(by_status.values()) + those without any report; delivered, failed, ambiguous are of the final ones,
    pending are accepted ones without a final report.

    :ivar by_status: mm_status -> count of accepted messages whose effective report says so.
    :ivar by_read: (delivery status, read status) -> count of messages whose effective read reply says so; the delivery
        status is empty where no delivery report came.
    """

    batch_id: str | None
    total: int
    accepted: int
    #: planned, retry or sending: may still become accepted.
    unsent: int
    by_status: dict[str, int]
    #: newest change of a submission of the batch (planned, claimed or settled; reports do not count). None: not known.
    changed_at: datetime | None = None
    #: not to be sent: their recipients want no messages.
    suppressed: int = 0
    by_read: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPart:
    """One stored part of an inbound message."""

    content_type: str
    content_id: str | None
    content_location: str | None
    size: int
    sha256: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInbound:
    """A message from a handset, its media already in object storage."""

    conn_id: str
    #: what makes a repeat of the same callback recognisable.
    digest: str
    transaction_id: str | None
    sender: str | None
    recipients: tuple[str, ...]
    subject: str | None
    linked_id: str | None
    date: datetime | None
    text: str | None
    priority: str | None = None
    parts: tuple[InboundPart, ...] = ()
    #: what it says of its sender's wishes: recorded with it, and kept elsewhere.
    opt_outs: tuple[OptOutChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A stored message from a handset."""

    id: int
    received_at: datetime
    message: NewInbound


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A process that uses the store: receiver, sender or trigger."""

    kind: str
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """A callback that could not be read, kept as it came."""

    id: int
    conn_id: str
    content_type: str | None
    body: bytes
    error: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What ``airflow mm7 db check`` prints.

    :ivar revision: of the database; None when it holds no tables of ours.
    :ivar head: the revision this package needs.
    :ivar fresh: components whose heartbeat is recent; ``stale``: those whose heartbeat is old.
    """

    dialect: str
    url_masked: str
    revision: str | None
    head: str
    writable: bool
    fresh: tuple[Component, ...] = ()
    stale: tuple[Component, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether messages can be sent and reports stored."""
        return self.writable and self.revision == self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCounts:
    """Rows deleted by a prune."""

    batches: int = 0
    submissions: int = 0
    reports: int = 0
    report_events: int = 0
    inbound: int = 0
    kept_aside: int = 0
    alerts: int = 0
    components: int = 0
