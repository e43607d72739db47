"""``airflow mm7 opt-outs list | add | remove | import | export``: who wants no messages."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache, partial
from typing import Any, BinaryIO, Final

from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.cli.output import Row, print_object, print_rows
from airflow_provider_mm7.exceptions import AddressError
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_mm7.hooks.sending import Courier
from airflow_provider_mm7.protocol import normalise_number
from airflow_provider_mm7.store import (
    OptOut,
    OptOutChange,
    Source,
    Store,
    connection_scope,
    open_store,
    short_code_scope,
)

#: Rows read from the store at a time.
PAGE: Final = 1000
#: Lines named one by one that hold no number.
MAX_NAMED: Final = 20
#: Names standard input and output.
STDIO: Final = "-"
#: Columns of an export, in their order.
COLUMNS: Final = ("number", "scope", "date", "keyword", "source")
#: Names of the column that holds the number, in files of others.
NUMBER_COLUMNS: Final = ("number", "recipient", "to", "phone", "phone_number", "msisdn", "mobile")
_DELIMITERS: Final = ",;\t"
#: What makes a scope of what stands behind its kind.
_SCOPES: Final = {"conn": connection_scope, "code": short_code_scope}
#: What people write between digits.
_BETWEEN_DIGITS: Final = re.compile(r"[\s().\-]+")


def list_(args: Namespace) -> None:
    """Print opt-outs in the order of scopes and numbers."""
    store = open_store(config.store_url())
    found: list[OptOut] = []
    for one in _all(store, _scope(args), returned=args.returned):
        if len(found) == args.limit:
            print(f"airflow mm7: there are more; --limit {2 * args.limit} shows more of them", file=sys.stderr)
            break
        found.append(one)
    print_rows([_row(one) for one in found], args.output)


def add(args: Namespace) -> None:
    """Record that numbers want no messages.

    :raises AddressError: one of them is no number; nothing was recorded.
    """
    _change(args, opted_out=True)


def remove(args: Namespace) -> None:
    """Record that numbers want messages again.

    :raises AddressError: one of them is no number; nothing was recorded.
    """
    _change(args, opted_out=False)


def import_(args: Namespace) -> None:
    """Record the numbers of a file: one a line, or CSV, such as ``export`` writes.

    :raises CommandError: it cannot be read, or some lines hold no number; the others were recorded.
    """
    store, scope = open_store(config.store_url()), _scope(args)
    reader = _Reader()
    # Looked up where a line needs it: what an export of all scopes is read into may have no such connection.
    default = cache(partial(_scope_of, DEFAULT_CONN_ID))
    with _opened(args.file) as stream:
        try:
            changed = store.record_opt_outs(
                OptOutChange(
                    scope=scope or _named(row.get("scope", "")) or default(),
                    number=number,
                    opted_out=True,
                    source=Source.IMPORT,
                    keyword=row.get("keyword") or None,
                    said_at=_date(row.get("date")),
                )
                for number, row in reader.read(stream)
            )
        except (UnicodeDecodeError, csv.Error, OSError) as exc:
            raise CommandError(
                f"{args.file}: line {reader.line + 1} cannot be read: {exc}", exit_code=EXIT_USAGE
            ) from exc
    print_object({"scope": scope, **reader.counts, "changed": changed}, args.output)
    if reader.problems:
        for problem in reader.problems:
            print(f"airflow mm7: {problem}", file=sys.stderr)
        raise CommandError(f"{reader.counts['invalid']} lines hold no number; the others were recorded")


def export(args: Namespace) -> None:
    """Write all opt-outs as CSV or JSON, to a file or standard output."""
    found = _all(open_store(config.store_url()), _scope(args), returned=False)
    if args.file == STDIO:
        _write(sys.stdout, found, args.output)
        return
    try:
        with open(args.file, "w", encoding="utf-8", newline="") as file:
            _write(file, found, args.output)
    except OSError as exc:
        raise CommandError(f"{args.file}: {exc.strerror}", exit_code=EXIT_USAGE) from exc


def _change(args: Namespace, *, opted_out: bool) -> None:
    scope = _scope(args) or _scope_of(DEFAULT_CONN_ID)
    numbers = [_number(number) for number in args.numbers]
    changed = open_store(config.store_url()).record_opt_outs(
        OptOutChange(scope=scope, number=number, opted_out=opted_out, source=Source.CLI) for number in numbers
    )
    print_object({"scope": scope, "numbers": len(numbers), "changed": changed}, args.output)


def _scope(args: Namespace) -> str | None:
    """Return the scope that was asked for: by name, or by its connection; None where none was."""
    if args.scope is not None and args.conn_id is not None:
        raise CommandError("give either --scope or --conn-id", exit_code=EXIT_USAGE)
    if args.scope is not None:
        scope = _named(args.scope)
        if scope is None:
            raise CommandError("--scope: give conn:CONN_ID or code:SHORT_CODE", exit_code=EXIT_USAGE)
        return scope
    return None if args.conn_id is None else _scope_of(args.conn_id)


def _named(text: str) -> str | None:
    """Read a scope as the store names it; None: it is none, such as the column ``scope`` of somebody else's file."""
    kind, _, name = text.strip().partition(":")
    return _SCOPES[kind](name.strip()) if kind in _SCOPES and name.strip() else None


