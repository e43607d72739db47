"""``/``: each message as a handset would show it. Foreign content is text and pictures, never markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import unquote

from lxml import etree
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from airflow_provider_mm7.protocol import MMStatus, Outcome
from airflow_provider_mm7.sandbox.callbacks import CallbackQueue
from airflow_provider_mm7.sandbox.control import SAFE_HEADERS
from airflow_provider_mm7.sandbox.record import Record, RecordBook
from airflow_provider_mm7.sandbox.settings import Settings
from airflow_provider_mm7.sandbox.structure import Leaf

#: Messages on the page, newest first.
SHOWN = 60
REFRESH_S = 3
#: What a browser may render from a message, and under which type; SVG and HTML are not among them. The vendor's
#: literal spellings are shown as what they stand for.
SHOWABLE = {
    "image/jpeg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/bmp": "image/bmp",
    "audio/mpeg": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/wav": "audio/wav",
    "video/mp4": "video/mp4",
    "image/mpeg": "video/mp4",
    "video/quicktime": "video/quicktime",
    "image/quicktime": "video/quicktime",
}
_SMIL_MEDIA = frozenset({"img", "image", "video", "audio", "text", "ref"})

STYLE = """
:root{color-scheme:light dark;--page:#eef0f4;--card:#fff;--ink:#1b1f27;--soft:#667085;--line:#d8dde6;--bubble:#e7f0ff;
--good:#11734b;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--page:#14171c;--card:#1e232b;--ink:#e8ebf0;--soft:#98a2b3;--line:#323945;
--bubble:#24344d;--good:#5fd0a0;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;padding:1.5rem;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,"DejaVu Sans",sans-serif}
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;margin:0 0 1.25rem}
h1{font-size:1.25rem;margin:0}
header p,.empty{margin:0;color:var(--soft)}
main{display:grid;gap:1.25rem;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));align-items:start}
article{background:var(--card);border:1px solid var(--line);border-radius:22px;padding:.9rem 1rem 1rem;
overflow-wrap:anywhere}
.to{display:flex;justify-content:space-between;gap:.75rem;color:var(--soft);font-size:.8rem}
.to b{color:var(--ink);font-weight:600}
.to time{white-space:nowrap}
h2{font-size:1rem;margin:.5rem 0 .6rem}
.slide{background:var(--bubble);border-radius:14px;padding:.6rem;margin:.5rem 0}
.slide img,.slide video{display:block;max-width:100%;min-width:45%;border-radius:9px;image-rendering:auto}
.slide audio{width:100%}
.slide p{margin:.35rem .15rem;white-space:pre-wrap}
.file{color:var(--soft);font-size:.85rem}
.state{font-size:.8rem;margin:.65rem 0 0}
.good{color:var(--good)}.bad{color:var(--bad)}.soft{color:var(--soft)}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    **SAFE_HEADERS,
    "Content-Security-Policy": (
        f"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Page:
    """The handset page and the media on it.

    :param settings: what the page says about the sandbox.
    :param book: the messages.
    :param callbacks: the reports about them.
    """

    def __init__(self, settings: Settings, *, book: RecordBook, callbacks: CallbackQueue) -> None:
        self._settings = settings
        self._book = book
        self._callbacks = callbacks

    async def show(self, _request: Request) -> Response:
        """The page."""
        records = self._book.newest(SHOWN)
        reports = self._callbacks.statuses({str(one.message_id) for one in records if one.message_id})
        counts = self._book.counts()
        cards = "\n".join(_card(one, reports.get(str(one.message_id), [])) for one in records)
        if not cards:
            cards = '<p class="empty">No message yet. This page looks again by itself.</p>'
        html = (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>MM7 sandbox</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta http-equiv="refresh" content="{REFRESH_S}"><style>{STYLE}</style></head><body>'
            f"<header><h1>MM7 sandbox</h1><p>{counts['received']} received, {counts['accepted']} accepted"
            f"{f', the newest {SHOWN} shown' if counts['received'] > SHOWN else ''}</p></header>"
            f"<main>{cards}</main></body></html>"
        )
        return HTMLResponse(html, headers=_HEADERS)

    async def media(self, request: Request) -> Response:
        """A picture, sound or film of a message; only types that cannot run anything."""
        record = self._book.find(request.path_params["seq"])
        index = request.path_params["index"]
        leaf = record.leaves[index] if record and index < len(record.leaves) else None
        if leaf is None or leaf.body is None or leaf.media_type not in SHOWABLE:
            return Response("no such picture\n", status_code=404, media_type="text/plain", headers=SAFE_HEADERS)
        return Response(leaf.body, media_type=SHOWABLE[leaf.media_type], headers=SAFE_HEADERS)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A leaf and its place in the message, which its address needs."""

    index: int
    leaf: Leaf


def _card(record: Record, reports: Sequence[str]) -> str:
    shown = ", ".join(record.recipients[:3]) or record.operation or "unread request"
    more = f" and {len(record.recipients) - 3} more" if len(record.recipients) > 3 else ""
    moment = record.received_at.strftime("%H:%M:%S")
    subject = (record.request.subject if record.request else None) or ""
    slides = "".join(_slide(record.seq, slide) for slide in slides_of(record.leaves))
    return (
        f'<article><div class="to"><b>{escape(shown + more)}</b><time>{moment} UTC</time></div>'
        f"{f'<h2>{escape(subject)}</h2>' if subject else ''}{slides}{_state(record, reports)}</article>"
    )


def _state(record: Record, reports: Sequence[str]) -> str:
    if record.accepted:
        told = f' · <span class="{_colour(reports[-1])}">{escape(reports[-1])}</span>' if reports else ""
        state = f'<span class="good">accepted</span>{told}'
    elif record.status_code is not None:
        done = record.status_code // 1000 == 1
        words = f"{record.operation or ''} {record.status_code} {record.status_text or ''}".strip()
        state = f'<span class="{"good" if done else "bad"}">{escape(words)}</span>'
    else:
        state = f'<span class="bad">not accepted: {escape(record.scenario)}</span>'
    reason = record.details or "; ".join(record.problems)
    why = f'<br><span class="soft">{escape(reason)}</span>' if reason else ""
    return f'<p class="state">{state} <span class="soft">{escape(record.message_id or "")}</span>{why}</p>'


def _colour(mm_status: str) -> str:
    outcome = MMStatus.parse(mm_status).outcome
    return {Outcome.DELIVERED: "good", Outcome.FAILED: "bad"}.get(outcome, "soft")


def _slide(seq: int, slide: Sequence[_Numbered]) -> str:
    return f'<div class="slide">{"".join(_medium(seq, one) for one in slide)}</div>'


def _medium(seq: int, one: _Numbered) -> str:
    leaf = one.leaf
    if leaf.text is not None and leaf.media_type == "text/plain":
        return f"<p>{escape(leaf.text)}</p>"
    name = escape(leaf.name or leaf.content_location or leaf.content_id or f"part {one.index}")
    kind = SHOWABLE.get(leaf.media_type, "").partition("/")[0] if leaf.body is not None else ""
    address = f"/_sandbox/messages/{seq}/media/{one.index}"
    if kind == "image":
        return f'<img src="{address}" alt="{name}">'
    if kind in {"audio", "video"}:
        return f'<{kind} controls preload="none" src="{address}"></{kind}>'
    return f'<p class="file">{name} ({escape(leaf.media_type)}, {leaf.size} bytes)</p>'


def slides_of(leaves: Sequence[Leaf]) -> list[list[_Numbered]]:
    """Parts in the order in which a handset shows them: by the SMIL where there is one, all on one slide otherwise.

    Parts that the SMIL does not name come on a slide of their own at the end, so that nothing is hidden.
    """
    numbered = [_Numbered(index, leaf) for index, leaf in enumerate(leaves)]
    smil = next((one.leaf for one in numbered if one.leaf.media_type == "application/smil"), None)
    media = [one for one in numbered if one.leaf.media_type != "application/smil"]
    if smil is None or smil.body is None:
        return [media] if media else []
    slides, used = [], set()
    for references in _references(smil.body):
        slide = [found for source in references if (found := _find(source, media)) is not None]
        used |= {one.index for one in slide}
        if slide:
            slides.append(slide)
    rest = [one for one in media if one.index not in used]
    return [*slides, rest] if rest else slides


def _references(smil: bytes) -> Iterator[list[str]]:
    """The sources of each ``par``, or of the whole body where there is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    try:
        root = etree.fromstring(smil, parser)
    except etree.XMLSyntaxError:
        return
    if root is None:
        return
    for par in list(root.iter("{*}par")) or [root]:
        yield [
            str(one.get("src", ""))
            for one in par.iter("{*}*")
            if etree.QName(one).localname in _SMIL_MEDIA and one.get("src")
        ]


def _find(source: str, media: Sequence[_Numbered]) -> _Numbered | None:
    wanted = unquote(source[4:]) if source.lower().startswith("cid:") else source
    names = ((one, (one.leaf.content_id, one.leaf.content_location, one.leaf.name)) for one in media)
    return next((one for one, known in names if wanted in known), None)
