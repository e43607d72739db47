"""What the messages of a batch consisted of: written once for each different content, never for each message.

A submission names its content by a number in its batch. Most batches have one: their submissions name none, and a batch
of a million messages has one row here.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from airflow_provider_mm7.store.base import CHUNK, AnyRow, Base, chunks
from airflow_provider_mm7.store.batches import lock_batch
from airflow_provider_mm7.store.database import insert_into
from airflow_provider_mm7.store.tables import FIRST_CONTENT, content, content_media, submission
from airflow_provider_mm7.store.text import clean, clean_or_none, identifier
from airflow_provider_mm7.store.types import Submission

#: Characters of one text that are kept; texts of messages have a few hundred.
MAX_TEXT: Final = 4000
#: Digits of a digest: 128 bits.
_DIGITS: Final = 32
#: ``digest`` of a content that nobody recorded: that of messages sent before there were records.
_UNRECORDED: Final = ""

#: What a user set in the envelope. Values are JSON's own.
Options: TypeAlias = Mapping[str, str | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    """A part of a message that was sent.

    :ivar name: Content-ID and file name. None of a medium that all its facts are kept with.
    :ivar size: bytes of its body. None of a presentation that was made from the other parts by itself, and of a medium.
    :ivar sha256: of its body, in hexadecimal; None where ``text`` is all of it.
    :ivar text: of a text or a presentation, cut after :data:`MAX_TEXT` characters.
    :ivar media: the key under which its facts are kept (:class:`SentMedia`), if it is a medium.
    """

    name: str | None = None
    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    text: str | None = None
    media: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMedia:
    """A medium as it was last read for a batch; its messages share it.

    :ivar key: names it in its batch.
    :ivar uri: where a copy is kept; None where none is.
    :ivar text: of a presentation.
    """

    key: str
    name: str
    content_type: str
    size: int
    sha256: str
    uri: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContent:
    """What some messages of a batch consist of.

    :ivar options: what the user set in the envelope; the same content with other options is another one.
    """

    subject: str | None = None
    options: Options = field(default_factory=dict)
    parts: tuple[SentPart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentContent:
    """A content as it was recorded.

    :ivar number: in its batch.
    :ivar media: by key, those of its parts; one that was not read yet is missing.
    """

    number: int
    content: NewContent
    media: Mapping[str, SentMedia] = field(default_factory=dict)


class Contents(Base):
    """Recording and reading contents."""

    def record_contents(self, batch_id: str, contents: Iterable[NewContent]) -> Sequence[int]:
        """Record those that the batch does not have yet.

        :param contents: consumed in chunks, each committed for itself.
        :return: their numbers, in their order.
        :raises NoSuchBatch: the batch was never opened, or forgotten.
        """
        numbers = array("q")
        for chunk in chunks(contents, CHUNK):
            rows = [_values(batch_id, one) for one in chunk]
            numbers.extend(self._db.write(lambda connection, rows=rows: _record(connection, batch_id, rows)))  # type: ignore[misc]
        return numbers

    def drop_unused_contents(self, batch_id: str, *, used: int) -> int:
        """Delete what no submission of a batch consists of any more: a former run planned it, and this one did not.

        :param used: how many contents this run planned; of a batch that has more, all submissions are read.
        :return: how many were deleted.
        """
        count = sa.select(sa.func.count()).where(content.c.batch_id == batch_id)
        if self._db.read(lambda connection: connection.scalar(count) or 0) <= used:
            return 0

        def drop(connection: sa.Connection) -> int:
            lock_batch(connection, batch_id)
            number = sa.func.coalesce(submission.c.content_no, FIRST_CONTENT)
            used = sa.select(number).where(submission.c.batch_id == batch_id)
            unused = content.c.batch_id == batch_id, content.c.content_no.not_in(used)
            return connection.execute(sa.delete(content).where(*unused)).rowcount

        return self._db.write(drop)

    def record_media(self, batch_id: str, media: Sequence[SentMedia]) -> None:
        """Record the facts of media; a later version of one takes the place of an earlier.

        :raises NoSuchBatch: the batch was forgotten.
        """
        rows = {
            identifier(one.key): {
                "batch_id": batch_id,
                "media_key": identifier(one.key),
                "name": clean(one.name),
                "content_type": clean(one.content_type),
                "size": one.size,
                "sha256": one.sha256,
                "uri": clean_or_none(one.uri),
                "text": clean_or_none(one.text),
            }
            for one in media
        }

        def insert(connection: sa.Connection) -> None:
            lock_batch(connection, batch_id)
            statement = insert_into(connection.dialect.name, content_media)
            changed = {
                column.name: statement.excluded[column.name] for column in content_media.c if not column.primary_key
            }
            upsert = statement.on_conflict_do_update(
                index_elements=list(content_media.primary_key.columns), set_=changed
            )
            connection.execute(upsert, [rows[key] for key in sorted(rows)])

        if rows:
            self._db.write(insert)

    def content_of(self, item: Submission) -> SentContent | None:
        """Give what a message consists of; None where nobody recorded it."""
        return self.content(item.batch_id, FIRST_CONTENT if item.content is None else item.content)

    def content(self, batch_id: str, number: int) -> SentContent | None:
        """Give a content by its number."""
        query = sa.select(content).where(content.c.batch_id == batch_id, content.c.content_no == number)
        return self._db.read(lambda connection: _read(connection, connection.execute(query).one_or_none()))

    def only_content(self, batch_id: str) -> tuple[SentContent | None, bool]:
        """Give what all messages of a batch consist of.

        :return: None where they differ, or nobody recorded it; and whether they differ.
        """
        query = sa.select(content).where(content.c.batch_id == batch_id).order_by(content.c.content_no).limit(2)

        def read(connection: sa.Connection) -> tuple[SentContent | None, bool]:
            rows = connection.execute(query).all()
            return _read(connection, rows[0] if len(rows) == 1 else None), len(rows) > 1

        return self._db.read(read)


def _record(connection: sa.Connection, batch_id: str, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert what is missing; return all their numbers."""
    lock_batch(connection, batch_id)
    digests = {row["digest"] for row in rows}
    known = sa.select(content.c.digest, content.c.content_no).where(content.c.batch_id == batch_id)
    numbers = {row.digest: row.content_no for row in connection.execute(known.where(content.c.digest.in_(digests)))}
    newest = sa.select(sa.func.max(content.c.content_no)).where(content.c.batch_id == batch_id)
    number = connection.scalar(newest) or 0
    missing = {row["digest"]: row for row in rows if row["digest"] not in numbers}
    if missing and number == 0 and _has_messages(connection, batch_id):
        number = FIRST_CONTENT
        unrecorded = _values(batch_id, NewContent()) | {"digest": _UNRECORDED, "content_no": number}
        connection.execute(sa.insert(content), unrecorded)
    for row in missing.values():
        number += 1
        numbers[row["digest"]] = row["content_no"] = number
    if missing:
        connection.execute(sa.insert(content), list(missing.values()))
    return [numbers[row["digest"]] for row in rows]


