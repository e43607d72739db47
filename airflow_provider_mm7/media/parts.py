"""Texts and objects become the parts of a message, under names that are safe in headers, SMIL and file systems."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from airflow_provider_mm7.exceptions import InputError, SmilError
from airflow_provider_mm7.media.detect import SUPPORTED_TYPES, detect_type, is_utf8, media_type_on_wire
from airflow_provider_mm7.media.size import check_size, predicted_size
from airflow_provider_mm7.media.source import MediaObject
from airflow_provider_mm7.protocol.parts import Part

#: Characters of a name without its extension. Old handsets cut longer Content-Locations (OMA conformance: 40).
_STEM_CHARACTERS = 32
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


def build_parts(
    text: str | Sequence[str] | None,
    objects: Sequence[MediaObject],
    *,
    spelling: str = "registered",
    max_bytes: int | None = None,
) -> tuple[Part, ...]:
    """Make the parts of a message: the texts first, then the media, each in the given order.

    :param text: one text, several, or none; empty ones (a template that rendered to nothing) are left out.
    :param objects: media as they were fetched.
    :param spelling: ``registered`` or ``vendor`` media types.
    :param max_bytes: bytes the whole message may have after encoding; None checks nothing. Headers are not counted yet.
    :raises MediaTypeUnknown: an object is of no supported type.
    :raises MediaTooLarge: the bodies alone are over max_bytes.
    """
    texts = [text] if isinstance(text, str) else list(text or ())
    names = UniqueNames()
    parts = [text_part(words, number, names) for number, words in enumerate(filter(str.strip, texts))]
    parts += [media_part(found, names, spelling) for found in objects]
    if max_bytes is not None:
        check_size(predicted_size(parts), max_bytes, ((found.uri, len(found.body)) for found in objects))
    return tuple(parts)


class UniqueNames:
    """Gives out names that are safe tokens and differ from each other, whatever their case.

    :param taken: names that are in use already.
    """

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken = {name.lower() for name in taken}

    def claim(self, wanted: str, *, extension: str = "") -> str:
        """Make a wanted name safe and unique.

        :param wanted: a file name of any characters.
        :param extension: used when the name has none.
        :return: ASCII letters, digits, ``-``, ``_`` and one dot before the extension.
        """
        stem, dot, suffix = wanted.rpartition(".")
        if not dot or not stem or not re.fullmatch(r"[A-Za-z0-9]{1,5}", suffix):
            stem, suffix = wanted, extension
        stem = _ascii(stem)[:_STEM_CHARACTERS] or "media"
        suffix = f".{suffix}" if suffix else ""
        name, number = f"{stem}{suffix}", 0
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}{suffix}"
        self._taken.add(name.lower())
        return name


def charset_of(body: bytes) -> str:
    """``us-ascii`` where that says it, else ``utf-8``."""
    return "us-ascii" if body.isascii() else "utf-8"


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return _UNSAFE.sub("_", plain).strip("_-")


def text_part(words: str, number: int, names: UniqueNames) -> Part:
    """Make a part of a text.

    :param number: which of the message's texts it is, from 0.
    """
    try:
        body = words.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise InputError("text", "holds half of a surrogate pair", "Pass text that can be encoded as UTF-8") from exc
    name = names.claim(f"text_{number}.txt")
    return Part(
        content_type=f"text/plain; charset={charset_of(body)}",
        body=body,
        content_id=name,
        content_location=name,
        name=name,
    )


def media_part(found: MediaObject, names: UniqueNames, spelling: str) -> Part:
    """Make a part of an object.

    :raises MediaTypeUnknown: it is of no supported type.
    """
    registered = detect_type(found.body, name=found.name, declared=found.declared_type, source=found.uri)
    if registered == "application/smil":
        raise SmilError(found.uri, "is a SMIL document, not a medium", "Give it as the parameter smil")
    content_type = media_type_on_wire(registered, spelling)
    # A vCard 2.1 in another charset names it in its properties.
    if registered.startswith("text/") and is_utf8(found.body):
        content_type += f"; charset={charset_of(found.body)}"
    name = names.claim(found.name, extension=SUPPORTED_TYPES[registered][0])
    return Part(content_type=content_type, body=found.body, content_id=name, content_location=name, name=name)
