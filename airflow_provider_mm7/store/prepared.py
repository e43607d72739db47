"""Statements of the hot path: compiled once for each database, and handed to its driver as they are.

What SQLAlchemy does for each execution of a statement (look it up, fit parameters and lists into it, wrap its result)
takes longer than the database needs for a dozen rows. Its connections, transactions and errors stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter, methodcaller
from typing import Any, Final, Generic, TypeAlias, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from airflow_provider_mm7.store.columns import UTCDateTime
from airflow_provider_mm7.store.database import by_driver, insert_into

T = TypeVar("T")
RowT = TypeVar("RowT")

#: Makes a statement for a dialect, by its name.
Make: TypeAlias = Callable[[str], Any]
_Process: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as its driver takes it.

    :ivar order: names of the parameters where they go by position; None where they go by name.
    :ivar fixed: parameters that always have one value.
    :ivar processes: what is done to values of some parameters.
    """

    text: str
    order: Sequence[str] | None
    fixed: Mapping[str, Any]
    processes: Mapping[str, _Process]

    def bind(self, parameters: Mapping[str, Any]) -> Any:
        """Return parameters as the driver takes them."""
        values = self._values(parameters)
        return values if self.order is None else tuple(values[name] for name in self.order)

    def _values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        values = {**self.fixed, **parameters}
        for name, process in self.processes.items():
            if name in values:
                values[name] = process(values[name])
        return values


class Prepared:
    """A statement whose parameters are named; it has no list that changes its text (see :func:`among`)."""

    def __init__(self, make: Make) -> None:
        self._make: Final = make
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, **parameters: Any) -> int:
        """Execute it and return how many rows it changed."""
        compiled = self._for(connection.dialect)
        return by_driver(connection, compiled.text, compiled.bind(parameters), _CHANGED)

    def rows(self, connection: sa.Connection, **parameters: Any) -> list[Sequence[Any]]:
        """Execute it and return its rows; their values are as the driver gives them."""
        compiled = self._for(connection.dialect)
        return by_driver(connection, compiled.text, compiled.bind(parameters), _ROWS)

    def _for(self, dialect: sa.Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self._make(dialect.name), dialect)
        return found


class PreparedQuery(Generic[RowT]):
    """A query whose rows, of numbers and texts, all come at once.

    On SQLite they come as one value: its driver lets go of Python's lock for each row, and to get it back beside a busy
    thread takes far longer than the row. Their order is only that of a query with a limit.

    :param row: makes a row of its values.
    """

    def __init__(self, make: Make, row: Callable[[Sequence[Any]], RowT]) -> None:
        self._prepared: Final = Prepared(lambda dialect: _gathered(make(dialect), dialect))
        self._row: Final = row

    def run(self, connection: sa.Connection, **parameters: Any) -> list[RowT]:
        """Execute it and give the rows."""
        rows = self._prepared.rows(connection, **parameters)
        if connection.dialect.name == "sqlite":
            ((gathered,),) = rows
            rows = json.loads(gathered)
        return [self._row(row) for row in rows]


def _gathered(query: sa.Select[Any], dialect: str) -> sa.Select[Any]:
    if dialect != "sqlite":
        return query
    each = query.subquery()
    return sa.select(sa.func.json_group_array(sa.func.json_array(*each.c)))


class PreparedInsert:
    """An INSERT of many rows by one statement, whose text is the same for any number of them.

    A driver that runs a statement for each row waits for Python's lock after each. Values are numbers, texts and times.

    :param names: the columns that rows have values of, in their order.
    :param alike: columns that have one value in all rows.
    :param unless: columns of a constraint; a row is left out if there is one with its values.
    :param add: a number that is added to that one's instead.
    """

    def __init__(
        self,
        table: sa.Table,
        names: Sequence[str],
        *,
        alike: Sequence[str] = (),
        unless: Sequence[str] = (),
        add: str | None = None,
    ) -> None:
        self._types: Final = [(place, table.c[name].type) for place, name in enumerate(names)]
        self._prepared: Final = Prepared(partial(_insert, table, names, alike, unless, add))
        self._processes: dict[str, list[tuple[int, _Process]]] = {}

    def run(self, connection: sa.Connection, rows: Iterable[Sequence[Any]], **alike: Any) -> int:
        """Execute it.

        :param rows: for each, a value of each column.
        :param alike: the values that all rows have.
        :return: how many are new, or were added to.
        """
        processes = self._for(connection.dialect)
        values = [list(row) for row in rows]
        for value in values:
            for place, process in processes:
                value[place] = process(value[place])
        return self._prepared.run(connection, rows=values, **alike) if values else 0

    def _for(self, dialect: sa.Dialect) -> list[tuple[int, _Process]]:
        found = self._processes.get(dialect.name)
        if found is None:
            made = [(place, _process(kind, dialect)) for place, kind in self._types]
            found = self._processes[dialect.name] = [(place, process) for place, process in made if process is not None]
        return found


