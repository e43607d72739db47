"""Requests that the sandbox sends to the callback, with the patience of a real MMSC."""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3
from lxml import etree

from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.sandbox.settings import Settings

#: Kinds of callbacks.
REPORT, READ_REPLY, DELIVER = "report", "read-reply", "deliver"
#: Bytes of a callback's answer that are read.
MAX_ANSWER_BYTES = 64 * 1024
#: A moment for callbacks that are in flight when the sandbox ends.
STOP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One part of a message from a handset."""

    content_type: str
    body: bytes
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One request to the callback.

    :ivar kind: ``report``, ``read-reply`` or ``deliver``.
    :ivar subject, linked_id, media: of a message from a handset.
    """

    kind: str
    transaction_id: str
    content_type: str
    body: bytes
    message_id: str | None = None
    recipient: str | None = None
    sender: str | None = None
    mm_status: str | None = None
    subject: str | None = None
    linked_id: str | None = None
    media: tuple[Medium, ...] = ()


@dataclass(slots=True)
class Entry:
    """A callback and what came of it."""

    seq: int
    callback: Callback
    created_at: datetime
    state: str = "scheduled"
    attempts: list[dict[str, Any]] = field(default_factory=list)
    body_kept: bool = True
    first_attempt: Future[None] | None = None
    #: Posted not before this one was tried, and not before its own time (of the monotonic clock).
    following: tuple[Entry, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """As ``GET /_sandbox/reports`` shows it."""
        one = self.callback
        return {
            "seq": self.seq,
            "kind": one.kind,
            "state": self.state,
            "message_id": one.message_id,
            "recipient": one.recipient,
            "sender": one.sender,
            "mm_status": one.mm_status,
            "subject": one.subject,
            "linked_id": one.linked_id,
            "transaction_id": one.transaction_id,
            "created_at": self.created_at.isoformat(),
            "attempts": list(self.attempts),
        }


def split_credentials(settings: Settings) -> tuple[str, str, str]:
    """Take the credentials out of the callback URL, where carriers' configuration pages want them percent-encoded.

    :return: URL without them, login, password; those that are set apart win.
    """
    parts = urlsplit(settings.callback_url)
    userinfo, _, host = parts.netloc.rpartition("@")
    login, _, password = userinfo.partition(":")
    url = urlunsplit(parts._replace(netloc=host))
    return url, settings.callback_login or unquote(login), settings.callback_password or unquote(password)


class CallbackQueue:
    """Posts callbacks when they are due, again when they were not acknowledged, and remembers every answer.

    :param settings: URL, credentials, retries, number of connections.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._due: list[tuple[float, int, Entry]] = []
        self._tie = itertools.count()
        self._seqs = itertools.count(1)
        self._changed = threading.Condition()
        self._entries: list[Entry] = []
        self._by_message: dict[str, list[Entry]] = {}
        #: Number of a phone -> what it has written; the phone that wrote last stands last.
        self._by_phone: dict[str, list[Entry]] = {}
        #: Goes up with each change, clearing included.
        self.changes = 0
        self._with_body: deque[Entry] = deque()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        timeout = urllib3.Timeout(connect=settings.report_timeout, read=settings.report_timeout)
        self._pool = urllib3.PoolManager(maxsize=settings.report_connections, block=False, timeout=timeout)
        self._headers = {"SOAPAction": '""', "MIME-Version": "1.0", "User-Agent": "mm7-sandbox"}
        self._url, login, password = split_credentials(settings)
        if login or password:
            # RFC 7617 section 2.1: UTF-8; urllib3's own helper takes Latin-1 only.
            credentials = f"{login}:{password}".encode()
            self._headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()

    @property
    def enabled(self) -> bool:
        """There is a callback to post to."""
        return bool(self._settings.callback_url)

    def schedule(self, chain: Sequence[tuple[Callback, float]]) -> None:
        """Post callbacks later, one after the other.

        :param chain: callbacks and the seconds from now when each is due. However slow the callback is, they arrive
            in this order; only what has to be sent again comes late.
        """
        if not self.enabled or not chain:
            return
        now = time.monotonic()
        entries = [(self._enter(callback), now + after_s) for callback, after_s in chain]
        for (entry, _), following in itertools.pairwise(entries):
            entry.following = following
        self._push(*entries[0])

    async def post_now(self, callback: Callback) -> dict[str, Any]:
        """Post a callback and wait for the answer; a failure is tried again in the background.

        :return: its entry as JSON.
        """
        entry = self._enter(callback)
        entry.first_attempt = Future()
        # A thread of ours and not of the event loop's pool, which a closing loop would wait for.
        self._push(entry, time.monotonic())
        await asyncio.wrap_future(entry.first_attempt)
        return entry.as_json()

    def about(self, message_id: str) -> tuple[int, int]:
        """How many callbacks about a message are still to be posted, and how many were."""
        with self._changed:
            posted = [bool(one.attempts) for one in self._by_message.get(message_id, ())]
        return posted.count(False), posted.count(True)

    def cancel(self, message_id: str) -> None:
        """Drop what is still to be posted about a message."""
        with self._changed:
            self.changes += 1
            for one in self._by_message.get(message_id, ()):
                if one.state == "scheduled":
                    one.state = "cancelled"

    def as_json(self, *, after: int = 0, limit: int | None = None) -> list[dict[str, Any]]:
        """Callbacks with a number above ``after`` in the order in which they were made."""
        with self._changed:
            chosen = [one for one in self._entries if one.seq > after]
            return [one.as_json() for one in chosen[:limit]]

    def counts(self) -> dict[str, int]:
        """How many callbacks there are, and how many are still to be settled."""
        with self._changed:
            waiting = sum(one.state == "scheduled" for one in self._entries)
            return {"callbacks": len(self._entries), "callbacks_waiting": waiting}

    def reports_of(self, message_id: str) -> list[Entry]:
        """Reports and read replies about a message, in the order in which they were made."""
        with self._changed:
            return list(self._by_message.get(message_id, ()))

    def phones(self, limit: int) -> list[str]:
        """Keys of the numbers that wrote last, the latest first."""
        with self._changed:
            return list(itertools.islice(reversed(self._by_phone), limit))

    def written_by(self, key: str, limit: int) -> list[Entry]:
        """The last messages from a handset, oldest first.

        :param key: as :func:`airflow_provider_mm7.protocol.number_key` makes it.
        """
        with self._changed:
            return self._by_phone.get(key, [])[-limit:]

    def medium(self, seq: int, index: int) -> Medium | None:
        """One part of a message from a handset, as long as it is kept."""
        with self._changed:
            place = seq - self._entries[0].seq if self._entries else -1
            media = self._entries[place].callback.media if 0 <= place < len(self._entries) else ()
            return media[index] if index < len(media) else None

    def body(self, seq: int) -> tuple[str, bytes] | None:
        """Content-Type and body of a callback, as long as it is kept."""
        with self._changed:
            entry = next((one for one in self._entries if one.seq == seq and one.body_kept), None)
            return None if entry is None else (entry.callback.content_type, entry.callback.body)

    def clear(self) -> None:
        """Forget what was sent and drop what is due."""
        with self._changed:
            for one in self._entries:
                one.state = "cancelled"
                if one.first_attempt is not None and not one.attempts:
                    one.first_attempt.set_result(None)
                    one.first_attempt = None
            self.changes += 1
            self._entries.clear()
            self._by_message.clear()
            self._by_phone.clear()
            self._with_body.clear()
            self._due.clear()

    def stop(self) -> None:
        """End the threads; what is in flight is given a moment."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        self._pool.clear()

    def _enter(self, callback: Callback) -> Entry:
        with self._changed:
            entry = Entry(seq=next(self._seqs), callback=callback, created_at=datetime.now(UTC))
            self.changes += 1
            self._entries.append(entry)
            if callback.message_id is not None:
                self._by_message.setdefault(callback.message_id, []).append(entry)
            if callback.kind == DELIVER and callback.sender is not None:
                key = number_key(callback.sender)
                written = self._by_phone.pop(key, [])
                written.append(entry)
                self._by_phone[key] = written
            return entry

    def _push(self, entry: Entry, due: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (due, next(self._tie), entry))
            if len(self._threads) < self._settings.report_connections and not self._stopping:
                thread = threading.Thread(target=self._work, name=f"callback-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while (entry := self._take()) is not None:
            self._attempt(entry)

    def _take(self) -> Entry | None:
        """Wait for the next entry that is due; None when the queue stops."""
        with self._changed:
            while not self._stopping:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is not None and wait_s <= 0:
                    entry = heapq.heappop(self._due)[2]
                    if entry.state == "scheduled":
                        return entry
                    continue
                self._changed.wait(wait_s)
            return None

    def _attempt(self, entry: Entry) -> None:
        began = datetime.now(UTC)
        outcome = self._post(entry.callback)
        waiting, entry.first_attempt = entry.first_attempt, None
        with self._changed:
            self.changes += 1
            entry.attempts.append({"at": began.isoformat(), **outcome})
            if entry.state == "cancelled":
                pass
            elif outcome["status_code"] is not None and outcome["http_status"] == 200:
                # A parsable error status makes some MMSCs drop the report for good; so does this one.
                entry.state = "acknowledged" if outcome["status_code"] // 1000 == 1 else "refused"
            elif len(entry.attempts) > self._settings.report_retries or self._stopping:
                entry.state = "given-up"
        if entry.state == "scheduled":
            self._push(entry, time.monotonic() + self._settings.report_retry_delay)
        following, entry.following = entry.following, None
        if following is not None:
            self._push(*following)
        self._bound_bodies(entry)
        if waiting is not None and not waiting.cancelled():
            waiting.set_result(None)

    def _post(self, callback: Callback) -> dict[str, Any]:
        outcome: dict[str, Any] = {"http_status": None, "status_code": None, "error": None}
        headers = {**self._headers, "Content-Type": callback.content_type}
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=callback.body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                outcome["http_status"] = answer.status
                outcome["status_code"] = _status_code(answer.read(MAX_ANSWER_BYTES))
            finally:
                answer.drain_conn()
                answer.release_conn()
        except urllib3.exceptions.HTTPError as exc:
            outcome["error"] = type(exc).__name__
        return outcome

    def _bound_bodies(self, entry: Entry) -> None:
        """Drop the bodies of the oldest settled callbacks."""
        if entry.state == "scheduled":
            return
        with self._changed:
            self._with_body.append(entry)
            while len(self._with_body) > self._settings.keep:
                old = self._with_body.popleft()
                old.body_kept = False
                old.callback = replace(old.callback, body=b"", media=())


def _status_code(answer: bytes) -> int | None:
    """StatusCode of an MM7 answer, read without the product's codec; None when there is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(answer, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    texts = [one.text or "" for one in root.iter("{*}StatusCode")]
    return int(texts[0]) if len(texts) == 1 and texts[0].strip().isdigit() else None
