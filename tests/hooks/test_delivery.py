from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks.delivery import (
    UNSENT_GRACE,
    Criteria,
    Decision,
    Question,
    judge,
    read_store,
    receivers_alive,
)
from airflow_provider_mm7.store import ReportKind, open_store
from airflow_provider_mm7.store.types import DeliverySummary
from tests.support.empty_ledgers import empty_ledger
from tests.support.ledger import report, send

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BATCH = Question(batch_id="b1")
READING = Criteria(wait_for="read")
FINAL_FAILURES = ("Expired", "Rejected", "Unrecognised", "DeliveryConditionNotMet", "Cancelled", "Replaced")
AMBIGUOUS = ("Indeterminate", "Forwarded", "UNKNOWN")
INTERIM = ("Deferred", "Processing")
SUCCESSES = ("Retrieved", "Delivered")
ALL = SUCCESSES + FINAL_FAILURES + AMBIGUOUS + INTERIM


def summary(
    by_status: Mapping[str, int] | None = None,
    *,
    unreported: int = 0,
    unsent: int = 0,
    other: int = 0,
    changed_at: datetime | None = NOW,
    batch_id: str | None = "b1",
    suppressed: int = 0,
    reads: Mapping[tuple[str, str], int] | None = None,
    **more: int,
) -> DeliverySummary:
    by_status = {**(by_status or {}), **more}
    accepted = sum(by_status.values()) + unreported
    return DeliverySummary(
        batch_id=batch_id,
        total=accepted + unsent + other + suppressed,
        accepted=accepted,
        unsent=unsent,
        by_status=dict(by_status),
        changed_at=changed_at,
        suppressed=suppressed,
        by_read=dict(reads or {}),
    )


def decide(known: DeliverySummary | None, **criteria: Any) -> Decision:
    return judge(BATCH, known, Criteria(**criteria), now=NOW).decision


@pytest.mark.parametrize(
    ("known", "ratio", "decision"),
    [
        pytest.param(summary(Retrieved=2), 1.0, Decision.SUCCEED, id="all"),
        pytest.param(summary(Retrieved=1, Delivered=1), 1.0, Decision.SUCCEED, id="both successes count"),
        pytest.param(summary(Retrieved=1, unreported=1), 1.0, Decision.WAIT, id="one to come"),
        pytest.param(summary(Retrieved=1, Deferred=1), 1.0, Decision.WAIT, id="interim waits"),
        pytest.param(summary(Expired=1, unreported=9), 1.0, Decision.FAIL, id="cannot be reached, others pending"),
        pytest.param(summary(Retrieved=1, unreported=1), 0.5, Decision.SUCCEED, id="reached, one pending"),
        pytest.param(summary(Retrieved=19, Expired=1), 0.95, Decision.SUCCEED, id="exactly reached"),
        pytest.param(summary(Retrieved=18, Expired=2), 0.95, Decision.FAIL, id="just missed"),
        pytest.param(summary(Indeterminate=1), 1.0, Decision.FAIL, id="ambiguous is final"),
        pytest.param(summary(UNKNOWN=1, unreported=1), 0.5, Decision.WAIT, id="unknown is not success"),
        pytest.param(summary(), 0.0, Decision.FAIL, id="nothing at all"),
        pytest.param(summary(other=3), 0.0, Decision.FAIL, id="nothing accepted"),
        pytest.param(summary(unreported=1), 0.0, Decision.SUCCEED, id="ratio 0 wants acceptance only"),
        pytest.param(summary(unsent=1), 0.0, Decision.WAIT, id="nothing accepted yet"),
        pytest.param(summary(Retrieved=1, unsent=1), 1.0, Decision.WAIT, id="one is being sent"),
        pytest.param(
            summary(Retrieved=1, unsent=1), 0.5, Decision.SUCCEED, id="reached whatever becomes of the unsent"
        ),
        pytest.param(summary(Expired=2, unsent=1), 0.5, Decision.FAIL, id="unsent cannot lift it"),
        pytest.param(None, 0.0, Decision.FAIL, id="no such batch"),
    ],
)
def test_decisions(known: DeliverySummary | None, ratio: float, decision: Decision) -> None:
    assert decide(known, min_delivered_ratio=ratio) is decision


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize("listed", [False, True])
def test_each_status_has_one_place_in_the_result(status: str, listed: bool) -> None:
    counted = (status,) if listed else ("Retrieved", "Delivered")
    result = judge(BATCH, summary({status: 3}, unreported=1), Criteria(delivered_statuses=counted), now=NOW).result

    if status in counted:
        place = "delivered"
    elif status in FINAL_FAILURES:
        place = "failed"
    elif status in INTERIM:
        place = "pending"
    else:
        place = "ambiguous"
    expected = dict.fromkeys(("delivered", "failed", "ambiguous", "pending"), 0)
    expected[place] += 3
    expected["pending"] += 1
    assert result == {"batch_id": "b1", "total": 4, "accepted": 4, "by_status": {status: 3}} | expected


