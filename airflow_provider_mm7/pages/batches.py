"""Batches summed up, and batches listed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.responses import RedirectResponse, Response

from airflow_provider_mm7.pages.access import Forbidden
from airflow_provider_mm7.pages.app import Ask, NotFound
from airflow_provider_mm7.pages.causes import causes_of
from airflow_provider_mm7.pages.chart import Chart, draw, spans
from airflow_provider_mm7.pages.render import SAFE_HEADERS
from airflow_provider_mm7.pages.tally import Tally
from airflow_provider_mm7.store import Batch
from airflow_provider_mm7.store.overview import MOST_BATCHES, Which

#: Name of a period -> its length; the last one has none.
PERIODS: Final[dict[str, timedelta | None]] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
PERIOD_WORDS: Final = {"1h": "last hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "all": "all time"}

#: Batches below the chart, and batches of a page.
_NEWEST: Final = 10
PAGE: Final = 50


def glance(ask: Ask) -> Response:
    """What was sent and what became of it."""
    which = which_of(ask)
    if which.run_id is not None:
        only = ask.store.batch_page(which, limit=2).items
        if len(only) == 1:
            # A tab of a run or task instance that sent one batch is that batch.
            where = ask.place.link("batches", only[0].batch.batch_id)
            return RedirectResponse(where, status_code=302, headers=dict(SAFE_HEADERS))
    now = datetime.now(UTC)
    newest = ask.store.newest_batch(which)
    period = ask.query.get("within") or _fitting(newest, now, whole=which.run_id is not None)
    if period not in PERIODS:
        raise NotFound
    length = PERIODS[period]
    since = now - length if length else None
    ends = None if since is None else (_minute(since), _minute(now))
    seen = ask.store.glance(replace(which, since=since), spans=lambda *news: spans(*(ends or news)))
    chart: Chart | None = draw(seen.news, width=seen.width, ends=ends)
    counts = Tally.of(seen.counts)
    return ask.page(
        "glance.html",
        which=which,
        period=period,
        periods=PERIOD_WORDS,
        seen=seen,
        most=MOST_BATCHES,
        counts=counts,
        chart=chart,
        causes=causes_of(seen),
        newest=ask.store.batch_page(replace(which, since=since), limit=_NEWEST),
        ever=newest is not None,
    )


def listed(ask: Ask) -> Response:
    """Batches, newest first."""
    which = which_of(ask)
    before, after = (_place(ask.query.get(name)) for name in ("before", "after"))
    page = ask.store.batch_page(which, limit=PAGE, before=before, after=after)
    return ask.page("batches.html", which=which, page=page, place_name=place_name)


def which_of(ask: Ask) -> Which:
    """Return the batches that a request asks for, as far as its user may see them.

    :raises Forbidden: it names a DAG that the user may not read.
    """
    dag_id = ask.query.get("dag_id") or None
    if dag_id is not None:
        if dag_id not in ask.viewer.readable([dag_id]):
            raise Forbidden
        run_id, task_id = (ask.query.get(name) or None for name in ("run_id", "task_id"))
        return Which(dag_id=dag_id, run_id=run_id, task_id=task_id)
    known = ask.store.dag_ids()
    readable = ask.viewer.readable(known)
    return Which(visible=None if readable.issuperset(known) else frozenset(readable))


def place_name(batch: Batch) -> str:
    """Name a batch's place in the list, for an address."""
    return f"{batch.created_at.astimezone(UTC).isoformat()}~{batch.batch_id}"


def _place(name: str | None) -> Batch | None:
    if not name:
        return None
    moment, _, batch_id = name.partition("~")
    try:
        created_at = datetime.fromisoformat(moment)
    except ValueError:
        raise NotFound from None
    if created_at.tzinfo is None:
        raise NotFound
    return Batch(batch_id=batch_id, key="", conn_id="", created_at=created_at)


def _fitting(newest: Batch | None, now: datetime, *, whole: bool) -> str:
    """Choose the shortest period that is not empty, from a day on."""
    if whole:
        return "all"
    for name in ("24h", "7d", "30d"):
        length = PERIODS[name]
        if newest is None or length is None or newest.created_at >= now - length:
            return name
    return "all"


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60
