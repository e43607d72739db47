"""Statements of the hot path: compiled once for each database, and handed to its driver as they are.

What SQLAlchemy does for each execution of a statement (look it up, fit parameters and lists into it, wrap its result)
takes longer than the database needs for a dozen rows. Its connections, transactions, events and errors stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

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

    def bind_each(self, rows: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> list[Any]:
        """Return the parameters of each row; what rows share is processed once."""
        values = self._values(shared)
        processes = [(name, process) for name, process in self.processes.items() if name in rows[0]]
        if processes:
            rows = [{**row, **{name: process(row[name]) for name, process in processes}} for row in rows]
        if self.order is None:
            return [{**values, **row} for row in rows]
        places = [None if name in rows[0] else values[name] for name in self.order]
        own = [(place, name) for place, name in enumerate(self.order) if name in rows[0]]
        bound = []
        for row in rows:
            for place, name in own:
                places[place] = row[name]
            bound.append(tuple(places))
        return bound

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

    def run(self, connection: sa.Connection, **parameters: Any) -> sa.CursorResult[Any]:
        """Execute it; values of a result are as the driver gives them."""
        compiled = self._for(connection.dialect)
        return connection.exec_driver_sql(compiled.text, compiled.bind(parameters))

    def run_each(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]], **shared: Any) -> None:
        """Execute it for each of some rows, of which there is at least one; all have the same keys.

        :param shared: parameters that are the same for all rows.
        """
        compiled = self._for(connection.dialect)
        connection.exec_driver_sql(compiled.text, compiled.bind_each(rows, shared))

    def _for(self, dialect: sa.Dialect) -> _Compiled:
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _compile(self._make(dialect.name), dialect)
        return found


def among(column: sa.ColumnElement[Any], name: str, dialect: str) -> sa.ColumnElement[bool]:
    """``column IN`` a list that is one parameter, so that the text is the same for any number of values."""
    if dialect == "sqlite":
        listed = sa.func.json_each(sa.bindparam(name, type_=_JsonText())).table_valued("value")
        return column.in_(sa.select(listed.c.value))
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(column.type)))


class _JsonText(sa.types.TypeDecorator[list[Any]]):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: list[Any] | None, dialect: sa.Dialect) -> str:
        return json.dumps(value)


def _compile(statement: Any, dialect: sa.Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect)
    processes = {}
    for name, parameter in compiled.binds.items():
        process = parameter.type.dialect_impl(dialect).bind_processor(dialect)
        if process is not None:
            processes[name] = process
    fixed = {name: one.effective_value for name, one in compiled.binds.items() if not one.required}
    return _Compiled(text=str(compiled), order=compiled.positiontup, fixed=fixed, processes=processes)
