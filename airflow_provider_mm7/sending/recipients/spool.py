"""Rows of a recipients file between reading and sending: on disk, so that their number costs no memory.

The database is SQLite's private temporary one (``sqlite3.connect("")``): a file without a name in ``TMPDIR``, gone with
the process however it ends.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.protocol import number_key

#: Rows read at a time.
PAGE = 1000
#: KiB of pages that SQLite keeps in memory; the rest is on disk.
CACHE_KIB = 4096

_TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -{cache};
    CREATE TABLE content (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL);
    CREATE TABLE row (
        key TEXT PRIMARY KEY, line INTEGER NOT NULL, number TEXT NOT NULL, content INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE problem (
        line INTEGER NOT NULL, number TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL
    );
    CREATE TABLE outcome (
        key TEXT NOT NULL, recipient TEXT NOT NULL, message_id TEXT, state TEXT NOT NULL, status INTEGER,
        status_text TEXT
    );
"""


class Rejection(StrEnum):
    """Why a row is not sent."""

    INVALID = "invalid"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContent:
    """What one row's message shows, as it was rendered.

    :ivar media: URIs.
    :ivar own: which of them its row named: their faults are this row's alone.
    """

    subject: str | None = None
    text: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()

    def dump(self) -> str:
        """Return it as JSON, the same for the same content."""
        return json.dumps([self.subject, self.text, self.media, sorted(self.own)], ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> RowContent:
        """Read what :meth:`dump` wrote."""
        subject, texts, media, own = json.loads(text)
        return cls(subject=subject, text=tuple(texts), media=tuple(media), own=frozenset(own))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledRow:
    """A row to send.

    :ivar line: where it stands in the file.
    :ivar number: as the connection spells it.
    :ivar content: number of its content; rows with the same content share one.
    """

    line: int
    number: str
    content: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A row that is not sent.

    :ivar number: what stands in its recipient column.
    :ivar text: why; numbers masked.
    """

    line: int
    number: str
    state: Rejection
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """What became of one line.

    :ivar line: None for a recipient of a former run that the file has no more.
    :ivar status: MM7 status code.
    """

    line: int | None
    recipient: str
    message_id: str | None
    state: str
    status: int | None
    status_text: str | None


class Spool:
    """Rows, their contents and problems. Safe to use from many threads. Use as a context manager."""

    def __init__(self) -> None:
        # autocommit: nothing here outlives the process, so there is nothing to commit or to roll back.
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        with self._using():
            self._db.executescript(_TABLES.format(cache=CACHE_KIB))
            self._db.execute("BEGIN")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as exc:
                raise StoreUnavailable(
                    f"the recipients cannot be kept in this machine's temporary folder ({type(exc).__name__}: {exc})"
                ) from None

    def line_of(self, number: str) -> int | None:
        """Tell in which line a number stands already."""
        with self._using() as db:
            found = db.execute("SELECT line FROM row WHERE key = ?", (number_key(number),)).fetchone()
        return None if found is None else int(found[0])

    def add(self, line: int, number: str, content: RowContent) -> None:
        """Keep a row whose number is not there yet."""
        body = content.dump()
        digest = hashlib.sha256(body.encode()).digest()
        with self._using() as db:
            found = db.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
            content_id = (
                found[0]
                if found
                else db.execute("INSERT INTO content (digest, body) VALUES (?, ?)", (digest, body)).lastrowid
            )
            db.execute("INSERT INTO row VALUES (?, ?, ?, ?)", (number_key(number), line, number, content_id))

    def reject(self, problem: Problem) -> None:
        """Keep a row that is not sent."""
        values = (problem.line, problem.number, problem.state.value, problem.text)
        with self._using() as db:
            db.execute("INSERT INTO problem VALUES (?, ?, ?, ?)", values)

    def count(self) -> int:
        """Count the rows to send."""
        return self._number("SELECT count(*) FROM row")

    def count_contents(self) -> int:
        """Count the different contents."""
        return self._number("SELECT count(*) FROM content")

    def count_elsewhere(self) -> int:
        """Count the rows of which :meth:`record_outcomes` was told nothing."""
        return self._number("SELECT count(*) FROM row WHERE key NOT IN (SELECT key FROM outcome)")

    def count_problems(self, state: Rejection) -> int:
        """Count the rows that are not sent for one reason."""
        return self._number("SELECT count(*) FROM problem WHERE state = ?", state.value)

    def problems(self, *states: Rejection, limit: int) -> list[Problem]:
        """Give the first problems in the order of their lines."""
        marks = ",".join("?" * len(states))
        query = f"SELECT line, number, state, text FROM problem WHERE state IN ({marks}) ORDER BY line LIMIT ?"  # noqa: S608
        with self._using() as db:
            rows = db.execute(query, (*states, limit)).fetchall()
        return [
            Problem(line=line, number=number, state=Rejection(state), text=text) for line, number, state, text in rows
        ]

    def rows(self) -> Iterator[SpooledRow]:
        """Yield the rows to send in the order of their lines."""
        query = "SELECT line, number, content FROM row ORDER BY line"
        for line, number, content in self._pages(query):
            yield SpooledRow(line=line, number=number, content=content)

    def find(self, recipients: Sequence[str]) -> list[SpooledRow | None]:
        """Look up rows by their recipients, however they are spelled."""
        query = "SELECT line, number, content FROM row WHERE key = ?"
        with self._using() as db:
            found = [db.execute(query, (number_key(recipient),)).fetchone() for recipient in recipients]
        return [row and SpooledRow(line=row[0], number=row[1], content=row[2]) for row in found]

    def known(self, keys: Iterable[str]) -> set[str]:
        """Tell which of some keys (:func:`~airflow_provider_mm7.protocol.number_key`) have a row."""
        query = "SELECT 1 FROM row WHERE key = ?"
        with self._using() as db:
            return {key for key in keys if db.execute(query, (key,)).fetchone()}

    def contents(self, limit: int) -> list[RowContent]:
        """Give the first contents."""
        with self._using() as db:
            rows = db.execute("SELECT body FROM content ORDER BY id LIMIT ?", (limit,)).fetchall()
        return [RowContent.load(body) for (body,) in rows]

    def all_contents(self) -> Iterator[RowContent]:
        """Yield the contents in the order of their numbers, which begin with 1 and leave none out."""
        for (body,) in self._pages("SELECT body FROM content ORDER BY id"):
            yield RowContent.load(body)

    def content(self, content_id: int) -> RowContent:
        """Give a content by its number."""
        with self._using() as db:
            (body,) = db.execute("SELECT body FROM content WHERE id = ?", (content_id,)).fetchone()
        return RowContent.load(body)

    def record_outcomes(self, results: Iterable[LineResult]) -> None:
        """Keep what the ledger says, so that :meth:`results` can put it in the order of the lines."""
        with self._using() as db:
            db.execute("DELETE FROM outcome")
            db.executemany(
                "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (number_key(r.recipient), r.recipient, r.message_id, r.state, r.status, r.status_text)
                    for r in results
                ),
            )
            db.execute("CREATE INDEX IF NOT EXISTS outcome_key ON outcome (key)")

    def results(self, *, unsent: str) -> Iterator[LineResult]:
        """Yield what became of each line, in their order; then recipients of former runs that have no line.

        :param unsent: state of a row of which the ledger knows nothing.
        """
        query = """
            SELECT row.line, coalesce(o.recipient, row.number), o.message_id, coalesce(o.state, :unsent), o.status,
                   o.status_text
            FROM row LEFT JOIN outcome o USING (key)
            UNION ALL SELECT line, number, NULL, state, NULL, text FROM problem
            UNION ALL SELECT NULL, recipient, message_id, state, status, status_text
            FROM outcome WHERE key NOT IN (SELECT key FROM row)
            ORDER BY 1 NULLS LAST
        """
        for line, recipient, message_id, state, status, text in self._pages(query, {"unsent": unsent}):
            yield LineResult(
                line=line, recipient=recipient, message_id=message_id, state=state, status=status, status_text=text
            )

    def _pages(self, query: str, parameters: dict[str, str] | None = None) -> Iterator[tuple[Any, ...]]:
        with self._using() as db:
            cursor = db.execute(query, parameters or {})
        with closing(cursor):
            while True:
                with self._using():
                    page = cursor.fetchmany(PAGE)
                if not page:
                    return
                yield from page

    def _number(self, query: str, *parameters: str) -> int:
        with self._using() as db:
            return int(db.execute(query, parameters).fetchone()[0])