def test_a_success_that_the_user_does_not_count_is_final() -> None:
    assert decide(summary(Delivered=1), delivered_statuses=["Retrieved"]) is Decision.FAIL


def test_ambiguous_counts_when_listed() -> None:
    assert decide(summary(Forwarded=1), delivered_statuses=["retrieved", "forwarded"]) is Decision.SUCCEED


@pytest.mark.parametrize("changed_at", [NOW - UNSENT_GRACE, None])
def test_unsent_recipients_of_a_batch_that_nobody_sends_do_not_count(changed_at: datetime | None) -> None:
    assert decide(summary(Retrieved=1, unsent=5, changed_at=changed_at)) is Decision.SUCCEED
    assert decide(summary(unsent=5, changed_at=changed_at)) is Decision.FAIL


def test_unsent_recipients_hold_the_verdict_back_until_the_grace_is_over() -> None:
    changed_at = NOW - UNSENT_GRACE + timedelta(seconds=1)
    assert decide(summary(Retrieved=1, unsent=5, changed_at=changed_at)) is Decision.WAIT


@given(
    delivered=st.integers(0, 4),
    failed=st.integers(0, 4),
    ambiguous=st.integers(0, 3),
    interim=st.integers(0, 2),
    unreported=st.integers(0, 2),
    unsent=st.integers(0, 3),
    other=st.integers(0, 2),
    ratio=st.one_of(st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.floats(0, 1)),
)
def test_the_verdict_is_what_every_possible_future_agrees_on(
    *, delivered: int, failed: int, ambiguous: int, interim: int, unreported: int, unsent: int, other: int, ratio: float
) -> None:
    known = summary(
        Retrieved=delivered,
        Expired=failed,
        Forwarded=ambiguous,
        Processing=interim,
        unreported=unreported,
        unsent=unsent,
        other=other,
    )
    futures = set()
    for lifted, sent in itertools.product(range(interim + unreported + 1), range(unsent + 1)):
        for arrived in range(sent + 1):
            accepted = known.accepted + sent
            futures.add(accepted > 0 and (delivered + lifted + arrived) / accepted >= ratio)
    expected = {frozenset({True}): Decision.SUCCEED, frozenset({False}): Decision.FAIL}.get(
        frozenset(futures), Decision.WAIT
    )

    assert decide(known, min_delivered_ratio=ratio) is expected


@given(st.dictionaries(st.sampled_from(ALL), st.integers(1, 50)), st.integers(0, 50), st.integers(0, 5))
def test_the_result_is_json_and_adds_up(by_status: dict[str, int], unreported: int, other: int) -> None:
    known = summary(by_status, unreported=unreported, other=other)
    result = judge(BATCH, known, Criteria(), now=NOW).result

    assert json.loads(json.dumps(result)) == result
    assert result["accepted"] == sum(result[key] for key in ("delivered", "failed", "ambiguous", "pending"))
    assert (result["total"], result["by_status"]) == (known.total, by_status)


