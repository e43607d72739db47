"""Points in time and durations, as RFC 3339 and XML Schema spell them and as peers do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

#: RFC 3339, and what peers make of it: unpadded, a space for the T, a comma, no seconds, no zone, no time at all.
_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt ]\s*([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]{1,12}))?)?)?"
    r"\s*(?:([Zz])|([+-])([0-9]{1,2}):?([0-9]{2})?)?"
)
#: ISO 8601 duration, as xs:duration has it; every number bounded.
_DURATION = re.compile(
    r"P(?=.)(?:([0-9]{1,6})Y)?(?:([0-9]{1,6})M)?(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?"
    r"(?:T(?=.)(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,12})(?:\.([0-9]{1,12}))?S)?)?"
)
#: xs:dateTime allows zones up to 14 hours, in whole minutes.
_MAX_ZONE = timedelta(hours=14)


def parse_datetime(text: str) -> datetime | None:
    """Read a point in time.

    :param text: RFC 3339 or near it. Without a zone it is read as UTC; digits below microseconds are dropped.
    :return: an aware datetime, or None when it is none.
    """
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, zone_hours, zone_minutes = match.groups()
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    # xs:dateTime writes the end of a day as 24:00:00.
    end_of_day = hour == "24" and not int((minute or "") + (second or "") + (fraction or ""))
    try:
        value = datetime(
            int(year),
            int(month),
            int(day),
            0 if end_of_day else int(hour or 0),
            int(minute or 0),
            # A leap second has no datetime; it counts as the last second before it.
            min(int(second or 0), 59) if second in (None, "60") else int(second),
            int((fraction or "")[:6].ljust(6, "0")),
            tzinfo=timezone(-offset if sign == "-" else offset) if offset else UTC,
        ) + timedelta(days=end_of_day)
        # Whoever compares or stores it turns it into UTC, which must lie within the calendar.
        value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return value


def format_datetime(value: datetime) -> str:
    """Write an aware datetime by RFC 3339: ``2020-01-02T09:30:47-05:00``, ``2014-04-14T16:15:23.414Z``.

    :raises OverflowError: its zone cannot be written, and its UTC lies outside the calendar.
    """
    offset = value.utcoffset() or timedelta()
    if offset.seconds % 60 or offset.microseconds or abs(offset) > _MAX_ZONE:
        value, offset = value.astimezone(UTC), timedelta()
    if value.microsecond % 1000:
        text = value.isoformat(timespec="microseconds")
    else:
        text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    return text if offset else text.removesuffix("+00:00") + "Z"


def parse_duration(text: str) -> timedelta | None:
    """Read a duration; a year counts 365 days, a month 30.

    :param text: ``P2D``, ``PT36H``.
    :return: the duration, or None when it is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    years, months, weeks, days, hours, minutes, seconds = (int(group or 0) for group in match.groups()[:7])
    try:
        return timedelta(
            days=365 * years + 30 * months + days,
            weeks=weeks,
            hours=hours,
            minutes=minutes,
            seconds=seconds,
            microseconds=int((match[8] or "")[:6].ljust(6, "0")),
        )
    except OverflowError:
        return None


def format_duration(value: timedelta) -> str:
    """Write a duration that is not negative: ``P2D``, ``P1DT2H30M``, ``PT0S``."""
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    date = f"{value.days}D" if value.days else ""
    time = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes)
    if value.microseconds:
        time += f"{seconds}.{value.microseconds:06}".rstrip("0") + "S"
    elif seconds or not (date or time):
        time += f"{seconds}S"
    return f"P{date}T{time}" if time else f"P{date}"
