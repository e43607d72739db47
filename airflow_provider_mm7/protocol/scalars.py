"""Texts of elements and attributes <-> values: lenient when read, strict when written, side by side for each type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol import times

#: XML 1.0 section 2.2: what no document can hold, not even escaped.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: RFC 3986, the characters only.
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|(?![^/?#]*:))(?!//)(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_WORD = re.compile(r"[A-Za-z-]{1,24}")
#: XML Schema part 2 section 3.3.25: a sign and zeros may lead.
_WHOLE_NUMBER = re.compile(r"\+?0*([0-9]{1,9})")


class Scalar(Protocol):
    """A simple type."""

    def parse(self, text: str) -> Any:
        """Read what a peer wrote; None when it holds nothing of this type."""

    def format(self, value: Any, field: str) -> str:
        """Write a value.

        :raises InputError: it would not be valid, named by ``field``.
        """


def checked_text(value: Any, field: str) -> str:
    """Make sure that a value is text that XML can hold.

    :raises InputError: it is not.
    """
    if not isinstance(value, str):
        raise InputError(field, f"is {type(value).__name__}, not text", "Give a str.")
    match = NOT_XML.search(value)
    if match:
        raise InputError(
            field,
            f"holds the character U+{ord(match[0]):04X} at position {match.start()}, which XML cannot carry",
            "Remove control characters from the text.",
        )
    return value


@dataclass(frozen=True, slots=True)
class Text:
    """Text for people: kept with its white space, unless a peer set it on lines of its own."""

    def parse(self, text: str) -> str:
        return text.strip() if _on_own_line(text) else text

    def format(self, value: Any, field: str) -> str:
        text = checked_text(value, field)
        if _on_own_line(text):
            raise InputError(field, "begins or ends with a line break", "Strip the text.")
        return text


def _on_own_line(text: str) -> bool:
    stripped = text.strip(" \t\r\n")
    if len(stripped) == len(text):
        return False
    start = text.find(stripped)
    around = text[:start] + text[start + len(stripped) :]
    return "\n" in around or "\r" in around


@dataclass(frozen=True, slots=True)
class Token:
    """An identifier: white space around it never belongs to it.

    :ivar may_be_empty: written also where there is none, and read as None then.
    """

    may_be_empty: bool = False

    def parse(self, text: str) -> str | None:
        return text.strip() or None

    def format(self, value: Any, field: str) -> str:
        text = checked_text(value, field)
        if (not text and not self.may_be_empty) or text != text.strip():
            raise InputError(field, "is empty or has white space around it", "Give the bare value, or None.")
        return text


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the schema's values. What else a peer says is kept as it is."""

    allowed: frozenset[str]

    def parse(self, text: str) -> str | None:
        return text.strip() or None

    def format(self, value: Any, field: str) -> str:
        if not isinstance(value, str) or value not in self.allowed:
            # Only a plain word is repeated: whatever else stands here may be personal data.
            shown = f"{value!r} " if isinstance(value, str) and _WORD.fullmatch(value) else ""
            raise InputError(field, f"{shown}is not a value of MM7", f"Use one of {', '.join(sorted(self.allowed))}.")
        return str(value)


@dataclass(frozen=True, slots=True)
class Uri:
    """xs:anyURI: ``cid:...``. Kept as the peer wrote it."""

    def parse(self, text: str) -> str | None:
        return text.strip() or None

    def format(self, value: Any, field: str) -> str:
        text = checked_text(value, field)
        if not _URI.fullmatch(text):
            raise InputError(field, "is not a URI", "Use cid: and a Content-ID of plain characters.")
        return text


@dataclass(frozen=True, slots=True)
class Boolean:
    """xs:boolean."""

    def parse(self, text: str) -> bool | None:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())

    def format(self, value: Any, field: str) -> str:
        if not isinstance(value, bool):
            raise InputError(field, f"is {type(value).__name__}, not a truth value", "Give True or False.")
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class PositiveInteger:
    """xs:positiveInteger, up to nine digits."""

    def parse(self, text: str) -> int | None:
        match = _WHOLE_NUMBER.fullmatch(text.strip())
        return int(match[1]) if match else None

    def format(self, value: Any, field: str) -> str:
        if type(value) is not int or not 0 < value < 10**9:
            raise InputError(field, "is not a whole number from 1 to 999999999", "Give such an int.")
        return str(value)


@dataclass(frozen=True, slots=True)
class DateTime:
    """xs:dateTime with zone."""

    def parse(self, text: str) -> datetime | None:
        return times.parse_datetime(text)

    def format(self, value: Any, field: str) -> str:
        if not isinstance(value, datetime):
            raise InputError(field, f"is {type(value).__name__}, not a datetime", "Give an aware datetime.")
        if value.utcoffset() is None:
            raise InputError(field, "has no time zone", "Give an aware datetime.")
        try:
            return times.format_datetime(value)
        except OverflowError as exc:
            raise InputError(field, "lies outside the calendar", "Give a datetime in UTC.") from exc


@dataclass(frozen=True, slots=True)
class When:
    """relativeOrAbsoluteDateType: a point in time, or a duration from now."""

    def parse(self, text: str) -> datetime | timedelta | None:
        return times.parse_datetime(text) or times.parse_duration(text)

    def format(self, value: Any, field: str) -> str:
        if not isinstance(value, timedelta):
            return DATE_TIME.format(value, field)
        if value < timedelta():
            raise InputError(field, "is a negative duration", "Give a duration from now on.")
        return times.format_duration(value)


TEXT = Text()
TOKEN = Token()
URI = Uri()
BOOLEAN = Boolean()
POSITIVE_INTEGER = PositiveInteger()
DATE_TIME = DateTime()
WHEN = When()


def choice(*allowed: str) -> Choice:
    """Make the type of an enumeration."""
    return Choice(frozenset(allowed))
