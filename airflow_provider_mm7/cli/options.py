"""Arguments of commands, typed; Airflow's own class is not."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any, Final

from airflow.cli.cli_config import Arg

#: In place of an id: all messages that a consumer has parked.
PARKED: Final = "parked"


def option(*flags: str, **options: Any) -> Arg:
    """Return an argument.

    :param flags: as :meth:`argparse.ArgumentParser.add_argument` takes them.
    :param options: likewise.
    """
    # Airflow's class knows fewer keywords (no const) than the parser it hands them to.
    argument = Arg(flags)  # type: ignore[no-untyped-call]
    argument.kwargs.update(options)
    return argument


def count(text: str) -> int:
    """Read a whole number from 1.

    :raises ArgumentTypeError: it is none.
    """
    return _at_least(1, text)


def days(text: str) -> int:
    """Read a whole number from 0.

    :raises ArgumentTypeError: it is none.
    """
    return _at_least(0, text)


def row_id(text: str) -> int:
    """Read the id of a row: a whole number from 0.

    :raises ArgumentTypeError: it is none.
    """
    return _at_least(0, text, digits=18)


def id_or_parked(text: str) -> int | str:
    """Read the id of a row, or the word for all that are parked.

    :raises ArgumentTypeError: it is neither.
    """
    return PARKED if text == PARKED else row_id(text)


def _at_least(least: int, text: str, *, digits: int = 6) -> int:
    # More digits than this are a slip, and would overflow a date, or a column of ids.
    if not text.isdecimal() or len(text) > digits or int(text) < least:
        raise ArgumentTypeError(f"{text[:20]!r} is not a whole number from {least} to {10**digits - 1}")
    return int(text)