# --- only sent, or even read


@pytest.mark.parametrize(
    ("known", "ratio", "decision"),
    [
        pytest.param(summary(unreported=3), 1.0, Decision.SUCCEED, id="all accepted, reports do not matter"),
        pytest.param(summary(Expired=3), 1.0, Decision.SUCCEED, id="nor what they say"),
        pytest.param(summary(unreported=2, unsent=1), 1.0, Decision.WAIT, id="one is being sent"),
        pytest.param(summary(unreported=2, unsent=1), 0.5, Decision.WAIT, id="until all are settled"),
        pytest.param(summary(unreported=2, other=1, unsent=1), 1.0, Decision.FAIL, id="one is refused"),
        pytest.param(summary(unreported=2, other=2), 0.5, Decision.SUCCEED, id="exactly reached"),
        pytest.param(summary(unreported=2, other=3), 0.5, Decision.FAIL, id="just missed"),
        pytest.param(summary(unreported=2, suppressed=2), 1.0, Decision.SUCCEED, id="suppressed ones do not count"),
        pytest.param(summary(other=2), 0.0, Decision.FAIL, id="nothing accepted"),
        pytest.param(
            summary(unreported=1, unsent=1, changed_at=None), 1.0, Decision.FAIL, id="nobody sends the rest any more"
        ),
        pytest.param(summary(unreported=1, unsent=1, changed_at=None), 0.5, Decision.SUCCEED, id="and it is enough"),
    ],
)
def test_waiting_for_the_submission(known: DeliverySummary, ratio: float, decision: Decision) -> None:
    assert decide(known, min_delivered_ratio=ratio, wait_for="submitted") is decision


@pytest.mark.parametrize(
    ("known", "ratio", "decision"),
    [
        pytest.param(summary(Retrieved=2, reads={("Retrieved", "Read"): 2}), 1.0, Decision.SUCCEED, id="all read"),
        pytest.param(summary(unreported=2, reads={("", "Read"): 2}), 1.0, Decision.SUCCEED, id="without any report"),
        pytest.param(summary(Retrieved=2, reads={("Retrieved", "Read"): 1}), 1.0, Decision.WAIT, id="one to come"),
        pytest.param(summary(Retrieved=2, reads={("Retrieved", "Read"): 1}), 0.5, Decision.SUCCEED, id="reached"),
        pytest.param(summary(Retrieved=2, reads={("Retrieved", "Deleted"): 1}), 1.0, Decision.FAIL, id="deleted"),
        pytest.param(
            summary(Retrieved=2, reads={("Retrieved", "Indeterminate"): 1}), 1.0, Decision.FAIL, id="not known"
        ),
        pytest.param(summary(Retrieved=2, reads={("Retrieved", "Deferred"): 1}), 1.0, Decision.WAIT, id="interim"),
        pytest.param(summary(Retrieved=1, Expired=1), 1.0, Decision.FAIL, id="never arrived"),
        pytest.param(summary(Retrieved=1, Expired=1), 0.5, Decision.WAIT, id="the other one may be read"),
        pytest.param(summary(Expired=1, reads={("Expired", "Read"): 1}), 1.0, Decision.SUCCEED, id="read all the same"),
        pytest.param(summary(Forwarded=1), 1.0, Decision.WAIT, id="forwarded may be read"),
        pytest.param(summary(unsent=1, Retrieved=1, reads={("Retrieved", "Read"): 1}), 1.0, Decision.WAIT, id="unsent"),
        pytest.param(summary(unreported=1), 0.0, Decision.SUCCEED, id="ratio 0 wants acceptance only"),
        pytest.param(summary(other=1), 0.0, Decision.FAIL, id="nothing accepted"),
    ],
)
def test_waiting_for_the_reading(known: DeliverySummary, ratio: float, decision: Decision) -> None:
    assert decide(known, min_delivered_ratio=ratio, wait_for="read") is decision


