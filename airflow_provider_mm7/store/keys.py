"""What messages from handsets are compared by, however a handset or a user spells it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from airflow_provider_mm7.protocol.addresses import number_key
from airflow_provider_mm7.store.text import identifier

#: Characters of a keyword, and of the text in which it is looked for.
MAX_KEYWORD: Final = 64
_KEYWORD_WITHIN: Final = 1000

_WORD: Final = re.compile(r"\w+")


def first_word(text: str | None) -> str:
    """Return the first word of a text as keywords are compared: folded, without what stands around it."""
    found = _WORD.search(unicodedata.normalize("NFKC", text[:_KEYWORD_WITHIN])) if text else None
    return found[0].casefold()[:MAX_KEYWORD] if found else ""


def address_key(address: str | None) -> str:
    """Return what an address is compared by; empty for none."""
    return identifier(number_key(address)) if address else ""
