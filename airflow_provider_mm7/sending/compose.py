"""Messages of a batch whose content differs from row to row.

Each object is fetched and encoded once, each content that rows share is put together once, and what is kept of both
lies within a bound in bytes.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable, Sequence
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
from airflow_provider_mm7.media.parts import UniqueNames, media_part, text_part
from airflow_provider_mm7.media.size import largest_raw_size
from airflow_provider_mm7.protocol import EncodedPart, Part, Payload, encode_content, encode_part
from airflow_provider_mm7.sending.cache import BoundedCache
from airflow_provider_mm7.sending.draft import Draft, Profile, Recipient
from airflow_provider_mm7.sending.prepare import Prepared, make_smil, make_template
from airflow_provider_mm7.sending.recipients.spool import RowContent, SpooledRow
from airflow_provider_mm7.store import Submission

#: Bytes of encoded media kept: dozens of objects of the largest size that carriers take, hundreds of usual ones.
MEDIA_BYTES = 64 * 1024 * 1024
#: Bytes of messages kept, media not counted: thousands of different texts.
MESSAGE_BYTES = 8 * 1024 * 1024
#: Bytes that Python's objects of one message take beside its text.
_OVERHEAD_BYTES = 6 * 1024
#: A number of E.164's greatest length.
_LONGEST = Recipient(number="+" + "9" * 15)
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
    :ivar encoded: under the name that it has where no other part claims that.
    """

    part: Part
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


@dataclass(slots=True, kw_only=True)
class Composer:
    """Puts the message of each row together.

    :ivar draft: what all messages share; its recipients, subject, text and media do not count.
    :ivar source: reads each object once; nothing of it is kept here but what is encoded.
    """

    draft: Draft
    profile: Profile
    source: MediaSource
    rows: Rows
    now: datetime
    media_bytes: int = MEDIA_BYTES
    message_bytes: int = MESSAGE_BYTES
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _content_id: str = field(init=False)
    _boundary: str = field(init=False)
    _media: BoundedCache[str, EncodedObject | MediaError] = field(init=False)
    _messages: BoundedCache[int, Prepared | RecipientError] = field(init=False)

    def __post_init__(self) -> None:
        # No two messages travel in one request, so that all may use the same.
        self._content_id = f"content-{self._token}"
        self._boundary = f"inner{self._token}"
        self._media = BoundedCache(self._load, size=_object_size, max_bytes=self.media_bytes)
        self._messages = BoundedCache(self._make, size=_message_size, max_bytes=self.message_bytes)

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
        first: RecipientError | None = None
        for content in contents:
            try:
                self._compose(content)
            except RecipientError as exc:
                first = first or exc
            else:
                return
        if first is not None:
            raise InputError(first.field, first.problem, first.remedy) from first

    def _check_request(self) -> None:
        """Find what the schema refuses whatever the content."""
        plain = Part(content_type="text/plain", body=b"")
        content = encode_content([plain], content_id=self._content_id, boundary=self._boundary)
        template = make_template(replace(self.draft, subject=None), self.profile, self._content_id, self.now)
        prepared = Prepared(recipients=(), template=template, content=content, parts=(), profile=self.profile)
        prepared.payload([_LONGEST], str(uuid.uuid4()))

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
        made = self._messages.get(found[0].content)
        if isinstance(made, RecipientError):
            raise copy.copy(made)
        return made.payload([Recipient(number=row.number) for row in found], transaction_id)

    def _make(self, content_id: int) -> Prepared | RecipientError:
        try:
            return self._compose(self.rows.content(content_id))
        except RecipientError as exc:
            return exc.with_traceback(None)

    def _compose(self, content: RowContent) -> Prepared:
        try:
            return self._put_together(content)
        except RecipientError:
            raise
        except MediaAccessDenied:
            # Wrong credentials are nobody's picture that is missing: the others fare no better.
            raise
        except MediaChanged as exc:
            raise MediaUnavailable(str(exc), source=exc.source) from exc
        except InputError as exc:
            # Whatever all share was checked before.
            raise RecipientError(exc.field, exc.problem, exc.remedy) from exc

    def _put_together(self, content: RowContent) -> Prepared:
        names = UniqueNames()
        parts = [text_part(text, number, names) for number, text in enumerate(filter(str.strip, content.text))]
        encoded: list[Part | EncodedPart] = [*parts]
        for uri in content.media:
            part, done = self._object(uri).named(names)
            parts.append(part)
            encoded.append(done)
        smil = make_smil(self.draft.smil, parts, self.source)
        made = encode_content(encoded, content_id=self._content_id, boundary=self._boundary, smil=smil)
        draft = replace(self.draft, subject=content.subject)
        template = make_template(draft, self.profile, self._content_id, self.now)
        prepared = Prepared(
            recipients=(),
            template=template,
            content=made,
            parts=tuple(parts) if smil is None else (smil, *parts),
            profile=self.profile,
        )
        longest = [_LONGEST] * self.profile.recipients_per_request
        check_size(len(prepared.payload(longest, str(uuid.uuid4()))), self.profile.max_message_bytes)
        return prepared

    def _object(self, uri: str) -> EncodedObject:
        found = self._media.get(uri)
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
        return EncodedObject(part=replace(part, body=b""), encoded=encode_part(part))


def _object_size(found: EncodedObject | MediaError) -> int:
    return found.size if isinstance(found, EncodedObject) else _OVERHEAD_BYTES


def _message_size(made: Prepared | RecipientError) -> int:
    if isinstance(made, RecipientError):
        return _OVERHEAD_BYTES
    # Media lie in the other cache, and their parts here have no bodies.
    return _OVERHEAD_BYTES + 2 * sum(len(part.body) for part in made.parts)