def test_a_failure_that_the_user_counts_as_delivered_may_be_read() -> None:
    counted = {"wait_for": "read", "delivered_statuses": ["Retrieved", "Expired"]}
    assert decide(summary(Retrieved=1, Expired=1), **counted) is Decision.WAIT


@given(
    read=st.integers(0, 3),
    read_unreached=st.integers(0, 1),
    deleted=st.integers(0, 3),
    unreached=st.integers(0, 3),
    silent=st.integers(0, 3),
    unsent=st.integers(0, 2),
    ratio=st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1)),
)
def test_the_verdict_on_reading_is_what_every_possible_future_agrees_on(
    *, read: int, read_unreached: int, deleted: int, unreached: int, silent: int, unsent: int, ratio: float
) -> None:
    reads = {("Retrieved", "Read"): read, ("Expired", "Read"): read_unreached, ("", "Deleted"): deleted}
    known = summary(
        Retrieved=read, Expired=read_unreached + unreached, unreported=deleted + silent, unsent=unsent, reads=reads
    )
    futures = set()
    for lifted, sent in itertools.product(range(silent + 1), range(unsent + 1)):
        for seen in range(sent + 1):
            accepted = known.accepted + sent
            futures.add(accepted > 0 and (read + read_unreached + lifted + seen) / accepted >= ratio)
    expected = {frozenset({True}): Decision.SUCCEED, frozenset({False}): Decision.FAIL}.get(
        frozenset(futures), Decision.WAIT
    )
    assert decide(known, min_delivered_ratio=ratio, wait_for="read") is expected


def test_read_counts_stand_beside_those_of_the_delivery() -> None:
    known = summary(
        Retrieved=3,
        Expired=1,
        unreported=2,
        reads={("Retrieved", "Read"): 2, ("Retrieved", "Deleted"): 1, ("", "Read"): 1},
    )
    delivered, read = (judge(BATCH, known, Criteria(wait_for=one), now=NOW).result for one in ("delivered", "read"))
    assert read == delivered | {"read": 3, "by_read_status": {"Deleted": 1, "Read": 3}}
    assert (read["delivered"], read["failed"], read["pending"]) == (3, 1, 2)
    assert judge(BATCH, known, Criteria(wait_for="submitted"), now=NOW).result == delivered
    assert "3 of 6 accepted messages read, 1 may still be" in judge(BATCH, known, READING, now=NOW).reason


@pytest.mark.parametrize("wait_for", ["submitted", "delivered", "read"])
def test_a_batch_in_which_nobody_wants_messages_leaves_nothing_to_wait_for(wait_for: str) -> None:
    assert decide(summary(suppressed=3), wait_for=wait_for) is Decision.SUCCEED
    assert decide(summary(suppressed=2, other=1), wait_for=wait_for) is Decision.FAIL
    assert decide(summary(suppressed=2, unsent=1), wait_for=wait_for) is Decision.WAIT


@pytest.mark.parametrize("wait_for", ["sent", "", None, "Read"])
def test_there_are_three_things_to_wait_for(wait_for: Any) -> None:
    with pytest.raises(InputError, match="submitted, delivered, read"):
        Criteria(wait_for=wait_for)


def test_reasons_hold_ids_and_counts_only() -> None:
    numbers = Question(message_ids=("+64211234567", "+64211234568"))
    verdict = judge(numbers, summary(Retrieved=1, Expired=1), Criteria(), now=NOW)
    assert "64211234567" not in verdict.reason
    assert "2 message ids: 1 of 2 accepted messages delivered, 1 failed" in verdict.reason
    assert "b1 is not in the store" in judge(BATCH, None, Criteria(), now=NOW).reason


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan"), True, "0.5", None])
def test_a_ratio_is_a_number_from_0_to_1(ratio: Any) -> None:
    with pytest.raises(InputError, match="min_delivered_ratio"):
        Criteria(min_delivered_ratio=ratio)


