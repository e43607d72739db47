from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import AddressError
from airflow_provider_mm7.protocol import mask, normalise_number, number_key


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+64211234567", "+6421*****67"),
        ("64211234567", "6421*****67"),
        ("+64 21 123-4567", "+6421*****67"),
        ("+64211234567/TYPE=PLMN@mmsc.example", "+6421*****67"),
        ("+49171234", "*********"),
        ("491712345", "4917***45"),
        ("111122", "******"),
        ("", ""),
        ("call64211234567", "************"),
        ("peter@mail.example", "*****@mail.example"),
        ("@mail.example", "@mail.example"),
        ("tel:+64-21-123-4567", "+6421*****67"),
        ("mailto:peter@mail.example", "*****@mail.example"),
    ],
)
def test_masks(value: str, expected: str) -> None:
    assert mask(value) == expected


@given(st.from_regex(r"\+?[0-9]{1,20}", fullmatch=True))
def test_a_mask_shows_at_most_six_digits_and_hides_three(number: str) -> None:
    shown = re.findall("[0-9]", mask(number))
    assert len(shown) <= 6
    assert not shown or len(re.findall("[0-9]", number)) - len(shown) >= 3


@pytest.mark.parametrize(
    "group",
    [
        ["+64211234567", "64211234567", " +64 21 123 4567 ", "+64-21-1234567/TYPE=PLMN", "tel:+64211234567"],
        ["64211234567", "TEL:+64-(21)-123.4567;ext=9;phone-context=a.example", "tel: 64211234567/TYPE=PLMN"],
        ["111122", "111122/TYPE=PLMN@host"],
        [
            "Peter@Mail.example",
            "peter@mail.EXAMPLE",
            "mailto:peter@mail.example?subject=1",
            "MAILTO: peter@mail.example",
        ],
        ["News", "NEWS"],
        ["sip:peter@mail.example"],
        ["ABC123"],
        ["+"],
        [""],
    ],
)
def test_keys_are_equal_however_the_address_is_spelled(group: list[str]) -> None:
    (key,) = {number_key(value) for value in group}
    assert number_key(key) == key


def test_keys_of_numbers_are_digits_and_never_those_of_names() -> None:
    assert number_key("+64 21/TYPE=PLMN") == "6421"
    assert number_key("ABC123") != number_key("123")


@pytest.mark.parametrize("value", ["7255441234", "+64211234567", "64211234567", " +64211234567\n"])
def test_the_vendors_numbers_pass(value: str) -> None:
    digits = value.strip().removeprefix("+")
    assert normalise_number(value)[0] == "+" + digits
    assert normalise_number(value, number_format="digits")[0] == digits


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0064211234567", "starts with 00"),
        ("+0064211234567", "starts with 00"),
        ("0211234567", "the country code is missing"),
        ("+0211234567", "the country code is missing"),
        ("+642112", "has 6 digits"),
        ("1234567890123456", "has 16 digits"),
        ("", "an empty number"),
        ("+", "is not made of digits"),
        ("++64211234567", "is not made of digits"),
        ("+64 21 1234567", "is not made of digits"),
        ("+64211234567x", "is not made of digits"),
        ("٠١٢٣٤٥٦٧٨٩", "is not made of digits"),
        ("a@b.example", "is not made of digits"),
        ("111122", "has 6 digits"),
    ],
)
def test_what_is_not_e164_is_refused(value: str, problem: str) -> None:
    with pytest.raises(AddressError, match=problem) as caught:
        normalise_number(value)
    assert "211234567" not in str(caught.value)


def test_the_numbering_plan_warns_or_refuses() -> None:
    assert normalise_number("+64211234567", strict=True) == ("+64211234567", None)
    number, warning = normalise_number("+7255441234")
    assert number == "+7255441234"
    assert warning == "+7255****34 is in no numbering plan"
    with pytest.raises(AddressError, match=r"\+7255\*\*\*\*34 is in no numbering plan"):
        normalise_number("+7255441234", strict=True)
    assert normalise_number("+9991234567")[1] is not None


def test_short_codes_only_when_asked_for() -> None:
    assert normalise_number("111122", short_codes=True, strict=True) == ("111122", None)
    assert normalise_number("64211234567", short_codes=True)[0] == "+64211234567"
