"""``/_sandbox``: what tests and people ask of the sandbox, and the guard before it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_provider_mm7.sandbox.callbacks import Callback, CallbackQueue, Medium
from airflow_provider_mm7.sandbox.record import RecordBook
from airflow_provider_mm7.sandbox.reports import DEFAULT_SENDER, Spelling
from airflow_provider_mm7.sandbox.scenarios import SCENARIOS, ReportStep
from airflow_provider_mm7.sandbox.script import Script, parse_script
from airflow_provider_mm7.sandbox.settings import Settings

#: Records put into one chunk of a long answer.
_BATCH = 200
_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9!#$&^_.+-]{1,60}/[a-zA-Z0-9!#$&^_.+-]{1,60}(?:; ?charset=\"?[a-zA-Z0-9-]+\"?)?")
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,80}")
#: Nothing of what is served here may run, be framed, or be guessed to be something else.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

#: Sec-Fetch-Site of what our own page asks for, and of what a person typed (W3C Fetch Metadata).
_OWN = frozenset({"same-origin", "none"})

Endpoint = Callable[[Request], Awaitable[Response]]


class Guard:
    """Who may look in, and what may change something.

    Messages of the sandbox are in the clear and nobody logs in here, so by default only this machine is answered, and
    no web page that the user happens to have open can reach it: names that point here by DNS tricks are refused, and so
    is what a browser says to come from another site, another port of this machine included. Where a browser says
    nothing, a change still needs a JSON body, which a page of another site cannot post.

    :param settings: ``expose_control`` lifts the first rule.
    """

    def __init__(self, settings: Settings) -> None:
        self._exposed = settings.expose_control
        self._names = {"localhost", settings.host.lower()}

    def refusal(self, request: Request) -> Response | None:
        """None when the request may pass."""
        if not self._exposed and not (
            _is_loopback(request.client.host if request.client else "") and self._knows(request)
        ):
            return _error(403, "this page is for the sandbox's own machine; --expose-control opens it")
        if request.headers.get("sec-fetch-site", "none") not in _OWN and not _is_visit(request):
            return _error(403, "requests of other sites are refused")
        if request.method in {"GET", "HEAD"}:
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return _error(403, "requests of other sites are refused")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method != "DELETE" and media_type != "application/json":
            return _error(415, "Content-Type must be application/json")
        return None

    def _knows(self, request: Request) -> bool:
        host = (urlsplit("//" + request.headers.get("host", "")).hostname or "").lower()
        return host in self._names or _is_address(host)


def guarded(guard: Guard, endpoint: Endpoint) -> Endpoint:
    """The endpoint behind the guard."""

    async def _guarded(request: Request) -> Response:
        return guard.refusal(request) or await endpoint(request)

    return _guarded


class Control:
    """Endpoints below ``/_sandbox``."""

    def __init__(
        self, settings: Settings, *, book: RecordBook, script: Script, callbacks: CallbackQueue, spelling: Spelling
    ) -> None:
        self._settings = settings
        self._book = book
        self._script = script
        self._callbacks = callbacks
        self._spelling = spelling

    def routes(self, guard: Guard) -> list[Route]:
        """Routes, each behind the guard."""
        table: tuple[tuple[str, str, Endpoint], ...] = (
            ("GET", "/messages", self.messages),
            ("DELETE", "/messages", self.clear),
            ("GET", "/messages/{seq:int}", self.message),
            ("GET", "/messages/{seq:int}/raw", self.raw),
            ("GET", "/messages/{seq:int}/parts/{index:int}", self.part),
            ("GET", "/reports", self.reports),
            ("GET", "/reports/{seq:int}/raw", self.report_raw),
            ("POST", "/report", self.report),
            ("POST", "/deliver", self.deliver),
            ("GET", "/script", self.show_script),
            ("POST", "/script", self.extend_script),
            ("DELETE", "/script", self.clear_script),
            ("GET", "/scenarios", self.scenarios),
            ("GET", "/health", self.health),
        )
        return [
            Route(f"/_sandbox{path}", guarded(guard, endpoint), methods=[method]) for method, path, endpoint in table
        ]

    async def messages(self, request: Request) -> Response:
        """Everything received, oldest first; ``after``, ``limit`` and ``fields`` narrow it."""
        window = _window(request)
        if window is None:
            return _error(400, "after and limit are numbers")
        after, limit = window
        fields = [name for name in request.query_params.get("fields", "").split(",") if name]
        return StreamingResponse(
            self._listed(after, limit, fields), media_type="application/json", headers=SAFE_HEADERS
        )

    async def _listed(self, after: int, limit: int | None, fields: list[str]) -> AsyncIterator[bytes]:
        rows: list[str] = []
        start = b"["
        for record in self._book.records(after=after, limit=limit):
            row = record.as_json(self._book.heavy(record.seq))
            rows.append(json.dumps({name: row.get(name) for name in fields} if fields else row))
            if len(rows) == _BATCH:
                yield start + ",\n".join(rows).encode()
                start, rows = b",\n", []
                await asyncio.sleep(0)  # long lists must not hold up those who are sending
        yield (start if rows or start == b"[" else b"") + ",\n".join(rows).encode() + b"]\n"

    async def message(self, request: Request) -> Response:
        """One record."""
        record = self._book.find(request.path_params["seq"])
        if record is None:
            return _error(404, "no such message")
        return JSONResponse(record.as_json(self._book.heavy(record.seq)), headers=SAFE_HEADERS)

    async def raw(self, request: Request) -> Response:
        """The HTTP body as it came."""
        heavy = self._book.heavy(request.path_params["seq"])
        if heavy is None:
            return _error(404, "no such message, or its body is no longer kept")
        return _download(b"".join(heavy.chunks), dict(heavy.headers).get("content-type"))

    async def part(self, request: Request) -> Response:
        """The decoded bytes of one part, as a download."""
        record = self._book.find(request.path_params["seq"])
        index = request.path_params["index"]
        body = record.leaves[index].body if record and index < len(record.leaves) else None
        if record is None or body is None:
            return _error(404, "no such part, or its bytes are no longer kept")
        return _download(body, record.leaves[index].content_type)

    async def clear(self, _request: Request) -> Response:
        """Forget messages, callbacks, forced answers and counters."""
        self._book.clear()
        self._callbacks.clear()
        self._script.clear()
        return Response(status_code=204)

    async def reports(self, request: Request) -> Response:
        """Callbacks and the answers they got; ``after`` and ``limit`` narrow it."""
        window = _window(request)
        if window is None:
            return _error(400, "after and limit are numbers")
        after, limit = window
        return JSONResponse(self._callbacks.as_json(after=after, limit=limit), headers=SAFE_HEADERS)

    async def report_raw(self, request: Request) -> Response:
        """The body of a callback as it was posted."""
        found = self._callbacks.body(request.path_params["seq"])
        if found is None:
            return _error(404, "no such callback, or its body is no longer kept")
        return _download(found[1], found[0])

    async def report(self, request: Request) -> Response:
        """Send one report: ``{"message_id", "recipient", "mm_status", "read_reply", "swapped", "type_suffix"}``."""
        given, refused = await _object(request, {"message_id", "mm_status"})
        if refused is not None:
            return refused
        earlier = self._book.find_message(str(given["message_id"]))
        recipient = given.get("recipient") or (earlier.recipients[0] if earlier and earlier.recipients else None)
        if not recipient:
            return _error(400, "recipient is needed for a message that was not received here")
        step = ReportStep(
            mm_status=str(given["mm_status"]),
            date_offset_s=int(given.get("date_offset_s", 0)),
            swapped=bool(given.get("swapped")),
            type_suffix=bool(given.get("type_suffix")),
            read_reply=bool(given.get("read_reply")),
        )
        sender = given.get("sender") or (earlier.sender if earlier else None)
        return await self._posted(self._spelling.report(str(given["message_id"]), str(recipient), sender, step))

    async def deliver(self, request: Request) -> Response:
        """Send a message from a handset: ``{"sender", "recipient", "text", "subject", "linked_id", "media"}``."""
        given, refused = await _object(request, {"sender"})
        if refused is not None:
            return refused
        try:
            media = _media(given)
        except ValueError as exc:
            return _error(400, str(exc))
        callback = self._spelling.deliver(
            sender=str(given["sender"]),
            recipient=str(given.get("recipient") or DEFAULT_SENDER),
            subject=_text(given.get("subject")),
            linked_id=_text(given.get("linked_id")),
            media=media,
        )
        return await self._posted(callback)

    async def _posted(self, callback: Callback) -> Response:
        if not self._callbacks.enabled:
            return _error(409, "the sandbox was started without --callback-url")
        return JSONResponse(await self._callbacks.post_now(callback), headers=SAFE_HEADERS)

    async def show_script(self, _request: Request) -> Response:
        """Forced answers that wait."""
        return JSONResponse(self._script.waiting(), headers=SAFE_HEADERS)

    async def extend_script(self, request: Request) -> Response:
        """Queue forced answers for the next requests."""
        try:
            waiting = self._script.extend(parse_script(json.loads(await request.body())))
        except (ValueError, TypeError) as exc:
            return _error(400, str(exc))
        return JSONResponse({"waiting": waiting}, headers=SAFE_HEADERS)

    async def clear_script(self, _request: Request) -> Response:
        """Drop forced answers."""
        self._script.clear()
        return Response(status_code=204)

    async def scenarios(self, _request: Request) -> Response:
        """The table of special recipients."""
        rows = [{**asdict(one), "recipient": one.example, "accepts": one.accepts} for one in SCENARIOS.values()]
        return JSONResponse(rows, headers=SAFE_HEADERS)

    async def health(self, _request: Request) -> Response:
        """Alive, and how many messages came."""
        return JSONResponse({"status": "ok", **self._book.counts(), **self._callbacks.counts()}, headers=SAFE_HEADERS)


def _window(request: Request) -> tuple[int, int | None] | None:
    """``after`` and ``limit`` of a list; None when they are no numbers."""
    after, limit = request.query_params.get("after", "0"), request.query_params.get("limit")
    if not after.isdecimal() or not (limit is None or limit.isdecimal()):
        return None
    return int(after), None if limit is None else int(limit)


def _media(given: dict[str, Any]) -> list[Medium]:
    """Text and media of a handset's message.

    :raises ValueError: what cannot become a part.
    """
    media = []
    if given.get("text") is not None:
        body = str(given["text"]).encode()
        media.append(Medium(content_type="text/plain; charset=utf-8", body=body, name="text_0.txt"))
    for index, item in enumerate(given.get("media") or ()):
        if not isinstance(item, dict) or not _MEDIA_TYPE.fullmatch(str(item.get("content_type", ""))):
            raise ValueError("each medium is an object with content_type and base64")
        name = str(item.get("name") or f"media_{index}.{_ending(str(item['content_type']))}")
        if not _NAME.fullmatch(name):
            raise ValueError("a medium's name has letters, digits, dot, dash and underscore only")
        try:
            body = base64.b64decode(str(item.get("base64", "")), validate=True)
        except binascii.Error as exc:
            raise ValueError("a medium's base64 cannot be decoded") from exc
        media.append(Medium(content_type=str(item["content_type"]), body=body, name=name))
    return media


def _ending(content_type: str) -> str:
    return re.sub(r"[^a-z0-9]", "", content_type.partition(";")[0].rpartition("/")[2].lower()) or "bin"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


async def _object(request: Request, needed: set[str]) -> tuple[dict[str, Any], Response | None]:
    try:
        given = json.loads(await request.body())
    except ValueError:
        return {}, _error(400, "the body is not JSON")
    if not isinstance(given, dict) or not all(given.get(name) for name in needed):
        return {}, _error(400, f"an object with {', '.join(sorted(needed))} is needed")
    return given, None


def _download(body: bytes, content_type: str | None) -> Response:
    """Foreign bytes: never shown by a browser, whatever they are."""
    headers = {**SAFE_HEADERS, "Content-Disposition": 'attachment; filename="mm7.bin"'}
    if content_type is not None:
        headers["X-MM7-Content-Type"] = re.sub(r"[^\x20-\x7e]+", " ", content_type)
    return Response(body, media_type="application/octet-stream", headers=headers)


def _error(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=status, headers=SAFE_HEADERS)


def _is_visit(request: Request) -> bool:
    """Somebody followed a link: the page that has the link sees nothing of what it leads to."""
    return request.method == "GET" and request.headers.get("sec-fetch-dest") == "document"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
