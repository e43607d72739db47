"""What happened over time, as places in a plain SVG that stretches to any width; labels stand beside it, in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from airflow_provider_mm7.pages.tally import BAD, DOUBT, GOOD, outcome_of
from airflow_provider_mm7.protocol import Outcome
from airflow_provider_mm7.store.counts import ACCEPTED, REFUSED_WITH

#: Points of a chart: bars stay visible on a phone.
MOST_SPANS: Final = 60
#: And fewer look like a wall.
_LEAST_SPANS: Final = 12
#: Units of the drawing; the browser stretches it.
WIDTH: Final = 600
HEIGHT: Final = 150

_DAY: Final = 24 * 60
#: Minutes that a point may cover.
_SPANS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, _DAY, 2 * _DAY, 7 * _DAY, 28 * _DAY)
_TONES = {Outcome.DELIVERED: GOOD, Outcome.FAILED: BAD, Outcome.AMBIGUOUS: DOUBT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What was reported in one span: pieces from the bottom up, as (tone, y, height)."""

    x: float
    width: float
    pieces: tuple[tuple[str, float, float], ...]
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One span in figures."""

    start: str
    accepted: int
    good: int
    doubt: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing.

    :ivar line: points of the acceptances' line, as SVG wants them.
    :ivar top: what the upper edge stands for.
    :ivar ticks: labels below, from left to right.
    :ivar span: what one bar covers, in words.
    :ivar peak: acceptances a minute in the busiest span.
    :ivar average: acceptances a minute in the spans that have any.
    """

    bars: tuple[Bar, ...]
    line: str
    top: int
    ticks: tuple[str, ...]
    span: str
    rows: tuple[Row, ...]
    peak: float
    average: float
    width: int = WIDTH
    height: int = HEIGHT


def spans(first: int, last: int) -> int:
    """Choose how many minutes a point covers.

    :param first: minute of Unix time.
    :param last: minute of Unix time.
    """
    for width in _SPANS:
        if last // width - first // width < MOST_SPANS:
            return width
    return -(-(last - first + 1) // MOST_SPANS // _DAY) * _DAY or _SPANS[-1]


def draw(news: Iterable[tuple[int, str, int]], *, width: int, ends: tuple[int, int] | None = None) -> Chart | None:
    """Draw a chart.

    :param news: (minute, what, count) as the store sums them up.
    :param width: minutes of a span.
    :param ends: minutes of Unix time from and to which the chart goes; None: from the first news to the last.
    :return: None when there is no news.
    """
    figures: dict[int, dict[str, int]] = {}
    for minute, what, n in news:
        if n > 0 and (series := _series(what)):
            row = figures.setdefault(minute, {})
            row[series] = row.get(series, 0) + n
    if not figures:
        return None
    moments = [*figures, *((end - end % width) for end in ends or ())]
    start, end = min(moments), max(moments)
    minutes = range(start, max(end, start + (_LEAST_SPANS - 1) * width) + width, width)
    empty: dict[str, int] = {}
    rows = [figures.get(minute, empty) for minute in minutes]
    top = _round_up(max(max(row.get(ACCEPTED, 0), _reported(row)) for row in rows))
    step = WIDTH / len(rows)
    table = [
        Row(
            start=_moment(minute, end - start),
            accepted=row.get(ACCEPTED, 0),
            good=row.get(GOOD, 0),
            doubt=row.get(DOUBT, 0),
            bad=row.get(BAD, 0),
        )
        for minute, row in zip(minutes, rows, strict=True)
    ]
    sent = [row.accepted for row in table]
    return Chart(
        bars=tuple(_bar(row, place * step, step, top) for place, row in enumerate(table)),
        line=_line(sent, step, top),
        top=top,
        ticks=_ticks(minutes),
        span=_words(width),
        rows=tuple(row for row in table if row.accepted or row.good or row.doubt or row.bad),
        peak=max(sent) / width,
        average=_average(sent) / width,
    )


def _series(what: str) -> str | None:
    if what == ACCEPTED:
        return ACCEPTED
    if what.startswith(REFUSED_WITH):
        return BAD
    outcome = outcome_of(what)
    return None if outcome is None else _TONES.get(outcome)


def _reported(row: dict[str, int]) -> int:
    return sum(row.get(tone, 0) for tone in (GOOD, DOUBT, BAD))


def _bar(row: Row, x: float, step: float, top: int) -> Bar:
    pieces, y = [], float(HEIGHT)
    for tone, n in ((GOOD, row.good), (DOUBT, row.doubt), (BAD, row.bad)):
        if n:
            # What is there is seen, however little it is.
            height = max(HEIGHT * n / top, 1.5)
            y -= height
            pieces.append((tone, round(y, 2), round(height, 2)))
    title = f"{row.start}: {row.accepted:,} accepted, {row.good:,} delivered, {row.bad:,} failed or refused"
    if row.doubt:
        title += f", {row.doubt:,} ambiguous"
    return Bar(x=round(x + step * 0.12, 2), width=round(step * 0.76, 2), pieces=tuple(pieces), title=title)


def _line(sent: Sequence[int], step: float, top: int) -> str:
    points = []
    for place, n in enumerate(sent):
        y = round(HEIGHT - HEIGHT * n / top, 2)
        points += [f"{round(place * step, 2)},{y}", f"{round((place + 1) * step, 2)},{y}"]
    return " ".join(points)


def _average(sent: Sequence[int]) -> float:
    busy = [n for n in sent if n]
    return sum(busy) / len(busy) if busy else 0.0


def _round_up(n: int) -> int:
    """Return a round number that is not smaller."""
    size: int = 10 ** (len(str(n)) - 1)
    return next(factor * size // 2 for factor in range(2, 21) if factor * size // 2 >= n)


def _ticks(minutes: range) -> tuple[str, ...]:
    length = minutes[-1] - minutes[0]
    places = sorted({len(minutes) * part // 4 for part in range(4)}) if len(minutes) > 3 else range(len(minutes))
    return tuple(_moment(minutes[place], length) for place in places)


def _moment(minute: int, length: int) -> str:
    moment = datetime.fromtimestamp(minute * 60, UTC)
    if length < _DAY:
        return f"{moment:%H:%M}"
    return f"{moment:%d %b %H:%M}" if length < 8 * _DAY else f"{moment:%d %b %Y}"


def _words(minutes: int) -> str:
    for size, word in ((7 * _DAY, "week"), (_DAY, "day"), (60, "hour")):
        if minutes % size == 0:
            count = minutes // size
            return word if count == 1 else f"{count} {word}s"
    return "minute" if minutes == 1 else f"{minutes} minutes"
