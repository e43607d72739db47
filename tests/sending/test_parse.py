"""Lists and times as templates render them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.sending import parse_list, parse_texts, parse_when


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (None, ()),
        ("", ()),
        ("+64211234567", ("+64211234567",)),
        ("+64 21 123 4567", ("+64 21 123 4567",)),
        ("+64211234567, +64211234568;\n+64211234569,", ("+64211234567", "+64211234568", "+64211234569")),
        (["+64211234567", " 64211234568 "], ("+64211234567", "64211234568")),
        ('["+64211234567", "64211234568"]', ("+64211234567", "64211234568")),
        ("['+64211234567', '64211234568']", ("+64211234567", "64211234568")),
        ("[]", ()),
        ((item for item in ["a", "b"]), ("a", "b")),
    ],
)
def test_lists(value: object, items: tuple[str, ...]) -> None:
    assert parse_list(value, field="to") == items


@pytest.mark.parametrize("value", [64211234567, [64211234567], "[64211234567]"])
def test_integers_are_numbers_where_numbers_are_asked_for(value: object) -> None:
    assert parse_list(value, field="to", integers=True) == ("64211234567",)


@pytest.mark.parametrize("value", [True, [True], 64211234567.0, [None]])
def test_what_is_no_integer_is_no_number_either(value: object) -> None:
    with pytest.raises(InputError, match=r"^to(\[0\])?: is of type"):
        parse_list(value, field="to", integers=True)


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, ()),
        ("one, [two]", ("one, [two]",)),
        ("", ("",)),
        (["one", "two"], ("one", "two")),
        (20260102, ("20260102",)),
        (["one", 0], ("one", "0")),
    ],
)
def test_texts(value: object, texts: tuple[str, ...]) -> None:
    assert parse_texts(value, field="text") == texts


@pytest.mark.parametrize("value", [12.5, [12.5], True, ["one", None], {"one": "two"}, b"one", object()])
def test_what_is_no_text_is_named(value: object) -> None:
    with pytest.raises(InputError, match=r"^text(\[[01]\])?: is of type "):
        parse_texts(value, field="text")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("[broken", "to"),
        (64211234567, "to"),
        (["+64211234567", 64211234568], r"to\[1\]"),
        ("[64211234567]", r"to\[0\]"),
        ({"a": 1}, "to"),
        (b"+64211234567", "to"),
    ],
)
def test_what_is_no_list_is_named(value: object, field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}: ") as caught:
        parse_list(value, field="to")
    assert "64211234567" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("2020-01-20T09:30:47-05:00", datetime(2020, 1, 20, 14, 30, 47, tzinfo=UTC)),
        ("2020-01-20T09:30:47Z", datetime(2020, 1, 20, 9, 30, 47, tzinfo=UTC)),
        ("P2D", timedelta(days=2)),
        ("P1W", timedelta(weeks=1)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT6H", timedelta(hours=6)),
        (timedelta(days=2), timedelta(days=2)),
        (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_times(value: object, expected: object) -> None:
    assert parse_when(value, field="expiry") == expected


@pytest.mark.parametrize(
    "value",
    ["tomorrow", "2020-01-20T09:30:47", datetime(2020, 1, 1), "P", "PT", "P1Y", timedelta(0), "P0D", 3600],  # noqa: DTZ001
)
def test_what_is_no_time_is_named(value: object) -> None:
    with pytest.raises(InputError, match=r"^expiry: .*RFC 3339"):
        parse_when(value, field="expiry")