def _has_messages(connection: sa.Connection, batch_id: str) -> bool:
    some = sa.select(submission.c.id).where(submission.c.batch_id == batch_id).limit(1)
    return connection.scalar(some) is not None


def _values(batch_id: str, one: NewContent) -> dict[str, Any]:
    subject = clean_or_none(one.subject)
    options = {name: clean(value) if isinstance(value, str) else value for name, value in sorted(one.options.items())}
    parts = [_dump(part) for part in one.parts]
    text = json.dumps([subject, options, parts])
    digest = sha256(text.encode()).hexdigest()[:_DIGITS]
    return {"batch_id": batch_id, "digest": digest, "subject": subject, "options": options, "parts": parts}


def _dump(part: SentPart) -> dict[str, Any]:
    """Make JSON of a part: what is not None."""
    values: dict[str, Any] = {}
    for name in _PART_FIELDS:
        value = getattr(part, name)
        if value is not None:
            values[name] = clean(value) if isinstance(value, str) else value
    if part.media is not None:
        values["media"] = identifier(part.media)
    return values


_PART_FIELDS: Final = tuple(one.name for one in fields(SentPart))


def _read(connection: sa.Connection, row: AnyRow | None) -> SentContent | None:
    if row is None or row.digest == _UNRECORDED:
        return None
    parts = tuple(SentPart(**{name: part.get(name) for name in _PART_FIELDS}) for part in row.parts)
    keys = {part.media for part in parts if part.media is not None}
    query = sa.select(content_media).where(
        content_media.c.batch_id == row.batch_id, content_media.c.media_key.in_(sorted(keys))
    )
    found = [_media(one) for one in connection.execute(query)] if keys else []
    made = NewContent(subject=row.subject, options=row.options, parts=parts)
    return SentContent(number=row.content_no, content=made, media={one.key: one for one in found})


def _media(row: AnyRow) -> SentMedia:
    return SentMedia(
        key=row.media_key,
        name=row.name,
        content_type=row.content_type,
        size=row.size,
        sha256=row.sha256,
        uri=row.uri,
        text=row.text,
    )
