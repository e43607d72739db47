"""The messages of a batch, and one message with its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.responses import RedirectResponse, Response

from airflow_provider_mm7.pages.access import Forbidden
from airflow_provider_mm7.pages.app import Ask, NotFound, find_batch, readable, row_id, sees_numbers
from airflow_provider_mm7.pages.causes import causes_of
from airflow_provider_mm7.pages.chart import draw, spans
from airflow_provider_mm7.pages.render import SAFE_HEADERS
from airflow_provider_mm7.pages.sent import show
from airflow_provider_mm7.pages.tally import BAD, DOUBT, GOOD, QUIET, WAITS, Tally, label_of, outcome_of, tone_of
from airflow_provider_mm7.protocol import Outcome, mask
from airflow_provider_mm7.store import Batch, Report, ReportKind, State
from airflow_provider_mm7.store.overview import Counts, Message, Wanted

#: Messages of a page.
PAGE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """A filter that a page offers.

    :ivar name: in its address.
    """

    name: str
    text: str
    tone: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a message.

    :ivar at: when, as whoever did it says.
    :ivar heard_at: when it was stored, where that is another time.
    :ivar notes: names and values, for people.
    """

    at: datetime
    text: str
    tone: str
    heard_at: datetime | None = None
    notes: tuple[tuple[str, str], ...] = ()


def of_batch(ask: Ask) -> Response:
    """A batch at a glance, and its messages."""
    batch = find_batch(ask, str(ask.path["batch_id"]))
    seen = ask.store.batch_glance(batch.batch_id, spans=spans)
    shows = _shows(seen.counts)
    sees = sees_numbers(ask, batch)
    wanted = _wanted(ask, seen.counts, sees=sees)
    before, after = (row_id(ask.query.get(name)) for name in ("before", "after"))
    page = ask.store.message_page(batch.batch_id, wanted, limit=PAGE, before_id=before, after_id=after)
    content, differ = ask.store.only_content(batch.batch_id)
    kept = {name: ask.query.get(name) or None for name in ("show", "status", "code", "number")}
    return ask.page(
        "batch.html",
        batch=batch,
        counts=Tally.of(seen.counts),
        chart=draw(seen.news, width=seen.width),
        causes=causes_of(seen),
        shows=shows,
        kept=kept,
        content=show(ask, batch, content) if content is not None and sees else None,
        differ=differ,
        page=page,
        sees=sees,
    )


def one(ask: Ask) -> Response:
    """One message: what it consists of, its envelope, and its history."""
    batch = find_batch(ask, str(ask.path["batch_id"]))
    message = ask.store.message(batch.batch_id, int(ask.path["id"]))
    if message is None:
        raise NotFound
    item = message.submission
    reports = ask.store.report_history(item.message_id, item.recipient) if item.message_id else []
    sees = sees_numbers(ask, batch)
    content = ask.store.content_of(item)
    return ask.page(
        "message.html",
        batch=batch,
        message=message,
        item=item,
        label=label_of(item),
        events=history(batch, message, reports, sees=sees),
        content=show(ask, batch, content) if content is not None and sees else None,
        recorded=content is not None,
        sees=sees,
    )


def find(ask: Ask) -> Response:
    """Go to what a batch id or a MessageID names."""
    words = ask.query.get("q", "").strip()
    batch = ask.store.find_batch(words) if words else None
    if batch is not None and readable(ask, batch):
        return _redirect(ask.place.link("batches", batch.batch_id))
    found = [
        (owner, message)
        for message in (ask.store.messages_named(words) if words else [])
        if (owner := ask.store.find_batch(message.submission.batch_id)) is not None and readable(ask, owner)
    ]
    if len(found) == 1:
        item = found[0][1].submission
        return _redirect(ask.place.link("batches", item.batch_id, "messages", item.id))
    return ask.page("found.html", words=words, found=[(message, sees_numbers(ask, owner)) for owner, message in found])


