"""Who wants no messages."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from airflow_provider_mm7.pages.access import Forbidden
from airflow_provider_mm7.pages.app import Ask, NotFound, row_id
from airflow_provider_mm7.store.consent import OptOut
from airflow_provider_mm7.store.overview import Page

#: Numbers of a page.
PAGE: Final = 100

_CONNECTION: Final = "conn:"


def listed(ask: Ask) -> Response:
    """Who opted out and who came back, the last change first."""
    scopes = ask.store.opt_out_scopes()
    scope = ask.query.get("scope") or (scopes[0] if scopes else "")
    if scopes and scope not in scopes:
        raise NotFound
    number = ask.query.get("number", "").strip() or None
    if number is not None:
        if not _sees(ask, scope, None):
            raise Forbidden
        found = ask.store.find_opt_out(scope, number)
        page = Page(items=() if found is None else (found,))
    else:
        before, after = (row_id(ask.query.get(name)) for name in ("before", "after"))
        page = ask.store.opt_out_page(scope, limit=PAGE, before_no=before, after_no=after)
    return ask.page(
        "opt_outs.html",
        scopes={one: _words(one) for one in scopes},
        scope=scope,
        number=number,
        page=page,
        sees=[_sees(ask, scope, one) for one in page.items],
        searches=bool(scopes) and _sees(ask, scope, None),
    )


def _words(scope: str) -> str:
    kind, _, name = scope.partition(":")
    return f"connection {name}" if kind == "conn" else f"short code {name}"


def _sees(ask: Ask, scope: str, one: OptOut | None) -> bool:
    """Numbers are for those who may read the connection: the scope's, or the one on which the number's owner wrote."""
    conn_id = scope.removeprefix(_CONNECTION) if scope.startswith(_CONNECTION) else (one.conn_id if one else None)
    return ask.viewer.sees_numbers(dag_id=None, conn_id=conn_id or "")
