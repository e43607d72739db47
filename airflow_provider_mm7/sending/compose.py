"""Messages of a batch whose content differs from row to row.

Each object is fetched and encoded once, each content that rows share is put together once, and what is kept of both
lies within a bound in bytes.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from airflow_provider_mm7.exceptions import (
    InputError,
    MediaAccessDenied,
    MediaChanged,
    MediaError,
    MediaUnavailable,
    RecipientError,
)
from airflow_provider_mm7.media import MediaSource, check_size
from airflow_provider_mm7.media.cache import BoundedCache
from airflow_provider_mm7.media.parts import UniqueNames, media_part, text_part
from airflow_provider_mm7.media.size import largest_raw_size
from airflow_provider_mm7.protocol import Content, EncodedPart, Part, Payload, encode_content, encode_part
from airflow_provider_mm7.protocol.encoder import join_small
from airflow_provider_mm7.sending.draft import Draft, Profile, Recipient
from airflow_provider_mm7.sending.prepare import Prepared, make_smil, make_template
from airflow_provider_mm7.sending.recipients.spool import RowContent, SpooledRow
from airflow_provider_mm7.sending.record import SMIL_KEY
from airflow_provider_mm7.store import Submission

#: Bytes of encoded media kept: dozens of objects of the largest size that carriers take, hundreds of usual ones.
MEDIA_BYTES = 64 * 1024 * 1024
#: Bytes of messages kept, media not counted: thousands of different texts.
MESSAGE_BYTES = 8 * 1024 * 1024
#: Bytes that Python's objects of one message take beside its text.
_OVERHEAD_BYTES = 6 * 1024
#: A number of E.164's greatest length.
_LONGEST = Recipient(number="+" + "9" * 15)
#: Presentations kept: one for each combination of media's names.
_MAX_PRESENTATIONS = 1000
#: SOAP parts kept: one for each subject.
_MAX_ENVELOPES = 100
_TRANSFER_ENCODING = "Content-Transfer-Encoding"


class Rows(Protocol):
    """Where rows and their contents are looked up, by any thread."""

    def find(self, recipients: Sequence[str]) -> list[SpooledRow | None]:
        """Look up rows by their recipients."""
        ...

    def content(self, content_id: int) -> RowContent:
        """Give a content by its number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedObject:
    """A medium ready for any message that shows it.

    :ivar part: without its body.
    :ivar raw_bytes: bytes of the object before encoding.
    :ivar encoded: under the name that it has where no other part claims that.
    """

    part: Part
    raw_bytes: int
    encoded: EncodedPart

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self.encoded.body)

    def named(self, names: UniqueNames) -> tuple[Part, EncodedPart]:
        """Return it under a name that is free in a message; the body is shared."""
        wanted = self.part.name or ""
        name = names.claim(wanted)
        if name == wanted:
            return self.part, self.encoded
        part = replace(self.part, name=name, content_id=name, content_location=name)
        headers = {key: value for key, value in encode_part(part).headers.items() if key != _TRANSFER_ENCODING}
        if _TRANSFER_ENCODING in self.encoded.headers:
            headers[_TRANSFER_ENCODING] = self.encoded.headers[_TRANSFER_ENCODING]
        return part, replace(self.encoded, content_id=name, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one content becomes.

    :ivar own_bytes: bytes of it that no other message shares.
    """

    subject: str | None
    content: Content
    own_bytes: int


@dataclass(slots=True, kw_only=True)
class Composer:
    """Puts the message of each row together.

    :ivar draft: what all messages share; its recipients, subject, text and media do not count.
    :ivar source: reads each object once; nothing of it is kept here but what is encoded.
    :ivar read: told each part that was read, with its body, and its URI or :data:`SMIL_KEY`; by any thread.
    """

    draft: Draft
    profile: Profile
    source: MediaSource
    rows: Rows
    now: datetime
    read: Callable[[Part, str], None] = lambda _part, _key: None
    media_bytes: int = MEDIA_BYTES
    message_bytes: int = MESSAGE_BYTES
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _content_id: str = field(init=False)
    _boundary: str = field(init=False)
    #: Stands in an envelope where the content will; random, so that nothing a user writes can be taken for it.
    _place: bytes = field(init=False)
    _media: BoundedCache[str, EncodedObject | MediaError] = field(init=False)
    _messages: BoundedCache[int, Message | RecipientError] = field(init=False)
    _envelopes: BoundedCache[tuple[str | None, str], Prepared] = field(init=False)
    _presentations: BoundedCache[tuple[tuple[str | None, str], ...], Part | None] = field(init=False)

    def __post_init__(self) -> None:
        # No two messages travel in one request, so that all may use the same.
        self._content_id = f"content-{self._token}"
        self._boundary = f"inner{self._token}"
        self._place = uuid.uuid4().bytes
        self._media = BoundedCache(most=self.media_bytes, size=_object_size)
        self._messages = BoundedCache(most=self.message_bytes, size=_message_size)
        self._envelopes = BoundedCache(most=_MAX_ENVELOPES)
        self._presentations = BoundedCache(most=_MAX_PRESENTATIONS)

    def check(self, shared_media: Sequence[str], contents: Iterable[RowContent]) -> None:
        """Find before anything is sent what would fail every message.

        :param shared_media: URIs that all messages show.
        :param contents: some of the rows'. When none of them can be put together, what all share is to blame, or as
            good as: refused rows are never sent again.
        :raises InputError: naming the field, the problem and the remedy.
        """
        for uri in shared_media:
            self._object(uri)
        self._check_request()
        first: RecipientError | MediaAccessDenied | None = None
        for content in contents:
            try:
                self._compose(content)
            except (RecipientError, MediaAccessDenied) as exc:
                first = first or exc
            else:
                return
        if isinstance(first, MediaAccessDenied):
            raise first
        if first is not None:
            raise InputError(first.field, first.problem, first.remedy) from first

    def _check_request(self) -> None:
        """Find what the schema refuses whatever the content."""
        plain = Part(content_type="text/plain", body=b"")
        content = encode_content([plain], content_id=self._content_id, boundary=self._boundary)
        self._prepare(None, content).payload([_LONGEST], str(uuid.uuid4()))

    def compose(self, group: Sequence[Submission], transaction_id: str) -> Payload:
        """Make the payload for submissions that show the same.

        :raises RecipientError: this row's message cannot be made.
        :raises MediaUnavailable: not now.
        :raises InputError: a submission has no row, or something all messages share is at fault.
        """
        rows = self.rows.find([item.recipient for item in group])
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            raise InputError(
                "idempotency_key", "another task sends to other recipients under this key", "Give each a key of its own"
            )
        made = self._messages.get(found[0].content, self._make)
        if isinstance(made, RecipientError):
            raise copy.copy(made)
        return self._payload(made, [Recipient(number=row.number) for row in found], transaction_id)

    def _make(self, content_id: int) -> Message | RecipientError:
        try:
            return self._compose(self.rows.content(content_id))
        except RecipientError as exc:
            return exc.with_traceback(None)

    def _compose(self, content: RowContent) -> Message:
        try:
            return self._put_together(content)
        except (RecipientError, MediaAccessDenied):
            # A denial: wrong credentials, or a picture that is missing where nobody may list. Who can tell?
            raise
        except MediaChanged as exc:
            raise MediaUnavailable(str(exc), source=exc.source) from exc
        except InputError as exc:
            # Whatever all share was checked before.
            raise RecipientError(exc.field, exc.problem, exc.remedy) from exc

    def _put_together(self, content: RowContent) -> Message:
        names = UniqueNames()
        parts = [text_part(text, number, names) for number, text in enumerate(filter(str.strip, content.text))]
        encoded: list[Part | EncodedPart] = [*parts]
        objects: list[tuple[str, int]] = []
        for uri in content.media:
            found = self._object(uri)
            objects.append((uri, found.raw_bytes))
            part, done = found.named(names)
            parts.append(part)
            encoded.append(done)
        smil = self._smil(parts)
        made = encode_content(encoded, content_id=self._content_id, boundary=self._boundary, smil=smil)
        message = Message(subject=content.subject, content=made, own_bytes=sum(len(part.body) for part in parts))
        longest = [_LONGEST] * self.profile.recipients_per_request
        check_size(len(self._payload(message, longest, str(uuid.uuid4()))), self.profile.max_message_bytes, objects)
        return message

    def _payload(self, message: Message, recipients: Sequence[Recipient], transaction_id: str) -> Payload:
        # The SOAP part says nothing of what is in the content, so that messages of one subject share it.
        around = self._envelope(message).payload(recipients, transaction_id)
        before, _, after = around.body.partition(self._place)
        return Payload(content_type=around.content_type, chunks=join_small((before, *message.content.chunks, after)))

    def _envelope(self, message: Message) -> Prepared:
        return self._envelopes.get(
            (message.subject, message.content.content_type),
            lambda _: self._prepare(message.subject, replace(message.content, chunks=(self._place,))),
        )

    def _prepare(self, subject: str | None, content: Content) -> Prepared:
        draft = replace(self.draft, subject=subject)
        template = make_template(draft, self.profile, self._content_id, self.now)
        return Prepared(recipients=(), template=template, content=content, parts=(), profile=self.profile)

    def _smil(self, parts: Sequence[Part]) -> Part | None:
        """Make the presentation; where its parts have the same names and types, it is the same."""
        shape = tuple((part.content_id, part.content_type) for part in parts)
        return self._presentations.get(shape, lambda _: self._present(parts))

    def _present(self, parts: Sequence[Part]) -> Part | None:
        smil = make_smil(self.draft.smil, parts, self.source)
        if smil is not None and self.draft.smil != "auto":
            self.read(smil, SMIL_KEY)
        return smil

    def _object(self, uri: str) -> EncodedObject:
        found = self._media.get(uri, self._load)
        if isinstance(found, MediaError):
            raise copy.copy(found)
        return found

    def _load(self, uri: str) -> EncodedObject | MediaError:
        try:
            found = self.source.fetch(uri, limit=largest_raw_size(self.profile.max_message_bytes))
            part = media_part(found, UniqueNames(), self.profile.media_types)
        except (MediaAccessDenied, MediaChanged):
            raise
        except MediaError as exc:
            return exc.with_traceback(None)
        self.read(part, uri)
        return EncodedObject(part=replace(part, body=b""), raw_bytes=len(part.body), encoded=encode_part(part))


def _object_size(found: EncodedObject | MediaError) -> int:
    return found.size if isinstance(found, EncodedObject) else _OVERHEAD_BYTES


def _message_size(made: Message | RecipientError) -> int:
    # Media lie in the other cache.
    return _OVERHEAD_BYTES + (2 * made.own_bytes if isinstance(made, Message) else 0)
