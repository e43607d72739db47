"""Typed reading of connection fields.

A connection comes from a form, where everything may be text, from JSON, where it may be anything, or from a URI, where
it is text again. Each method takes all three and either returns the one type or raises ConnectionConfigError with the
field, the problem and a remedy. An absent value, None and blank text are all "not given". No error text repeats a value
that could be a secret.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Mapping
from typing import Any

from airflow_provider_mm7.exceptions import ConnectionConfigError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE = frozenset({"false", "0", "no", "off", "f", "n"})


class Fields:
    """The Extra of one connection, read field by field.

    :param conn_id: for error attributes.
    :param values: the decoded Extra.
    """

    def __init__(self, conn_id: str, values: Mapping[str, Any]) -> None:
        self.conn_id = conn_id
        self._values = values

    def error(self, field: str, problem: str, remedy: str) -> ConnectionConfigError:
        """Return the error to raise."""
        return ConnectionConfigError(field, problem, f"{remedy} (connection {self.conn_id!r})", conn_id=self.conn_id)

    def raw(self, field: str) -> Any:
        """Return the value as given, or None where it is not given."""
        value = self._values.get(field)
        if isinstance(value, str):
            value = value.strip()
        return None if value in ("", None) else value

    def text(self, field: str) -> str | None:
        """Return text; a number is taken for its digits (``vaspid: 1234`` in JSON)."""
        value = self.raw(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(field, f"is {_kind(value)}", "Give text")
        text = str(value)
        if not text.isprintable():
            raise self.error(field, "holds a control character", "Give printable text on one line")
        return text

    def secret(self, field: str) -> str | None:
        """Return text exactly as given, white space included."""
        value = self._values.get(field)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(field, f"is {_kind(value)}", "Give text")
        return str(value)

    def uri(self, field: str, default: str) -> str:
        """Return text that may stand in an XML namespace declaration."""
        text = self.text(field) or default
        if any(c in text for c in " <>\"'{}|\\^`"):
            raise self.error(field, "is not a URI", f"The default is {default}")
        return text

    def choice(self, field: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices, the first by default; case does not matter."""
        text = (self.text(field) or choices[0]).lower()
        if text not in choices:
            raise self.error(field, f"{text!r} is unknown", f"Give one of: {', '.join(choices)}")
        return text

    def integer(self, field: str, default: int, *, least: int = 1, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.raw(field)
        if value is None:
            return default
        number = _number(value)
        if number is None or number != int(number) or not least <= number <= most:
            raise self.error(
                field, f"{_shown(value)} is not a whole number from {least} to {most}", f"The default is {default}"
            )
        return int(number)

    def seconds(self, field: str, default: float, *, most: float) -> float:
        """Return seconds, above 0."""
        number = self.positive(field, most=most)
        return default if number is None else number

    def positive(self, field: str, *, most: float) -> float | None:
        """Return a number above 0, or None where it is not given."""
        value = self.raw(field)
        if value is None:
            return None
        number = _number(value)
        if number is None or not 0 < number <= most:
            raise self.error(
                field, f"{_shown(value)} is not a number above 0 and up to {most:g}", "Leave it empty for the default"
            )
        return number

    def boolean(self, field: str, *, default: bool) -> bool:
        """Return a truth value: JSON's, or the words that forms and URIs use for it."""
        value = self.raw(field)
        if value is None:
            return default
        word = str(value).lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self.error(field, f"{_shown(value)} is neither true nor false", "Give true or false")

    def json_object(self, field: str, example: str) -> dict[str, Any]:
        """Return an object, given as such or as JSON text."""
        value = self.raw(field)
        if value is None:
            return {}
        if isinstance(value, str):
            value = self._decode(field, value, example)
        if not isinstance(value, dict):
            raise self.error(field, f"is {_kind(value)}", f"Give a JSON object, such as {example}")
        return value

    def items(self, field: str) -> tuple[str, ...]:
        """Return a list, given as such, as JSON text, or comma-separated."""
        value = self.raw(field)
        if value is None:
            return ()
        if isinstance(value, str) and value.startswith("["):
            value = self._decode(field, value, '["10.0.0.0/8"]')
        if isinstance(value, str):
            value = value.replace("\n", ",").split(",")
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.error(field, f"is {_kind(value)}", "Give a JSON list of text, or text separated by commas")
        return tuple(item.strip() for item in value if item.strip())

    def networks(self, field: str) -> tuple[Network, ...]:
        """Return IP networks in CIDR notation; a bare address is a network of one.

        Host bits may be set: 203.0.113.7/24 says what is meant, and refusing it would turn reports away.
        """
        networks = []
        for item in self.items(field):
            try:
                networks.append(ipaddress.ip_network(item, strict=False))
            except ValueError as exc:
                raise self.error(field, f"{item!r} is no IP network ({exc})", "Give CIDRs, as 203.0.113.0/24") from None
        return tuple(networks)

    def _decode(self, field: str, text: str, example: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            # The decoder's error would carry the text, and the text may be a secret.
            raise self.error(field, "is not JSON", f"Give JSON, such as {example}") from None


def read_extra(conn_id: str, extra: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Decode a connection's Extra.

    :raises ConnectionConfigError: it is not a JSON object.
    """
    if extra is None or (isinstance(extra, str) and not extra.strip()):
        return {}
    value: Any = extra
    if isinstance(extra, str):
        try:
            value = json.loads(extra)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise ConnectionConfigError(
            "extra", "is not a JSON object", f"Give {{...}} (connection {conn_id!r})", conn_id=conn_id
        )
    return dict(value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
    return "of an unknown kind"
