"""Phone numbers and other addresses: checked, compared, and masked for logs."""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType

from airflow_provider_mm7.exceptions import AddressError

#: E.164: country code and number together have at most 15 digits and no trunk prefix.
_E164 = re.compile(r"\+?([1-9][0-9]{6,14})")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
#: How numbers mostly are written.
_PLAIN = re.compile(r"\+?([0-9]+)")
_NOT_DIGIT = re.compile(r"[^0-9]+")
_TYPE = re.compile("/TYPE=", re.IGNORECASE)
#: RFC 3966 section 3, and white space.
_SEPARATORS = re.compile(r"[-.()\s]+")
_LETTER = re.compile(r"[^\W\d_]")

_FIRST, _LAST = 4, 2
#: Fewer hidden digits than this would hide nothing.
_MIN_HIDDEN = 3
_MAX_STARS = 12


def plain_address(value: str) -> str:
    """Drop what stands around an address.

    :param value: ``+64211234567/TYPE=PLMN@host`` (the addressing of TS 23.140 clause 8.4.3),
        ``tel:+64-21-1234567;ext=1`` (RFC 3966: separators and parameters are not the number's),
        ``mailto:a@b.example?subject=x`` (RFC 6068).
    """
    plain = _TYPE.split(value, 1)[0].strip()
    scheme, colon, rest = plain.partition(":")
    match scheme.lower() if colon else "":
        case "tel":
            return _SEPARATORS.sub("", rest.partition(";")[0])
        case "mailto":
            return rest.partition("?")[0].strip()
        case _:
            return plain


def mask(value: str) -> str:
    """Hide a number or mail address so that logs may name it: ``+6421*****67``.

    :param value: as the user or a peer wrote it.
    :return: sign, four digits, stars, two digits; stars alone for what is shorter or no number; a mail address
        keeps its domain.
    """
    plain = plain_address(value)
    local, at, domain = plain.rpartition("@")
    if at:
        return f"{'*' * min(len(local), _MAX_STARS)}@{domain}"
    digits = _NOT_DIGIT.sub("", plain)
    hidden = len(digits) - _FIRST - _LAST
    if hidden < _MIN_HIDDEN or _LETTER.search(plain):
        return "*" * min(len(plain), _MAX_STARS)
    sign = "+" if plain.startswith("+") else ""
    return f"{sign}{digits[:_FIRST]}{'*' * hidden}{digits[-_LAST:]}"


def number_key(value: str) -> str:
    """Make addresses comparable however they are spelled.

    :param value: ``+64 21 1234567/TYPE=PLMN@host``, ``111122``, ``a@B.example``.
    :return: digits of a number; anything with letters in it folded to lower case.
    """
    number = _PLAIN.fullmatch(value)
    if number:
        return number[1]
    plain = plain_address(value)
    if _LETTER.search(plain) or "@" in plain:
        return plain.casefold()
    return _NOT_DIGIT.sub("", plain) or plain


def normalise_number(
    value: str, *, number_format: str = "plus", strict: bool = False, short_codes: bool = False
) -> tuple[str, str | None]:
    """Check a number and spell it as the connection wants it.

    :param value: ``+64211234567`` or ``64211234567``; surrounding white space is dropped.
    :param number_format: ``plus`` or ``digits``.
    :param strict: the numbering plan refuses; otherwise it only warns.
    :param short_codes: accept 3 to 8 digits as a short code, as they are.
    :return: the number, and a warning that names it masked, or None.
    :raises AddressError: not E.164, or, with ``strict``, in no numbering plan.
    """
    text = value.strip()
    if short_codes and _SHORT_CODE.fullmatch(text):
        return text, None
    match = _E164.fullmatch(text)
    if match is None:
        raise AddressError("recipient", f"{mask(text) or 'an empty number'} {_why_not(text)}", _E164_REMEDY)
    digits = match[1]
    warning = None if _in_numbering_plan(digits) else f"{mask('+' + digits)} is in no numbering plan"
    if warning and strict:
        raise AddressError(
            "recipient", warning, "Check the country code, or turn strict_numbers off in the connection."
        )
    return ("+" + digits if number_format == "plus" else digits), warning


_E164_REMEDY = "Write it in E.164 international format: country code first, 7 to 15 digits, with or without +."


def _why_not(text: str) -> str:
    digits = text.removeprefix("+")
    if digits.startswith("00"):
        return "starts with 00, which is not supported"
    if digits.startswith("0"):
        return "starts with 0, so the country code is missing"
    if digits.isascii() and digits.isdigit():
        return f"has {len(digits)} digits, and 7 to 15 are allowed"
    return "is not made of digits alone"


def _in_numbering_plan(digits: str) -> bool:
    plan = _phonenumbers()
    try:
        return bool(plan.is_valid_number(plan.parse("+" + digits)))
    except plan.NumberParseException:
        return False


@cache
def _phonenumbers() -> ModuleType:
    """Import phonenumbers when first asked: its tables take longer to load than the rest of the core."""
    import phonenumbers

    return phonenumbers
