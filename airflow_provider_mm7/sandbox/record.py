"""What was received: the truth that tests ask for. Bounded in memory, exact in number."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.sandbox.request import Request
from airflow_provider_mm7.sandbox.structure import Leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Heavy:
    """The parts of a record that are kept only for the newest messages."""

    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()
    soap: bytes | None = None
    fresh_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request that was let in.

    :ivar seq: 1, 2, 3...
    :ivar received_at: when its head had come.
    :ivar request: what it asks for; None when it could not be read.
    :ivar accepted: a MessageID was assigned, whether or not the client could know it.
    :ivar valid: nothing is against the schema but what the vendor's own page does.
    :ivar schema_valid: verdict of the XML Schema; None without one.
    :ivar scenario: name of what was played.
    """

    seq: int
    received_at: datetime
    operation: str | None = None
    transaction_id: str | None = None
    message_id: str | None = None
    request: Request | None = None
    namespace: str | None = None
    status_code: int | None = None
    status_text: str | None = None
    details: str | None = None
    http_status: int | None = None
    accepted: bool = False
    valid: bool = False
    problems: tuple[str, ...] = ()
    schema_valid: bool | None = None
    schema_messages: tuple[str, ...] = ()
    scenario: str = "ordinary"
    body_bytes: int = 0
    leaves: tuple[Leaf, ...] = ()
    tree: dict[str, Any] | None = None

    @property
    def recipients(self) -> tuple[str, ...]:
        """To + Cc + Bcc."""
        return self.request.recipients if self.request else ()

    @property
    def sender(self) -> str | None:
        """SenderAddress, where one was given."""
        return self.request.sender if self.request else None

    def as_json(self, heavy: Heavy | None) -> dict[str, Any]:
        """As ``GET /_sandbox/messages`` shows it.

        :param heavy: what is still kept; without it ``headers`` and ``soap`` are null.
        """
        asked = self.request or Request(operation="")
        return {
            "seq": self.seq,
            "received_at": self.received_at.astimezone(UTC).isoformat(),
            "operation": self.operation,
            "transaction_id": self.transaction_id,
            "message_id": self.message_id,
            "about_message_id": asked.message_id,
            "accepted": self.accepted,
            "status_code": self.status_code,
            "status_text": self.status_text,
            "details": self.details,
            "http_status": self.http_status,
            "scenario": self.scenario,
            "recipients": list(self.recipients),
            "to": list(asked.to),
            "cc": list(asked.cc),
            "bcc": list(asked.bcc),
            "sender": asked.sender,
            "vasp_id": asked.vasp_id,
            "vas_id": asked.vas_id,
            "subject": asked.subject,
            "linked_id": asked.linked_id,
            "priority": asked.priority,
            "delivery_report": asked.delivery_report,
            "read_reply": asked.read_reply,
            "mm7_version": asked.mm7_version,
            "namespace": self.namespace,
            "valid": self.valid,
            "problems": list(self.problems),
            "schema_valid": self.schema_valid,
            "schema_messages": list(self.schema_messages),
            "body_bytes": self.body_bytes,
            "parts": [leaf.as_json() for leaf in self.leaves],
            "structure": self.tree,
            "headers": dict(heavy.headers) if heavy else None,
            "soap": heavy.soap.decode("utf-8", "replace") if heavy and heavy.soap is not None else None,
        }


