"""Text as both databases can hold it. A peer's odd value must never cost us the report that carries it."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

#: PostgreSQL refuses index entries over about 2,700 bytes; identifiers of real MMSCs have under 100 characters.
MAX_IDENTIFIER: Final = 255


def clean(text: str) -> str:
    """Replace what PostgreSQL cannot store: NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def clean_or_none(text: str | None) -> str | None:
    """Clean a text that may be absent."""
    return None if text is None else clean(text)


def identifier(text: str) -> str:
    """Make a value fit for an index: equal values stay equal, distinct ones distinct."""
    text = clean(text)
    if len(text) <= MAX_IDENTIFIER:
        return text
    digest = sha256(text.encode()).hexdigest()
    return f"{text[: MAX_IDENTIFIER - len(digest) - 1]}~{digest}"
