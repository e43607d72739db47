"""The phones that the sandbox has to do with, and what each of them shows: values for the page, no markup."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_mm7.protocol import MMStatus, Outcome, number_key
from airflow_provider_mm7.sandbox.callbacks import READ_REPLY, CallbackQueue, Entry
from airflow_provider_mm7.sandbox.record import Record, RecordBook
from airflow_provider_mm7.sandbox.reports import DEFAULT_SENDER
from airflow_provider_mm7.sandbox.slides import SHOWABLE, Slide, slides_of

#: Phones on the page: those that wrote or were written to last.
MAX_PHONES = 24
#: What one phone shows of its past.
MAX_ITEMS = 12
#: Requests that are about no phone.
MAX_STRAYS = 12
#: Characters of a text on the page; the whole is a download away.
MAX_TEXT = 4000
#: Fewest digits of a number with a country code (E.164 needs at least these); shorter ones are short codes.
_LEAST_DIGITS = 7
#: Of what became of an accepted message: CSS classes of the page.
_COLOURS = {Outcome.DELIVERED: "good", Outcome.FAILED: "bad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A report or read reply, and what the callback said to it.

    :ivar status: as it was spelled.
    :ivar colour: ``good``, ``bad`` or ``soft``.
    :ivar answer: a few words.
    """

    status: str
    colour: str
    read_reply: bool
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that the phone got.

    :ivar recipient: the phone's number as the request spelled it.
    """

    seq: int
    at: datetime
    message_id: str
    recipient: str
    sender: str
    subject: str | None
    slides: tuple[Slide, ...]
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A request that put nothing on the phone: refused, lost, cancelled.

    :ivar good: the request itself was answered with success.
    :ivar numbers: whom it was about, where it stands on no phone.
    """

    seq: int
    at: datetime
    words: str
    good: bool
    reason: str
    subject: str | None
    numbers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One part of a message that the phone wrote.

    :ivar kind: ``text``, ``image``, ``audio``, ``video`` or ``file``.
    """

    index: int
    kind: str
    name: str
    media_type: str
    size: int
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message that was written on the phone."""

    seq: int
    at: datetime
    recipient: str
    subject: str | None
    parts: tuple[Shown, ...]
    state: str
    answer: str


Item = Received | Note | Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """One handset.

    :ivar number: for people.
    :ivar items: oldest first.
    :ivar writes_to: whom a reply goes to: the sender of the last message.
    :ivar linked_id: MessageID of the last message, to which a reply refers.
    """

    number: str
    items: tuple[Item, ...]
    writes_to: str
    linked_id: str | None

    @property
    def token(self) -> str:
        """A name for the page that no number can break."""
        return _token(self.number)


class Phones:
    """Gathers the phones from what was received and what was sent back.

    :param book: what was received.
    :param callbacks: reports, and what phones wrote.
    """

    def __init__(self, *, book: RecordBook, callbacks: CallbackQueue) -> None:
        self._book = book
        self._callbacks = callbacks

    def shown(self, wanted: Iterable[str] = ()) -> list[Phone]:
        """The phones of the page: those asked for, then those in use last.

        :param wanted: numbers that somebody wants to see, whether or not they were ever used.
        """
        keys = dict.fromkeys(key for one in wanted if (key := number_key(one)))
        latest = [self._phone(key) for key in self._latest(keys)]
        latest = sorted((one for one in latest if one.items), key=lambda one: one.items[-1].at, reverse=True)
        return [*(self._phone(key) for key in keys), *latest][:MAX_PHONES]

    def _latest(self, without: Iterable[str]) -> list[str]:
        keys = dict.fromkeys([*self._callbacks.phones(MAX_PHONES), *self._book.phones(MAX_PHONES)])
        return [key for key in keys if key not in set(without)]

    def strays(self) -> list[Note]:
        """The last requests that were about no phone, newest first."""
        return [_note(one) for one in self._book.without_phone(MAX_STRAYS)]

    def _phone(self, key: str) -> Phone:
        records = self._book.about_phone(key, MAX_ITEMS)
        items: list[Item] = [self._about(key, one) for one in records]
        items += [_written(one) for one in self._callbacks.written_by(key, MAX_ITEMS)]
        items.sort(key=lambda one: one.at)
        last = next((one for one in reversed(items) if isinstance(one, Received)), None)
        return Phone(
            number=f"+{key}" if key.isdecimal() and len(key) >= _LEAST_DIGITS else key,
            items=tuple(items[-MAX_ITEMS:]),
            writes_to=last.sender if last else DEFAULT_SENDER,
            linked_id=last.message_id if last else None,
        )

    def _about(self, key: str, record: Record) -> Item:
        if not record.accepted or record.message_id is None:
            return _note(record)
        spelled = next((one for one in record.recipients if number_key(one) == key), key)
        entries = self._callbacks.reports_of(record.message_id)
        return Received(
            seq=record.seq,
            at=record.received_at,
            message_id=record.message_id,
            recipient=spelled,
            sender=record.sender or DEFAULT_SENDER,
            subject=record.request.subject if record.request else None,
            slides=tuple(slides_of(record.leaves)),
            told=tuple(_told(one) for one in entries if number_key(one.callback.recipient or "") == key),
        )


def answer_of(entry: Entry) -> str:
    """What the callback said, in a few words."""
    last = entry.attempts[-1] if entry.attempts else {}
    said = last.get("error") or (f"HTTP {last['http_status']}" if last.get("http_status") else "")
    if last.get("http_status") == 200:
        said = f"status {last['status_code']}" if last.get("status_code") else "no MM7 answer"
    match entry.state:
        case "acknowledged":
            return "acknowledged"
        case "refused":
            return f"refused: {said}"
        case "scheduled":
            return f"{said}; comes again" if said else "on its way"
        case "cancelled":
            return "cancelled"
    return f"given up after {len(entry.attempts)} tries: {said}"


def _told(entry: Entry) -> Told:
    status = entry.callback.mm_status or ""
    return Told(
        status=status,
        colour=_COLOURS.get(MMStatus.parse(status).outcome, "soft"),
        read_reply=entry.callback.kind == READ_REPLY,
        answer=answer_of(entry),
    )


def _note(record: Record) -> Note:
    good = record.status_code is not None and record.status_code // 1000 == 1
    if record.status_code is not None:
        words = f"{record.operation or 'Request'} {record.status_code} {record.status_text or ''}".strip()
    else:
        words = f"not accepted: {record.scenario}"
    return Note(
        seq=record.seq,
        at=record.received_at,
        words=words,
        good=good,
        reason=record.details or "; ".join(record.problems),
        subject=record.request.subject if record.request else None,
        numbers=", ".join(record.recipients[:3]),
    )


def _written(entry: Entry) -> Written:
    callback = entry.callback
    return Written(
        seq=entry.seq,
        at=entry.created_at,
        recipient=callback.recipient or "",
        subject=callback.subject,
        parts=tuple(_shown(index, one.content_type, one.body, one.name) for index, one in enumerate(callback.media)),
        state=entry.state,
        answer=answer_of(entry),
    )


def _shown(index: int, content_type: str, body: bytes, name: str) -> Shown:
    media_type = content_type.partition(";")[0].strip().lower()
    text = body.decode("utf-8", "replace") if media_type == "text/plain" else None
    kind = "text" if text is not None else SHOWABLE.get(media_type, "file").partition("/")[0]
    return Shown(index=index, kind=kind, name=name, media_type=media_type, size=len(body), text=text)


def _token(number: str) -> str:
    return "p" + hashlib.sha256(number.encode()).hexdigest()[:16]