class RecordBook:
    """All records in order. Written by the server's thread, read by any.

    :param keep: of how many messages headers, SOAP and raw body are kept.
    :param keep_bytes: bytes of raw bodies kept.
    """

    def __init__(self, *, keep: int, keep_bytes: int) -> None:
        self._lock = threading.Lock()
        self._keep, self._keep_bytes = keep, keep_bytes
        self._next_seq = 1
        self._records: list[Record] = []
        self._by_message: dict[str, int] = {}
        self._heavy: dict[int, Heavy] = {}
        self._kept: deque[int] = deque()
        self._held_bytes = 0
        self._accepted = 0
        #: Number of a phone -> what was about it; the phone that was written to last stands last.
        self._by_phone: dict[str, list[int]] = {}
        self._phoneless: list[int] = []
        self.unauthorized = 0
        #: Goes up with each change, clearing included.
        self.changes = 0

    def next_seq(self) -> int:
        """The number of the record that will be added next; only the server's thread asks."""
        return self._next_seq

    def add(self, record: Record, heavy: Heavy) -> None:
        """Record a request, before it is answered."""
        with self._lock:
            self._next_seq = record.seq + 1
            self.changes += 1
            self._accepted += record.accepted
            self._records.append(record)
            if record.message_id is not None:
                self._by_message[record.message_id] = record.seq
            self._file(record)
            self._heavy[record.seq] = heavy
            self._kept.append(record.seq)
            self._held_bytes += heavy.fresh_bytes
            while self._kept and (len(self._kept) > self._keep or self._held_bytes > self._keep_bytes):
                self._lighten(self._kept.popleft())

    def _file(self, record: Record) -> None:
        """Note which phones a record is about; a CancelReq or ReplaceReq is about those of its message."""
        about = record.recipients
        if not about and record.request is not None and record.request.message_id is not None:
            seq = self._by_message.get(record.request.message_id)
            about = () if seq is None else self._records[seq - self._records[0].seq].recipients
        keys = dict.fromkeys(key for one in about if (key := number_key(one)))
        for key in keys:
            seqs = self._by_phone.pop(key, [])
            seqs.append(record.seq)
            self._by_phone[key] = seqs
        if not keys:
            self._phoneless.append(record.seq)

    def _lighten(self, seq: int) -> None:
        """Keep the facts of a record and drop its bytes."""
        self._held_bytes -= self._heavy.pop(seq).fresh_bytes
        place = seq - self._records[0].seq
        record = self._records[place]
        self._records[place] = replace(record, leaves=tuple(leaf.light() for leaf in record.leaves))

    def count_unauthorized(self) -> None:
        """One more request without the right credentials; its body is not read and makes no record."""
        with self._lock:
            self.unauthorized += 1

    def clear(self) -> None:
        """Forget everything; sequence numbers go on, so that ``after`` stays meaningful."""
        with self._lock:
            self._records.clear()
            self._by_message.clear()
            self._heavy.clear()
            self._kept.clear()
            self._held_bytes = 0
            self._accepted = 0
            self._by_phone.clear()
            self._phoneless.clear()
            self.unauthorized = 0
            self.changes += 1

    def records(self, *, after: int = 0, limit: int | None = None) -> list[Record]:
        """Records with a number above ``after``, oldest first."""
        with self._lock:
            if not self._records:
                return []
            start = max(0, after - self._records[0].seq + 1)
            return self._records[start : None if limit is None else start + limit]

    def phones(self, limit: int) -> list[str]:
        """Keys of the numbers that were written to last, the latest first."""
        with self._lock:
            return list(itertools.islice(reversed(self._by_phone), limit))

    def phone_count(self) -> int:
        """How many numbers were written to."""
        return len(self._by_phone)

    def about_phone(self, key: str, limit: int) -> list[Record]:
        """The last records about a number, oldest first.

        :param key: as :func:`airflow_provider_mm7.protocol.number_key` makes it.
        """
        with self._lock:
            return [self._records[seq - self._records[0].seq] for seq in self._by_phone.get(key, [])[-limit:]]

    def without_phone(self, limit: int) -> list[Record]:
        """The last records that are about no number, newest first."""
        with self._lock:
            return [self._records[seq - self._records[0].seq] for seq in self._phoneless[: -limit - 1 : -1]]

    def find(self, seq: int) -> Record | None:
        """One record by its number."""
        return next((one for one in self.records(after=seq - 1, limit=1) if one.seq == seq), None)

    def find_message(self, message_id: str) -> Record | None:
        """The record of an accepted message."""
        with self._lock:
            seq = self._by_message.get(message_id)
            return None if seq is None else self._records[seq - self._records[0].seq]

    def heavy(self, seq: int) -> Heavy | None:
        """What is still kept of a record."""
        with self._lock:
            return self._heavy.get(seq)

    def as_json(self, *, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Records as JSON objects, one after the other."""
        for record in self.records(after=after, limit=limit):
            yield record.as_json(self.heavy(record.seq))

    def counts(self) -> dict[str, int]:
        """How many were received, accepted and turned away."""
        with self._lock:
            return {
                "received": len(self._records),
                "accepted": self._accepted,
                "unauthorized": self.unauthorized,
            }
