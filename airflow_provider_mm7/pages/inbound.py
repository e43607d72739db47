"""Messages from handsets."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from airflow_provider_mm7.pages.app import Ask, NotFound, row_id
from airflow_provider_mm7.pages.handset import Part, slides_of
from airflow_provider_mm7.pages.media import Gone, kind_of, missing, read, serve
from airflow_provider_mm7.store import Inbound
from airflow_provider_mm7.store.overview import Page

#: Messages of a page.
PAGE: Final = 50


def listed(ask: Ask) -> Response:
    """Messages from handsets, newest first."""
    sender = ask.query.get("sender", "").strip() or None
    before, after = (row_id(ask.query.get(name)) for name in ("before", "after"))
    page = ask.store.inbound_page(limit=PAGE, sender=sender, before_id=before, after_id=after)
    seen = {conn_id: _sees(ask, conn_id) for conn_id in {one.message.conn_id for one in page.items}}
    if sender is not None:
        # Who may not see numbers may not find out by asking either: for them nothing is there.
        items = tuple(one for one in page.items if seen[one.message.conn_id])
        page = Page(items=items, before=bool(items) and page.before, after=bool(items) and page.after)
    return ask.page(
        "inbound.html",
        page=page,
        sender=sender,
        seen=seen,
        media=lambda one: [part for part in one.message.parts if kind_of(part.content_type) in _MEDIA],
    )


_MEDIA: Final = ("image", "audio", "video")


def one(ask: Ask) -> Response:
    """One message from a handset."""
    found = _find(ask)
    parts = [
        Part(
            index=index,
            content_type=part.content_type,
            name=part.content_location or part.content_id or f"part {index + 1}",
            names=tuple(name for name in (part.content_id, part.content_location) if name),
            size=part.size,
            address=ask.place.link("inbound", found.id, "parts", index),
            text=_text(ask, found, index),
        )
        for index, part in enumerate(found.message.parts)
    ]
    smil = next((part for part in parts if part.is_smil), None)
    return ask.page(
        "inbound_message.html",
        found=found,
        message=found.message,
        parts_of=parts,
        slides=slides_of(parts, smil.text if smil else None),
        sees=_sees(ask, found.message.conn_id),
    )


def part(ask: Ask) -> Response:
    """One part of a message from a handset."""
    found = _find(ask)
    index = int(ask.path["index"])
    if index >= len(found.message.parts):
        raise NotFound
    wanted = found.message.parts[index]
    try:
        body = read(ask.media, wanted.uri, size=wanted.size, sha256=wanted.sha256)
    except Gone as exc:
        return missing(str(exc))
    return serve(body, wanted.content_type, name=wanted.content_location or wanted.content_id or "part")


#: Bytes of a text or SMIL part that a page reads to show it.
_MAX_TEXT: Final = 64 * 1024


def _text(ask: Ask, found: Inbound, index: int) -> str | None:
    """Return the text of a text or SMIL part, None of others and of what is not to be had."""
    wanted = found.message.parts[index]
    base = wanted.content_type.partition(";")[0].strip().lower()
    if base not in ("text/plain", "application/smil") or wanted.size > _MAX_TEXT:
        return None
    try:
        body = read(ask.media, wanted.uri, size=wanted.size, sha256=wanted.sha256)
    except Gone:
        return None
    return body.decode("utf-8", "replace")


def _find(ask: Ask) -> Inbound:
    found = ask.store.inbound_message(int(ask.path["id"])) if int(ask.path["id"]) < 2**63 else None
    if found is None:
        raise NotFound
    return found


def _sees(ask: Ask, conn_id: str) -> bool:
    return ask.viewer.sees_numbers(dag_id=None, conn_id=conn_id)
