"""What the ledger keeps of contents, so that people can look at what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from airflow_provider_mm7.media import registered_type
from airflow_provider_mm7.media.parts import charset_of
from airflow_provider_mm7.media.smil import SMIL_TYPE
from airflow_provider_mm7.protocol import Part, When
from airflow_provider_mm7.protocol.times import format_duration
from airflow_provider_mm7.sending.draft import Draft, Profile
from airflow_provider_mm7.sending.recipients.spool import RowContent
from airflow_provider_mm7.store import NewContent, Options, SentPart
from airflow_provider_mm7.store.contents import MAX_TEXT

#: Key of a presentation that messages share. No URI: nothing that is read can have it.
SMIL_KEY: Final = "presentation:"


def options_of(draft: Draft, profile: Profile) -> Options:
    """Return what was set in the envelope, by the user or the connection.

    A duration stays one: counted from now, every retry would be another content.
    """
    sender = profile.sender
    found: Mapping[str, str | bool | None] = {
        "sender_address": None if sender.sender_address is None else sender.sender_address.value,
        "vasp_id": sender.vasp_id,
        "vas_id": sender.vas_id,
        "service_code": profile.service_code,
        "linked_id": draft.linked_id,
        "message_class": draft.message_class,
        "priority": draft.priority,
        "earliest_delivery": _when(draft.earliest_delivery),
        "expiry": _when(draft.expiry),
        "delivery_report": draft.delivery_report,
        "read_reply": draft.read_reply,
        "charged_party": draft.charged_party,
        "distribution_indicator": draft.distribution_indicator,
        "content_class": draft.content_class,
        # True is what carriers do anyway.
        "allow_adaptations": None if draft.allow_adaptations else False,
    }
    return MappingProxyType({name: value for name, value in found.items() if value is not None})


def content_of(subject: str | None, options: Options, parts: Iterable[Part]) -> NewContent:
    """Return the content of one message for all.

    :param parts: as they are sent.
    """
    return NewContent(subject=subject, options=options, parts=tuple(map(_sent, parts)))


def contents_of_rows(draft: Draft, profile: Profile, rows: Iterable[RowContent]) -> Iterator[NewContent]:
    """Give the contents of rows before their media are read: of these, only where they are.

    :param draft: what all messages share.
    """
    options = options_of(draft, profile)
    smil: Sequence[SentPart] = ()
    if draft.smil == "auto":
        smil = (SentPart(content_type=SMIL_TYPE),)
    elif draft.smil != "none":
        smil = (SentPart(content_type=SMIL_TYPE, media=SMIL_KEY),)
    for row in rows:
        texts = [_text(text, number) for number, text in enumerate(filter(str.strip, row.text))]
        media = [SentPart(media=uri) for uri in row.media]
        yield NewContent(subject=row.subject, options=options, parts=(*smil, *texts, *media))


def is_text(content_type: str) -> bool:
    """Whether people read it: it is kept as text, and not as a copy."""
    return registered_type(content_type) in ("text/plain", SMIL_TYPE)


def text_of(part: Part) -> str | None:
    """Return what people read of a part."""
    if not is_text(part.content_type):
        return None
    # A presentation without its end is none; it has a bound of its own.
    text = part.body.decode("utf-8", "replace")
    return text if registered_type(part.content_type) == SMIL_TYPE else text[:MAX_TEXT]


def _sent(part: Part) -> SentPart:
    text = text_of(part)
    whole = text is not None and len(text.encode()) == len(part.body)
    digest = None if whole else sha256(part.body).hexdigest()
    return SentPart(
        name=part.name,
        content_type=part.content_type,
        size=len(part.body),
        sha256=digest,
        text=text,
        # A copy is found by its digest: under its name, another run may have sent something else.
        media=None if is_text(part.content_type) else digest,
    )


def _text(text: str, number: int) -> SentPart:
    # Half of a surrogate pair: that row's message will be refused, which is no reason to record none.
    body = text.encode("utf-8", "replace")
    return SentPart(
        name=f"text_{number}.txt",
        content_type=f"text/plain; charset={charset_of(body)}",
        size=len(body),
        sha256=None if len(text) <= MAX_TEXT else sha256(body).hexdigest(),
        text=text[:MAX_TEXT],
    )


def _when(value: When | None) -> str | None:
    if isinstance(value, timedelta):
        return format_duration(value)
    return value.isoformat() if isinstance(value, datetime) else None