def _scope_of(conn_id: str) -> str:
    return Courier(mm7_conn_id=conn_id).hook().settings.honoured_scope


def _all(store: Store, scope: str | None, *, returned: bool) -> Iterator[OptOut]:
    last: OptOut | None = None
    while page := store.opt_outs(scope, after=last, returned=returned, limit=PAGE):
        yield from page
        last = page[-1]


def _row(one: OptOut) -> Row:
    return {
        "number": one.number,
        "scope": one.scope,
        "opted_out": one.opted_out,
        "changed_at": one.changed_at,
        "said_at": one.said_at,
        "keyword": one.keyword,
        "source": str(one.source),
        "conn_id": one.conn_id,
        "confirmation": one.confirmation,
    }


def _exported(one: OptOut) -> dict[str, Any]:
    date = one.said_at or one.changed_at
    values = (one.number, one.scope, date.isoformat(), one.keyword, str(one.source))
    return dict(zip(COLUMNS, values, strict=True))


def _write(file: Any, found: Iterable[OptOut], output: str) -> None:
    if output == "csv":
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_exported, found))
        return
    separator = "[\n"
    for one in found:
        file.write(f"{separator}  {json.dumps(_exported(one), ensure_ascii=False)}")
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _number(text: str) -> str:
    return normalise_number(_BETWEEN_DIGITS.sub("", text))[0]


def _date(text: str | None) -> datetime | None:
    try:
        date = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return date if date is not None and date.tzinfo is not None else None


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == STDIO:
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed below, outside of what may only fail to open
    except OSError as exc:
        raise CommandError(f"{name}: {exc.strerror}", exit_code=EXIT_USAGE) from exc
    with file:
        yield file


class _Reader:
    """Reads numbers from lines, whatever their number.

    :ivar problems: the first lines that hold no number, numbers masked.
    """

    def __init__(self) -> None:
        self.line = 0
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter(numbers=0, invalid=0)

    def read(self, stream: BinaryIO) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield each number with what its line says under the names of the header, if there is one.

        :raises UnicodeDecodeError: it is not UTF-8.
        :raises csv.Error: a line is no line.
        """
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        try:
            first = text.readline()
            delimiter = max(_DELIMITERS, key=first.count)
            names = [cell.strip().casefold() for cell in first.strip("\r\n").split(delimiter)]
            columns = [names.index(name) for name in NUMBER_COLUMNS if name in names]
            if columns:
                self.line = 1
                rows = csv.reader(text, delimiter=delimiter)
                yield from self._records(rows, columns[0], names)
            else:
                yield from self._records(csv.reader([first], delimiter=delimiter), 0, [])
                yield from self._records(csv.reader(text, delimiter=delimiter), 0, [])
        finally:
            # The stream is the caller's to close.
            text.detach()

    def _records(
        self, rows: Iterator[list[str]], column: int, names: Sequence[str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        for cells in rows:
            self.line += 1
            if not any(cell.strip() for cell in cells):
                continue
            try:
                number = _number(cells[column] if column < len(cells) else "")
            except AddressError as exc:
                self.counts["invalid"] += 1
                if len(self.problems) < MAX_NAMED:
                    self.problems.append(f"line {self.line}: {exc.problem}")
                continue
            self.counts["numbers"] += 1
            yield number, dict(zip(names, map(str.strip, cells), strict=False))
