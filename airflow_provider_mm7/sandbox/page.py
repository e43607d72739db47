"""``/``: the phones side by side. Foreign content is text, pictures, sound and films, never markup."""

from __future__ import annotations

import secrets
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_provider_mm7.sandbox.callbacks import CallbackQueue, split_credentials
from airflow_provider_mm7.sandbox.control import SAFE_HEADERS, Guard, guarded
from airflow_provider_mm7.sandbox.phones import MAX_PHONES, MAX_TEXT, Phones
from airflow_provider_mm7.sandbox.record import RecordBook
from airflow_provider_mm7.sandbox.settings import Settings
from airflow_provider_mm7.sandbox.slides import SHOWABLE

#: What a person may have reported of a message: MMStatus of a delivery report (TS 23.140 clause 8.7.4.2; the second
#: line is Rel-6), and of a read reply (clause 8.7.5.2).
DELIVERY_STATUSES = (
    *("Retrieved", "Expired", "Rejected", "Deferred", "Indeterminate", "Forwarded"),
    *("Delivered", "Unrecognised", "DeliveryConditionNotMet", "Processing", "Cancelled", "Replaced"),
)
READ_STATUSES = ("Read", "Deleted")

#: The page's own files, and how they are served.
_FILES = {"phones.css": "text/css", "phones.js": "text/javascript", "icon.svg": "image/svg+xml"}
#: Scripts and styles are files of ours; what is served besides them is never of a type that could be either.
_PAGE_HEADERS = {
    **SAFE_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
}


class Page:
    """The handset page, the files that it needs, and the media on it.

    :param settings: what the page says about the sandbox.
    :param book: the messages.
    :param callbacks: the reports about them, and what phones wrote.
    """

    def __init__(self, settings: Settings, *, book: RecordBook, callbacks: CallbackQueue) -> None:
        self._settings = settings
        self._book = book
        self._callbacks = callbacks
        self._phones = Phones(book=book, callbacks=callbacks)
        # A page that was loaded from an earlier sandbox on this port must not take itself for a page of this one.
        self._life = secrets.token_hex(4)

    def routes(self, guard: Guard) -> list[Route]:
        """Routes, each behind the guard; ``/`` itself is not among them, since MM7 clients may post to it."""
        table = (
            ("/_sandbox/static/{name}", self.file),
            ("/_sandbox/messages/{seq:int}/media/{index:int}", self.media),
            ("/_sandbox/reports/{seq:int}/media/{index:int}", self.written_media),
        )
        return [Route(path, guarded(guard, endpoint), methods=["GET"]) for path, endpoint in table]

    async def show(self, request: Request) -> Response:
        """The page; 304 while nothing has changed since the page that asks."""
        wanted = [one for one in request.query_params.getlist("phone") if one.strip()][:MAX_PHONES]
        version = f'"{self._life}-{self._book.changes}-{self._callbacks.changes}"'
        headers = {**_PAGE_HEADERS, "ETag": version}
        if request.headers.get("if-none-match") == version:
            return Response(status_code=304, headers=headers)
        html = _template().render(
            phones=self._phones.shown(wanted),
            strays=self._phones.strays(),
            counts=self._book.counts(),
            phone_count=self._book.phone_count(),
            callback=_callback(self._settings) if self._callbacks.enabled else None,
            version=version,
            max_text=MAX_TEXT,
            delivery_statuses=DELIVERY_STATUSES,
            read_statuses=READ_STATUSES,
        )
        return HTMLResponse(html, headers=headers)

    async def file(self, request: Request) -> Response:
        """A style sheet or script of ours."""
        name = request.path_params["name"]
        if name not in _FILES:
            return _absent()
        return Response(_file(name), media_type=_FILES[name], headers=SAFE_HEADERS)

    async def media(self, request: Request) -> Response:
        """A picture, sound or film of a message; only types that cannot run anything."""
        record = self._book.find(request.path_params["seq"])
        index = request.path_params["index"]
        leaf = record.leaves[index] if record and index < len(record.leaves) else None
        if leaf is None or leaf.body is None:
            return _absent()
        return _medium(leaf.media_type, leaf.body)

    async def written_media(self, request: Request) -> Response:
        """A picture, sound or film that a phone wrote, on the same terms."""
        medium = self._callbacks.medium(request.path_params["seq"], request.path_params["index"])
        if medium is None:
            return _absent()
        return _medium(medium.content_type.partition(";")[0].strip().lower(), medium.body)


def _medium(media_type: str, body: bytes) -> Response:
    shown_as = SHOWABLE.get(media_type)
    return _absent() if shown_as is None else Response(body, media_type=shown_as, headers=SAFE_HEADERS)


def _absent() -> Response:
    return Response("no such picture\n", status_code=404, media_type="text/plain", headers=SAFE_HEADERS)


def _callback(settings: Settings) -> str:
    """Where callbacks go, for people: without credentials and without a query, which may hold some."""
    parts = urlsplit(split_credentials(settings)[0])
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


@cache
def _file(name: str) -> bytes:
    return (resources.files(__package__) / "static" / name).read_bytes()


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader(str(__package__), "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kilobytes"] = _kilobytes
    environment.tests["instance"] = _is_a
    return environment.get_template("phones.html")


def _kilobytes(size: int) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1000:.0f} kB"


def _is_a(value: object, name: str) -> bool:
    return type(value).__name__ == name
