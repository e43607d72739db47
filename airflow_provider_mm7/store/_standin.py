"""Until protocol.addresses and protocol.statuses are there."""

from __future__ import annotations

_INTERIM = {"Deferred", "Processing"}
_AMBIGUOUS = {"Indeterminate", "Forwarded", "UNKNOWN"}


def number_key(value: str) -> str:
    value = value.strip().partition("/")[0]
    if "@" in value:
        return value.lower()
    return "".join(filter(str.isdigit, value)) or value.lower()


def is_final(status: str) -> bool:
    return status not in _INTERIM


def is_ambiguous(status: str) -> bool:
    return status in _AMBIGUOUS
