"""Rows on standard output, as a table for people or as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]


def print_rows(rows: Sequence[Row], output: str) -> None:
    """Print rows.

    :param output: ``json``, ``table``, ``yaml`` or ``plain``. JSON keeps numbers, null and nesting, which Airflow's own
        printer turns into text.
    """
    if output == "json":
        print_json([dict(row) for row in rows])
        return
    from airflow.cli.simple_table import AirflowConsole

    AirflowConsole().print_as(data=[_flat(row) for row in rows], output=output)


def print_object(value: Row, output: str, *, nested: str | None = None) -> None:
    """Print one object: as JSON whole, otherwise as rows of key and value.

    :param nested: key of a list of rows within, printed as a table of its own.
    """
    if output == "json":
        print_json(value)
        return
    print_rows([{"key": key, "value": item} for key, item in _leaves(value) if key != nested], output)
    if nested is not None and value.get(nested):
        print_rows(value[nested], output)


def print_json(value: object) -> None:
    """Print JSON, indented for people; times as ISO 8601."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=_jsonable)
    sys.stdout.write("\n")


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _flat(row: Row) -> dict[str, str]:
    return {key: _cell(value) for key, value in row.items()}


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_jsonable)
    return _jsonable(value)


def _leaves(value: Row) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            leaves += [(f"{key}.{name}", leaf) for name, leaf in _leaves(item)]
        else:
            leaves.append((key, item))
    return leaves
