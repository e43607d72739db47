"""Values as templates render them: lists and times that arrive as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol import When

#: What separates items in text; a blank does not, since numbers are written with blanks.
_SEPARATORS = re.compile(r"[,;\r\n]")
#: The part of xsd:duration that has a fixed length: years and months do not.
_DURATION = re.compile(
    r"P(?!$)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


def parse_list(value: object, *, field: str, integers: bool = False) -> tuple[str, ...]:
    """Read one string, several, or the text of a JSON list.

    :param value: ``"+64211234567"``, ``"+64211234567, +64211234568"``, ``'["+64211234567"]'``, or an iterable of
        strings; None is no item.
    :param integers: take integers for their digits. What makes them, a DAG that renders templates as native objects
        for one, leaves text alone that begins with 0, so that no digit is lost.
    :raises InputError: an item is not text.
    """
    if value is None:
        return ()
    if integers and _is_integer(value):
        return (str(value),)
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith("["):
            return tuple(item for part in _SEPARATORS.split(text) if (item := part.strip()))
        try:
            # str() of a Python list, which is what Jinja renders, differs from JSON in its quotes only.
            value = json.loads(text if '"' in text else text.replace("'", '"'))
        except ValueError:
            raise InputError(
                field, "begins like a list but is not one", "Give a list, or numbers with commas"
            ) from None
    if not isinstance(value, Iterable) or isinstance(value, (bytes, dict)):
        raise InputError(field, f"is {_kind(value)}", "Give one string or a list of strings")
    items = tuple(str(item) if integers and _is_integer(item) else item for item in value)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(f"{field}[{index}]", f"is {_kind(item)}", "Give strings, numbers in quotes too")
    return tuple(item.strip() for item in items)


def parse_texts(value: object, *, field: str) -> tuple[str, ...]:
    """Read one text, or several.

    :param value: a string, or an iterable of them; None is none. An integer stands for its digits: a DAG that renders
        templates as native objects makes one of ``"{{ ds_nodash }}"``.
    :raises InputError: an item is not text.
    """
    if value is None:
        return ()
    if isinstance(value, str) or _is_integer(value):
        return (str(value),)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise InputError(field, f"is {_kind(value)}", "Give one string or a list of strings")
    items = tuple(str(item) if _is_integer(item) else item for item in value)
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(f"{field}[{index}]", f"is {_kind(item)}", "Give strings")
    return items


def digits_as_text(value: Any) -> Any:
    """Return an integer as its digits, and everything else as it is: see :func:`parse_texts`."""
    return str(value) if _is_integer(value) else value


def parse_when(value: object, *, field: str) -> When | None:
    """Read a point in time or a duration.

    :param value: a datetime with zone, a timedelta, RFC 3339 text (``2026-01-20T09:30:47-05:00``), or the text of a
        duration in weeks, days, hours, minutes, seconds (``P2D``, ``PT6H``); None or empty: not given.
    :raises InputError: it is neither, has no zone, or lies outside what a duration can say.
    """
    if value is None or value == "":
        return None
    remedy = "Give RFC 3339 with a zone (2026-01-20T09:30:47-05:00), a duration (P2D, PT6H), a datetime or a timedelta"
    if isinstance(value, str):
        text = value.strip()
        if (match := _DURATION.fullmatch(text)) is not None:
            value = timedelta(**{unit: int(count) for unit, count in match.groupdict().items() if count})
        else:
            try:
                value = datetime.fromisoformat(text)
            except ValueError:
                raise InputError(field, f"{text[:40]!r} is not a time", remedy) from None
    if isinstance(value, timedelta):
        if value <= timedelta(0):
            raise InputError(field, "the duration is not positive", remedy)
        return value
    if not isinstance(value, datetime):
        raise InputError(field, f"is {_kind(value)}", remedy)
    if value.tzinfo is None:
        raise InputError(field, "the time has no zone", remedy)
    return value


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"
