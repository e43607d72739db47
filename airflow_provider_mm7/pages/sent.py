"""What a message that was sent consists of, as pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.media import auto_smil, registered_type
from airflow_provider_mm7.media.parts import UniqueNames
from airflow_provider_mm7.media.smil import SMIL_TYPE
from airflow_provider_mm7.media.source import name_of
from airflow_provider_mm7.pages.access import Forbidden
from airflow_provider_mm7.pages.app import Ask, NotFound, find_batch, sees_numbers
from airflow_provider_mm7.pages.handset import Part, slides_of
from airflow_provider_mm7.pages.media import Gone, missing, read, serve
from airflow_provider_mm7.protocol.times import parse_datetime, parse_duration
from airflow_provider_mm7.store import Batch, SentContent, SentMedia, SentPart

_NO_COPY: Final = "no copy is kept"
_UNREAD: Final = "not read yet"

#: What a user may have set in the envelope, and how people call it, in the order of the page.
_LABELS: Final[Mapping[str, str]] = {
    "sender_address": "From",
    "vasp_id": "VASP ID",
    "vas_id": "VAS ID",
    "service_code": "Service code",
    "linked_id": "Answers",
    "message_class": "Class",
    "priority": "Priority",
    "earliest_delivery": "Not before",
    "expiry": "Expiry",
    "delivery_report": "Delivery report",
    "read_reply": "Read reply",
    "charged_party": "Charged party",
    "distribution_indicator": "May be passed on",
    "content_class": "Content class",
    "allow_adaptations": "May be adapted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A content, ready for a page.

    :ivar sender: who a handset says that it is from.
    :ivar options: names and values of the envelope, for people.
    """

    subject: str | None
    sender: str | None
    options: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    slides: list[list[Part]]


def show(ask: Ask, batch: Batch, found: SentContent) -> Shown:
    """Make a content ready for a page of somebody who may see it."""
    content = found.content
    parts, smil = _parts(ask, batch, found)
    sender = content.options.get("sender_address")
    return Shown(
        subject=content.subject,
        sender=str(sender) if sender else None,
        options=tuple(
            (label, _words(name, content.options[name])) for name, label in _LABELS.items() if name in content.options
        ),
        parts=tuple(parts),
        slides=slides_of(parts, smil),
    )


def part(ask: Ask) -> Response:
    """One medium of what was sent."""
    batch = find_batch(ask, str(ask.path["batch_id"]))
    if not sees_numbers(ask, batch):
        raise Forbidden
    number, index = int(ask.path["number"]), int(ask.path["index"])
    found = ask.store.content(batch.batch_id, number) if number < 2**31 else None
    if found is None or index >= len(found.content.parts):
        raise NotFound
    wanted = found.content.parts[index]
    medium = _medium(wanted, found.media)
    if medium is None or medium.uri is None:
        return missing(_NO_COPY)
    try:
        body = read(ask.media, medium.uri, size=medium.size, sha256=medium.sha256)
    except Gone as exc:
        return missing(str(exc))
    return serve(body, wanted.content_type or medium.content_type, name=wanted.name or medium.name)


def _parts(ask: Ask, batch: Batch, found: SentContent) -> tuple[list[Part], str | None]:
    """Return the parts of a content, and its presentation if it has one."""
    names = UniqueNames([part.name for part in found.content.parts if part.name])
    shown = [
        _shown(part, found.media, names, index, ask.place.link("batches", batch.batch_id, "contents", found.number,
                                                               "parts", index))
        for index, part in enumerate(found.content.parts)
    ]  # fmt: skip
    for index, (part, recorded) in enumerate(zip(shown, found.content.parts, strict=True)):
        if part.is_smil and recorded.text is None and recorded.media is None:
            made = _present([one for one in shown if not one.is_smil])
            shown[index : index + 1] = [] if made is None else [made]
            return shown, None if made is None else made.text
        if part.is_smil:
            return shown, part.text
    return shown, None


def _shown(part: SentPart, media: Mapping[str, SentMedia], names: UniqueNames, index: int, address: str) -> Part:
    medium = _medium(part, media)
    if part.size is None and part.media is not None:
        # Of what rows name, nothing but where it is was known when they were planned.
        if medium is None:
            kind = part.content_type or "unknown type"
            return Part(index=index, content_type=kind, name=name_of(part.media), names=(), size=0, note=_UNREAD)
        part = SentPart(content_type=medium.content_type, size=medium.size, text=medium.text, media=medium.key,
                        name=names.claim(medium.name))  # fmt: skip
    name, size = part.name or f"part {index + 1}", part.size or 0
    text = part.text
    if text is not None and registered_type(part.content_type or "") != SMIL_TYPE and size > len(text.encode()):
        text += "…"
    kept = medium is not None and medium.uri is not None
    return Part(
        index=index,
        content_type=part.content_type or "",
        name=name,
        names=(name,),
        size=size,
        text=text,
        address=address if kept else None,
        note=None if kept or part.media is None or text is not None else _NO_COPY,
    )


def _medium(part: SentPart, media: Mapping[str, SentMedia]) -> SentMedia | None:
    return media.get(part.media) if part.media is not None else None


def _present(parts: list[Part]) -> Part | None:
    """Make the presentation that such parts were sent with; it was not kept, since it follows from them."""
    made = auto_smil(
        [protocol.Part(content_type=one.content_type, body=b"", content_id=one.name, content_location=one.name,
                       name=one.name) for one in parts if one.names]
    )  # fmt: skip
    if made is None:
        return None
    return Part(
        index=len(parts),
        content_type=made.content_type,
        name=made.name or "",
        names=(),
        size=len(made.body),
        text=made.body.decode(),
    )


def _words(name: str, value: str | bool | None) -> str:
    """Say a value to people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if name not in ("expiry", "earliest_delivery"):
        return text
    if (moment := parse_datetime(text)) is not None:
        return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
    duration = parse_duration(text)
    return text if duration is None else f"{_long(duration)} after it is sent"


def _long(duration: timedelta) -> str:
    units = ((duration.days, "day"), (duration.seconds // 3600, "hour"), (duration.seconds // 60 % 60, "minute"),
             (duration.seconds % 60, "second"))  # fmt: skip
    return " ".join(f"{n} {unit}{'s' * (n != 1)}" for n, unit in units if n) or "0 seconds"