@pytest.mark.parametrize("statuses", ["Retrieved", [], ["Third:User Retrieved"], ["Retreived"]])
def test_statuses_are_a_list_of_known_names(statuses: Any) -> None:
    with pytest.raises(InputError, match="delivered_statuses"):
        Criteria(delivered_statuses=statuses)


@pytest.mark.parametrize("asked", [{}, {"batch_id": "b1", "message_ids": ("m1",)}])
def test_a_question_asks_one_thing(asked: Any) -> None:
    with pytest.raises(InputError, match="exactly one"):
        Question(**asked)


# --- the store's answers


@pytest.fixture
def url(tmp_path: Path) -> str:
    return empty_ledger(tmp_path / "mm7.db")


def test_the_store_answers_every_question(url: str) -> None:
    store = open_store(url)
    batch_id, messages = send(store, "k", accepted=3, refused=1)
    report(store, messages[:2], "Retrieved")
    report(store, ["elsewhere"], "Expired")
    batch, unknown = Question(batch_id=batch_id), Question(batch_id="b0")
    mine, all_of_them = Question(message_ids=tuple(messages)), Question(message_ids=(*messages, "elsewhere", "silent"))

    answers = read_store(url, [all_of_them, batch, unknown, mine])
    assert set(answers) == {batch, unknown, mine, all_of_them}
    assert answers[unknown] is None
    assert answers[batch] == summary(Retrieved=2, unreported=1, other=1, changed_at=None, batch_id=batch_id)
    for question in (mine, all_of_them):
        assert answers[question] == store.delivery_of_messages(question.message_ids)
    assert answers[all_of_them] == summary(Retrieved=2, Expired=1, unreported=2, changed_at=None, batch_id=None)


def test_the_store_tells_what_was_read_and_who_wants_no_messages(url: str) -> None:
    store = open_store(url)
    batch_id, messages = send(store, "k", accepted=3, suppressed=2)
    report(store, messages[:1], "Retrieved")
    report(store, messages[:2], "Read", kind=ReportKind.READ)
    batch, some = Question(batch_id=batch_id), Question(message_ids=tuple(messages))
    answers = read_store(url, [batch, some])

    reads = {("Retrieved", "Read"): 1, ("", "Read"): 1}
    expected = summary(Retrieved=1, unreported=2, suppressed=2, reads=reads, changed_at=None, batch_id=batch_id)
    assert answers[batch] == expected
    assert answers[some] == summary(Retrieved=1, unreported=2, reads=reads, changed_at=None, batch_id=None)


def test_a_message_to_several_recipients_counts_for_each(url: str) -> None:
    store = open_store(url)
    _, messages = send(store, "k", accepted=3, one_message=True)
    question = Question(message_ids=tuple(messages[:1]))
    assert read_store(url, [question])[question] == summary(unreported=3, changed_at=None, batch_id=None)
    assert store.delivery_of_messages(question.message_ids).accepted == 3


def test_the_store_tells_how_long_ago_an_unfinished_batch_was_sent(url: str) -> None:
    store = open_store(url)
    before = datetime.now(UTC)
    batch_id, messages = send(store, "k", accepted=1, retry=1)
    after = datetime.now(UTC)
    report(store, messages, "Retrieved")
    question = Question(batch_id=batch_id)
    known = read_store(url, [question])[question]

    assert known is not None
    assert known.changed_at is not None
    assert before <= known.changed_at <= after
    assert judge(question, known, Criteria(), now=after).decision is Decision.WAIT
    assert judge(question, known, Criteria(), now=after + UNSENT_GRACE).decision is Decision.SUCCEED


def test_receivers_are_known_by_their_heartbeat(url: str) -> None:
    assert not receivers_alive(url)
    open_store(url).heartbeat("receiver", "gateway", 1)
    assert receivers_alive(url)
