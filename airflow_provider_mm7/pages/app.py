"""The pages as an ASGI application: who looks, which page, and what goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mm7.exceptions import StoreError, StoreNotMigrated
from airflow_provider_mm7.pages.access import Access, Forbidden, NotLoggedIn, Viewer
from airflow_provider_mm7.pages.render import ICONS, SAFE_HEADERS, STYLE, Place, page

if TYPE_CHECKING:
    from airflow_provider_mm7.media import MediaSource
    from airflow_provider_mm7.store import Batch, Store

log = logging.getLogger(__name__)

#: Views worked on at one time, beside the API server's own threads; more wait.
_THREADS: Final = 4

#: Path below Airflow under which the plugin mounts the pages.
MOUNTED: Final = "/mm7/ui"


class NotFound(Exception):
    """There is no such page, batch or message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request, as a view sees it.

    :ivar media: reads what was sent and what came in, by URI.
    """

    viewer: Viewer
    store: Store
    media: MediaSource
    place: Place
    path: dict[str, Any]
    query: dict[str, str]

    def page(self, template: str, **values: Any) -> Response:
        """Render a page."""
        return page(template, self.place, **values)


View = Callable[[Ask], Response]


def find_batch(ask: Ask, batch_id: str) -> Batch:
    """Return a batch.

    :raises NotFound: it is not there.
    :raises Forbidden: its DAG is not for this user.
    """
    batch = ask.store.find_batch(batch_id)
    if batch is None:
        raise NotFound
    if not readable(ask, batch):
        raise Forbidden
    return batch


def readable(ask: Ask, batch: Batch) -> bool:
    """Tell whether the user may see a batch."""
    dag_id = batch.origin.dag_id
    return dag_id is None or dag_id in ask.viewer.readable([dag_id])


def sees_numbers(ask: Ask, batch: Batch) -> bool:
    """Tell whether the user may see the whole numbers of a batch, and what its messages consist of."""
    return ask.viewer.sees_numbers(dag_id=batch.origin.dag_id, conn_id=batch.conn_id)


def row_id(text: str | None) -> int | None:
    """Read the id of a row from an address.

    :raises NotFound: it is none.
    """
    if not text:
        return None
    # Ids have 64 bits; a database would say so less kindly.
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound
    return int(text)


class Pages:
    """Serves views.

    :param access: who looks.
    :param store: opens (or returns) the store; called in threads only.
    :param media: returns where media are read from; called in threads only.
    """

    def __init__(self, *, access: Access, store: Callable[[], Store], media: Callable[[], MediaSource]) -> None:
        self._access = access
        self._store = store
        self._media = media
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mm7-page")

    def endpoint(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what the router calls for a view."""

        async def serve(request: Request) -> Response:
            place = place_of(request)
            try:
                viewer = await self._access.viewer(request)
                work = partial(self._work, view, viewer, place, request)
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
            except NotLoggedIn:
                return _problem(place, HTTPStatus.UNAUTHORIZED)
            except Forbidden:
                return _problem(place, HTTPStatus.FORBIDDEN)
            except NotFound:
                return _problem(place, HTTPStatus.NOT_FOUND)
            except StoreNotMigrated as exc:
                return _problem(place, HTTPStatus.SERVICE_UNAVAILABLE, str(exc))
            except StoreError as exc:
                log.warning("page: %s", exc)
                return _problem(place, HTTPStatus.SERVICE_UNAVAILABLE, "The store cannot be read now.")
            except Exception as exc:
                # A text could quote a message.
                log.error("page %s: %s", request.url.path, type(exc).__name__)  # noqa: TRY400
                return _problem(place, HTTPStatus.INTERNAL_SERVER_ERROR)

        return serve

    def _work(self, view: View, viewer: Viewer, place: Place, request: Request) -> Response:
        return view(
            Ask(
                viewer=viewer,
                store=self._store(),
                media=self._media(),
                place=place,
                path=dict(request.path_params),
                query=dict(request.query_params),
            )
        )


def create_pages(*, access: Access, store: Callable[[], Store], media: Callable[[], MediaSource]) -> Starlette:
    """Return the pages as an ASGI application, to be mounted.

    :param access: who looks.
    :param store: opens (or returns) the store; called in threads only, again and again.
    :param media: returns where media are read from; called in threads only.
    """
    from airflow_provider_mm7.pages import batches, inbound, messages, opt_outs, sent

    pages = Pages(access=access, store=store, media=media)
    views: dict[str, View] = {
        "/": batches.glance,
        "/batches": batches.listed,
        "/batches/{batch_id}": messages.of_batch,
        "/batches/{batch_id}/messages/{id:int}": messages.one,
        "/batches/{batch_id}/contents/{number:int}/parts/{index:int}": sent.part,
        "/inbound": inbound.listed,
        "/inbound/{id:int}": inbound.one,
        "/inbound/{id:int}/parts/{index:int}": inbound.part,
        "/opt-outs": opt_outs.listed,
        "/find": messages.find,
    }
    routes = [Route(path, pages.endpoint(view), methods=["GET"]) for path, view in views.items()]
    routes.append(Route("/page.css", _style, methods=["GET"]))
    routes += [Route(f"/{name}", _icon, methods=["GET"]) for name in ICONS]
    routes.append(Route("/{rest:path}", pages.endpoint(_nothing), methods=["GET"]))
    return Starlette(routes=routes)


def place_of(request: Request) -> Place:
    """Return where the pages are, behind whatever prefix a proxy or ``[api] base_url`` adds."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    # Browsers tell what they load a page into; where one does not, Airflow's own links are there twice.
    framed = request.headers.get("sec-fetch-dest") == "iframe"
    return Place(root=root, airflow=root.removesuffix(MOUNTED), framed=framed)


async def _style(_: Request) -> Response:
    headers = {**SAFE_HEADERS, "Cache-Control": "public, max-age=86400"}
    return Response(STYLE, media_type="text/css", headers=headers)


async def _icon(request: Request) -> Response:
    headers = {**SAFE_HEADERS, "Cache-Control": "public, max-age=86400"}
    return Response(ICONS[request.url.path.rpartition("/")[2]], media_type="image/svg+xml", headers=headers)


def _nothing(_: Ask) -> Response:
    raise NotFound


_WORDS: Final = {
    HTTPStatus.UNAUTHORIZED: ("Not logged in", "Log in to Airflow, then open this page again."),
    HTTPStatus.FORBIDDEN: ("Not allowed", "Your Airflow permissions do not cover this page."),
    HTTPStatus.NOT_FOUND: ("Not there", "There is no such page, batch or message; it may have been pruned."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Not now", ""),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("An error", "This page could not be made. The API server's log says more."),
}


def _problem(place: Place, status: HTTPStatus, text: str | None = None) -> Response:
    title, words = _WORDS[status]
    return page("problem.html", place, status=status, title=title, text=text or words, log_in=status == 401)
