from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from airflow_provider_mm7.protocol.times import format_datetime, format_duration, parse_datetime, parse_duration
from tests.support.messages import datetimes, durations


def at(*when: int, hours: int = 0, minutes: int = 0) -> datetime:
    return datetime(*when, tzinfo=timezone(timedelta(hours=hours, minutes=minutes)))  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-02T09:30:47-05:00", at(2020, 1, 2, 9, 30, 47, hours=-5)),
        ("2014-04-14T16:15:23.414Z", at(2014, 4, 14, 16, 15, 23, 414000)),
        ("2014-04-14t16:15:23,4141592653z", at(2014, 4, 14, 16, 15, 23, 414159)),
        (" 2014-04-14 16:15:23 \n", at(2014, 4, 14, 16, 15, 23)),
        ("2014-04-14 16:15:23 +0530", at(2014, 4, 14, 16, 15, 23, hours=5, minutes=30)),
        ("2014-04-14T16:15:23+2", at(2014, 4, 14, 16, 15, 23, hours=2)),
        ("2014-4-4T6:5:3", at(2014, 4, 4, 6, 5, 3)),
        ("2014-04-14T16:15Z", at(2014, 4, 14, 16, 15)),
        ("2014-04-14", at(2014, 4, 14)),
        ("2016-12-31T23:59:60Z", at(2016, 12, 31, 23, 59, 59)),
        ("2014-02-28T24:00:00+13:00", at(2014, 3, 1, hours=13)),
        ("2014-02-28T24:00Z", at(2014, 3, 1)),
        ("2014-02-28T24:00:00.1Z", None),
        ("2014-02-28T24:01:00Z", None),
        ("9999-12-31T24:00:00Z", None),
        ("2014-02-30T00:00:00Z", None),
        ("2014-02-03T00:00:61Z", None),
        ("2014-02-03T25:00:00Z", None),
        ("2014-02-03T00:00:00+99:00", None),
        ("0000-01-01T00:00:00Z", None),
        # Their UTC lies outside the calendar.
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-15:00", None),
        ("14.04.2014 16:15", None),
        ("20140414T161523Z", None),
        ("", None),
        ("2014-04-14T16:15:23Z and more", None),
    ],
)
def test_points_in_time_are_read_as_peers_write_them(text: str, expected: datetime | None) -> None:
    found = parse_datetime(text)
    assert found == expected
    assert found is None or found.utcoffset() is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (at(2020, 1, 2, 9, 30, 47, hours=-5), "2020-01-02T09:30:47-05:00"),
        (datetime(2014, 4, 14, 16, 15, 23, 414000, tzinfo=UTC), "2014-04-14T16:15:23.414Z"),
        (at(2014, 4, 14, 16, 15, 23, 414001, hours=5, minutes=30), "2014-04-14T16:15:23.414001+05:30"),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=7))), "2019-12-31T22:59:53Z"),
        (at(2020, 1, 1, hours=15), "2019-12-31T09:00:00Z"),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), "2019-12-31T23:59:59.999999Z"),
        (at(33, 1, 1), "0033-01-01T00:00:00Z"),
    ],
)
def test_points_in_time_are_written_by_rfc_3339(value: datetime, expected: str) -> None:
    assert format_datetime(value) == expected
    assert parse_datetime(expected) == value


@given(datetimes)
def test_points_in_time_survive(value: datetime) -> None:
    read = parse_datetime(format_datetime(value))
    assert read == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P2D", timedelta(days=2)),
        (" PT36H ", timedelta(hours=36)),
        ("P1Y2M3W4DT5H6M7.5S", timedelta(days=365 + 60 + 4, weeks=3, hours=5, minutes=6, seconds=7.5)),
        ("PT0.0000019S", timedelta(microseconds=1)),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("2D", None),
        ("-P1D", None),
        ("P999999999W", None),
        ("P9999999999D", None),
    ],
)
def test_durations_are_read(text: str, expected: timedelta | None) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (timedelta(), "PT0S"),
        (timedelta(days=2), "P2D"),
        (timedelta(days=1, hours=2, minutes=30), "P1DT2H30M"),
        (timedelta(seconds=61), "PT1M1S"),
        (timedelta(microseconds=1500), "PT0.0015S"),
    ],
)
def test_durations_are_written(value: timedelta, expected: str) -> None:
    assert format_duration(value) == expected


@given(durations)
def test_durations_survive(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value
