"""Words by which a handset's owner ends messages, or wants them again."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_mm7.exceptions import InputError

#: What carriers of North America ask for (CTIA's Messaging Principles and Best Practices), and people elsewhere know.
STOP_KEYWORDS: Final = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit"})
START_KEYWORDS: Final = frozenset({"start", "unstop"})

#: In front of a list: its words are added to the set.
ADD: Final = "+"
#: In place of a list: no word counts.
NONE: Final = "none"

#: Characters of a line that may be a keyword; longer ones are sentences.
MAX_LINE: Final = 100
#: Characters at the head of a text in which a line is looked for.
_HEAD: Final = 1000

#: Punctuation, symbols, separators and control characters: not a part of a word at its ends.
_AROUND: Final = frozenset("PSZC")
#: Shows the character before it as text or as a picture.
_VARIATIONS: Final = frozenset("\ufe0e\ufe0f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a message says.

    :ivar opted_out: whether its sender wants no messages any more, or wants them again.
    :ivar keyword: the word, folded.
    """

    opted_out: bool
    keyword: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """The words of one connection, folded.

    :ivar stop: what ends messages; where a word stands in both, it ends them.
    :ivar start: what takes that back.
    """

    stop: frozenset[str] = STOP_KEYWORDS
    start: frozenset[str] = START_KEYWORDS

    def read(self, text: str | None, subject: str | None = None) -> Said | None:
        """Tell what a message says: a keyword that stands alone, or alone in the first line.

        ``End of season photos?`` says nothing.

        :param text: all of the message's text.
        :param subject: counts where there is no text.
        :return: None: it is about something else.
        """
        if text is None or not text.strip():
            text = subject or ""
        head = text.strip()[:_HEAD]
        lines = (line for line in map(fold, head.splitlines()) if line)
        for line in (fold(head), next(lines, "")):
            if line in self.stop:
                return Said(opted_out=True, keyword=line)
            if line in self.start:
                return Said(opted_out=False, keyword=line)
        return None


def fold(text: str) -> str:
    """Return a line as keywords are compared: in small letters, without what stands around it.

    :return: empty for what is too long to be a keyword.
    """
    text = text.strip()
    if len(text) > MAX_LINE:
        return ""
    # Twice, since folding may leave letters that NFKC writes otherwise (The Unicode Standard, 3.13, D146).
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    # The Turkish capital I with a dot becomes two characters, the small letter that people write is one.
    folded = folded.replace("i\u0307", "i")
    first, last = 0, len(folded)
    while first < last and _is_around(folded[first]):
        first += 1
    while first < last and _is_around(folded[last - 1]):
        last -= 1
    return " ".join(folded[first:last].split())


def _is_around(character: str) -> bool:
    return unicodedata.category(character)[0] in _AROUND or character in _VARIATIONS


def parse_keywords(value: str | Iterable[Any] | None, default: frozenset[str], *, field: str) -> frozenset[str]:
    """Read a set of keywords.

    :param value: words separated by commas, a JSON list, or a list. With a ``+`` in front they are added to the
        default, without one they replace it; ``none`` is no word at all; None and empty are the default.
    :param default: folded.
    :param field: name of the field, for the error.
    :raises InputError: it is no list, or one of its words could never be met.
    """
    words = _words(value, field)
    if not words:
        return default
    if len(words) == 1 and words[0].casefold() == NONE:
        return frozenset()
    added = any(word.startswith(ADD) for word in words)
    chosen = {fold(word.removeprefix(ADD)) for word in words}
    if "" in chosen:
        raise InputError(
            field, f"a word has no letter or more than {MAX_LINE} characters", "Give words such as STOP, PARAR"
        )
    return frozenset(chosen) | (default if added else frozenset())


def _words(value: str | Iterable[Any] | None, field: str) -> list[str]:
    remedy = 'Give words separated by commas, such as "+BAJA, PARAR", or a JSON list of them'
    items: Any = value
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                items = json.loads(text)
            except ValueError:
                raise InputError(field, "is not a JSON list", remedy) from None
        else:
            items = text.replace("\n", ",").split(",")
    if items is None:
        return []
    if not isinstance(items, list | tuple | set | frozenset) or not all(isinstance(item, str) for item in items):
        raise InputError(field, "is not a list of words", remedy)
    return [word for item in items if (word := item.strip())]