def _insert(
    table: sa.Table,
    names: Sequence[str],
    alike: Sequence[str],
    unless: Sequence[str],
    add: str | None,
    dialect: str,
) -> sa.Insert:
    given: sa.BindParameter[Any] = sa.bindparam("rows", type_=_JsonText())
    values: list[sa.ColumnElement[Any]]
    if dialect == "sqlite":
        row = sa.func.json_each(given).table_valued("value").c.value
        values = [sa.func.json_extract(row, sa.literal_column(f"'$[{place}]'")) for place in range(len(names))]
    else:
        row = sa.func.jsonb_array_elements(sa.cast(given, postgresql.JSONB)).table_valued("value").c.value
        values = [
            sa.cast(row.op("->>")(sa.literal_column(str(place))), table.c[name].type)
            for place, name in enumerate(names)
        ]
    values += [sa.bindparam(name, type_=table.c[name].type) for name in alike]
    # SQLite would take ON CONFLICT for a part of FROM, were there no WHERE.
    source = sa.select(*values).where(sa.true())
    statement = insert_into(dialect, table).from_select([*names, *alike], source)
    if add is not None:
        more = table.c[add] + statement.excluded[add]
        return statement.on_conflict_do_update(index_elements=unless, set_={add: more})
    return statement.on_conflict_do_nothing(index_elements=unless) if unless else statement


def among(column: sa.ColumnElement[Any], name: str, dialect: str) -> sa.ColumnElement[bool]:
    """``column IN`` a list that is one parameter, so that the text is the same for any number of values."""
    if dialect == "sqlite":
        listed = sa.func.json_each(sa.bindparam(name, type_=_JsonText())).table_valued("value")
        return column.in_(sa.select(listed.c.value))
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))


def named(column: sa.ColumnElement[Any], name: str, dialect: str) -> sa.ColumnElement[str]:
    """Look a column's value up in a mapping, to texts, that is one parameter."""
    given: sa.BindParameter[Any] = sa.bindparam(name, type_=_JsonText())
    key = sa.cast(column, sa.Text)
    if dialect == "sqlite":
        return sa.func.json_extract(given, sa.literal_column("'$.\"'") + key + sa.literal_column("'\"'"))
    return sa.cast(given, postgresql.JSONB).op("->>", return_type=sa.Text())(key)


_JSON: Final = json.JSONEncoder(default=str)


class _JsonText(sa.types.TypeDecorator[Any]):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return _JSON.encode(value)


#: The processes of times, for each database. The statements of a transaction share theirs, and to write one out takes
#: about as long as a small statement.
_times: dict[str, _Process] = {}


def _process(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Process | None:
    """What turns a value of a type into what the driver takes; None: nothing need be done."""
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    if process is None or not isinstance(kind, UTCDateTime):
        return process
    return _times.setdefault(dialect.name, lru_cache(maxsize=64)(process))


#: What is wanted of a cursor.
_CHANGED: Final[Callable[[Any], int]] = attrgetter("rowcount")
_ROWS: Final[Callable[[Any], list[Sequence[Any]]]] = methodcaller("fetchall")


def _compile(statement: Any, dialect: sa.Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    processes = {}
    for name, parameter in compiled.binds.items():
        process = _process(parameter.type, dialect)
        if process is not None:
            processes[name] = process
    fixed = {name: one.effective_value for name, one in compiled.binds.items() if not one.required}
    return _Compiled(text=str(compiled), order=compiled.positiontup, fixed=fixed, processes=processes)
