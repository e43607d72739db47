from __future__ import annotations

import pytest

from airflow_provider_mm7.protocol import (
    MM_STATUSES,
    STATUS_CODES,
    UNKNOWN,
    MMStatus,
    Outcome,
    Verdict,
    is_final,
    status_text,
    verdict,
)


@pytest.mark.parametrize("name", sorted(MM_STATUSES))
@pytest.mark.parametrize("spell", [str, str.upper, str.lower, " {}\n".format])
def test_standard_names_in_any_case(name: str, spell: type[str]) -> None:
    status = MMStatus.parse(spell(name))
    assert (status.name, status.raw) == (name, spell(name))


@pytest.mark.parametrize(
    "raw", ["Unrecognized", "Unreachable", "Third:User Retrieved", "Deleted without being read", "", UNKNOWN]
)
def test_other_spellings_are_unknown_and_kept(raw: str) -> None:
    status = MMStatus.parse(raw)
    assert (status.name, status.raw, status.outcome) == (UNKNOWN, raw, Outcome.AMBIGUOUS)
    assert is_final(status)


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        ("Retrieved Delivered", Outcome.DELIVERED),
        ("Expired Rejected Unrecognised DeliveryConditionNotMet Cancelled Replaced", Outcome.FAILED),
        ("Deferred Processing", Outcome.INTERIM),
        ("Indeterminate Forwarded", Outcome.AMBIGUOUS),
    ],
)
def test_outcomes(names: str, outcome: Outcome) -> None:
    for name in names.split():
        status = MMStatus.parse(name)
        assert status.outcome is outcome
        assert is_final(status) is (outcome is not Outcome.INTERIM)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([1000, 1001, 1500], Verdict.ACCEPTED),
        ([1100], Verdict.PARTIAL),
        ([*range(2000, 2010), 2569, 2999], Verdict.PERMANENT),
        ([3000, 3005, 3500, 3510], Verdict.RETRY),
        ([3001, 3002, 3004], Verdict.PERMANENT),
        ([3003], Verdict.SPLIT),
        ([4000, 4006, 4009, 4999], Verdict.RETRY),
        ([4001, 4002, 4003, 4004, 4005, 4007, 4008], Verdict.PERMANENT),
        ([0, 1, 999, 5000, 9999, 100000], Verdict.RETRY),
    ],
)
def test_verdicts(codes: list[int], expected: Verdict) -> None:
    assert {verdict(code) for code in codes} == {expected}


def test_a_connection_overrides_exact_codes() -> None:
    overrides = {2569: Verdict.RETRY, 3001: Verdict.PERMANENT}
    assert verdict(2569, overrides) is Verdict.RETRY
    assert verdict(2568, overrides) is Verdict.PERMANENT


def test_texts() -> None:
    assert status_text(2007) == "Message format corrupt"
    assert status_text(2569) == "Client error"
    assert status_text(7) == "Server error"
    assert all(text for text, _ in STATUS_CODES.values())