def history(batch: Batch, message: Message, reports: list[Report], *, sees: bool) -> list[Event]:
    """Return what happened to a message, in order.

    :param reports: every distinct one that came.
    :param sees: whether whole numbers may be shown.
    """
    item = message.submission
    events = [Event(at=batch.created_at, text="Batch made", tone=QUIET)]
    if item.state is not State.PLANNED or item.attempts:
        words = {
            State.ACCEPTED: ("Accepted by the MMSC", GOOD),
            State.REFUSED: ("Refused by the MMSC", BAD),
            State.UNKNOWN: ("Sent, and no answer came", DOUBT),
            State.SUPPRESSED: ("Not sent: suppressed", QUIET),
            State.SENDING: ("Being sent", WAITS),
            State.RETRY: ("Not taken; it will be tried again", WAITS),
            State.PLANNED: ("Given back, to be sent again", QUIET),
        }
        text, tone = words[item.state]
        notes = [("Status", f"{item.status_code} {item.status_text or ''}".strip())] if item.status_code else []
        if item.attempts > 1:
            notes.append(("Attempts", str(item.attempts)))
        events.append(Event(at=message.updated_at, text=text, tone=tone, notes=tuple(notes)))
    events += [_reported(report, sees=sees) for report in reports]
    # A handset's clock, or an MMSC's, may be before ours: our own two stay first.
    return events[:2] + sorted(events[2:], key=lambda one: one.at)


def _reported(report: Report, *, sees: bool) -> Event:
    what = "Delivery report" if report.kind is ReportKind.DELIVERY else "Read reply"
    notes = []
    if report.mm_status_raw and report.mm_status_raw != report.mm_status:
        notes.append(("As the MMSC wrote it", report.mm_status_raw))
    for name, value in (("Extension", report.mm_status_extension), ("Text", report.status_text)):
        if value:
            notes.append((name, value))
    if report.sender:
        notes.append(("Sender", report.sender if sees else mask(report.sender)))
    return Event(
        at=report.date or report.received_at,
        text=f"{what}: {report.mm_status}",
        tone=tone_of(report.mm_status),
        heard_at=report.received_at,
        notes=tuple(notes),
    )


def _shows(counts: Counts) -> list[Show]:
    """Return the filters that let something through."""
    tally = Tally.of(counts)
    states = dict.fromkeys(State, 0)
    for (state, _), n in counts.items():
        states[State(state)] += n
    offered = [
        Show(name="delivered", text="Delivered", tone=GOOD, n=tally.delivered),
        Show(name="waiting", text="No report yet", tone=WAITS, n=tally.waiting),
        Show(name="ambiguous", text="Ambiguous", tone=DOUBT, n=tally.ambiguous),
        Show(name="failed", text="Failed", tone=BAD, n=tally.failed),
        Show(name="refused", text="Refused", tone=BAD, n=tally.refused),
        Show(name="unknown", text="Unknown", tone=DOUBT, n=tally.unknown),
        Show(name="retry", text="To be tried again", tone=WAITS, n=states[State.RETRY]),
        Show(name="sending", text="Being sent", tone=WAITS, n=states[State.SENDING]),
        Show(name="planned", text="Not sent yet", tone=QUIET, n=states[State.PLANNED]),
        Show(name="suppressed", text="Suppressed", tone=QUIET, n=tally.suppressed),
    ]
    return [show for show in offered if show.n]


_OUTCOMES: Final = {
    "accepted": (*Outcome, None),
    "delivered": (Outcome.DELIVERED,),
    "failed": (Outcome.FAILED,),
    "ambiguous": (Outcome.AMBIGUOUS,),
    "waiting": (Outcome.INTERIM, None),
}


def _wanted(ask: Ask, counts: Counts, *, sees: bool) -> Wanted:
    """Read the filter of a request.

    :raises NotFound: there is no such filter.
    :raises Forbidden: numbers are looked for by who may not see them.
    """
    query = ask.query
    try:
        if query.get("number"):
            if not sees:
                raise Forbidden
            return Wanted(recipient=query["number"].strip())
        if query.get("status"):
            return Wanted(deliveries=(query["status"],))
        if query.get("code"):
            return Wanted(status_code=int(query["code"]))
        show = query.get("show")
        if show in _OUTCOMES:
            known = {delivery for state, delivery in counts if state == State.ACCEPTED}
            return Wanted(deliveries=tuple(sorted(one for one in known if outcome_of(one) in _OUTCOMES[show])))
        return Wanted(state=State(show) if show else None)
    except ValueError:
        raise NotFound from None


def _redirect(where: str) -> Response:
    return RedirectResponse(where, status_code=302, headers=dict(SAFE_HEADERS))
