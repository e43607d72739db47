from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_mm7.exceptions import InputError, StoreNotShared, StoreUnavailable
from airflow_provider_mm7.store import DeliverySummary, ReportKind, Store, open_store
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.mm7 import DeliveryReportTrigger
from tests.support.empty_ledgers import empty_ledger
from tests.support.ledger import report, send

PATIENCE_S = 30
INTERVAL_S = 0.1


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


def trigger(**arguments: Any) -> DeliveryReportTrigger:
    return DeliveryReportTrigger(**{"poll_interval_s": INTERVAL_S} | arguments)


async def event_of(waiting: DeliveryReportTrigger) -> TriggerEvent:
    events = [event async for event in waiting.run()]
    assert len(events) == 1
    return events[0]


async def fired(waiting: DeliveryReportTrigger) -> TriggerEvent:
    return await asyncio.wait_for(event_of(waiting), PATIENCE_S)


def result(batch_id: str | None, **counts: Any) -> dict[str, Any]:
    keys = ("total", "accepted", "delivered", "failed", "ambiguous", "pending")
    return {"batch_id": batch_id, "by_status": {}} | dict.fromkeys(keys, 0) | counts


async def test_it_ends_the_task_when_the_last_report_arrives(store: Store) -> None:
    batch_id, messages = send(store, "k", accepted=2)
    report(store, messages[:1], "Retrieved")
    waiting = asyncio.create_task(event_of(trigger(batch_id=batch_id)))
    # Two polls' time: it has looked, and must still wait.
    done, _ = await asyncio.wait([waiting], timeout=2 * INTERVAL_S)
    assert not done

    report(store, messages[1:], "Retrieved")
    event = await asyncio.wait_for(waiting, PATIENCE_S)
    expected = result(batch_id, total=2, accepted=2, delivered=2, by_status={"Retrieved": 2})
    assert isinstance(event, TaskSuccessEvent)
    assert event.xcoms == {"return_value": expected}
    assert [(one.kind, one.pid) for one in store.components()] == [("trigger", os.getpid())]


@pytest.mark.parametrize(("wait_for", "kind"), [("submitted", TaskSuccessEvent), ("read", TaskFailedEvent)])
async def test_it_waits_as_far_as_it_is_told(store: Store, wait_for: str, kind: type[TriggerEvent]) -> None:
    batch_id, messages = send(store, "k", accepted=2)
    report(store, messages[:1], "Deleted", kind=ReportKind.READ)
    event = await fired(trigger(batch_id=batch_id, wait_for=wait_for))
    assert type(event) is kind


async def test_a_heartbeat_that_fails_does_not_matter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Store, *process: Any) -> None:
        raise StoreUnavailable("read-only")

    monkeypatch.setattr(Store, "heartbeat", away)
    assert isinstance(await fired(trigger(batch_id="b1")), TaskFailedEvent)


@pytest.mark.parametrize(("skip", "kind"), [(False, TaskFailedEvent), (True, TaskSkippedEvent)])
async def test_it_fails_or_skips_as_soon_as_the_ratio_is_out_of_reach(
    store: Store, skip: bool, kind: type[TriggerEvent]
) -> None:
    batch_id, messages = send(store, "k", accepted=3)
    report(store, messages[:1], "Expired")
    event = await fired(trigger(batch_id=batch_id, skip_on_failure=skip))
    expected = result(batch_id, total=3, accepted=3, failed=1, pending=2, by_status={"Expired": 1})
    assert type(event) is kind
    assert getattr(event, "xcoms", None) == {"return_value": expected}


async def test_an_unknown_batch_fails_without_a_result(store: Store) -> None:
    event = await fired(trigger(batch_id="b000000000000000000000000"))
    assert isinstance(event, TaskFailedEvent)
    assert event.xcoms is None


@pytest.mark.parametrize(("status", "decision"), [("Retrieved", "succeed"), ("Rejected", "fail")])
async def test_it_hands_the_verdict_to_the_task_when_told_to(store: Store, status: str, decision: str) -> None:
    batch_id, messages = send(store, "k", accepted=1)
    report(store, messages, status)
    event = await fired(trigger(batch_id=batch_id, resume_on=[decision]))
    assert type(event) is TriggerEvent
    payload = json.loads(json.dumps(event.payload))
    assert (payload["decision"], payload["result"]["by_status"]) == (decision, {status: 1})
    assert batch_id in payload["reason"]


async def test_messages_of_another_sender_are_waited_for_by_their_ids(store: Store) -> None:
    report(store, ["m1"], "Retrieved")
    waiting = asyncio.create_task(event_of(trigger(message_ids=["m1", "m2"])))
    report(store, ["m2"], "Deferred")
    report(store, ["m2"], "Delivered", after_s=1)
    event = await asyncio.wait_for(waiting, PATIENCE_S)
    expected = result(None, total=2, accepted=2, delivered=2, by_status={"Delivered": 1, "Retrieved": 1})
    assert getattr(event, "xcoms", None) == {"return_value": expected}


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every SQL statement of this process, as it is executed."""
    seen: list[str] = []

    def keep(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", keep)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", keep)


async def test_2000_triggers_of_one_process_ask_together(store: Store, statements: list[str]) -> None:
    sent = [send(store, f"k{number}", accepted=1) for number in range(40)]
    # Half of them by batch and half by message, half of each with another ratio: 80 questions.
    triggers = [
        trigger(
            **{"batch_id": sent[number % 40][0]} if number % 80 < 40 else {"message_ids": sent[number % 40][1]},
            min_delivered_ratio=0.5 + number % 160 / 320,
        )
        for number in range(2000)
    ]
    waiting = [asyncio.create_task(event_of(one)) for one in triggers]
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        while sum(map(len, poll._polls.values())) < 2000:
            await asyncio.sleep(0.01)
    statements.clear()
    began = loop.time()

    def asked(table: str) -> int:
        return sum(re.search(rf"\b(FROM|JOIN) {table}\b", statement) is not None for statement in list(statements))

    async with asyncio.timeout(PATIENCE_S):
        while asked("mm7_batch_count") < 4:
            await asyncio.sleep(0.01)
    # A poll an interval and a query a table (two of reports), whatever the number of those who wait.
    polls = (loop.time() - began) / INTERVAL_S + 2
    assert 3 <= asked("mm7_report") <= 2 * polls
    assert 3 <= asked("mm7_submission") <= polls
    assert 4 <= asked("mm7_batch_count") <= polls
    assert len(statements) <= 6 * polls  # with what opens and closes transactions

    report(store, [message for _, messages in sent for message in messages], "Retrieved")
    events = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    assert {type(event) for event in events} == {TaskSuccessEvent}
    assert not poll._polls


async def test_cancelled_it_leaves_nothing_behind(store: Store) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    waiting = asyncio.create_task(event_of(trigger(batch_id=batch_id)))
    async with asyncio.timeout(PATIENCE_S):
        while not poll._polls:
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not poll._polls


async def test_a_store_outage_ends_it_with_the_stores_own_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Store, batch_ids: Iterable[str]) -> dict[str, DeliverySummary]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(poll, "MAX_FAILED_POLLS", 2)
    monkeypatch.setattr(Store, "delivery_of_batches", away)
    with pytest.raises(StoreUnavailable, match="away"):
        await fired(trigger(batch_id="b1"))


async def test_a_store_that_other_machines_cannot_see_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with pytest.raises(StoreNotShared):
        await fired(trigger(batch_id="b1"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_id": "b1"},
        {
            "message_ids": ("m1", "m2"),
            "delivered_statuses": ("retrieved", "FORWARDED"),
            "min_delivered_ratio": 0.25,
            "wait_for": "read",
            "poll_interval_s": 5,
            "skip_on_failure": True,
            "resume_on": ("fail", "succeed"),
        },
    ],
)
def test_it_survives_serialisation_as_json_primitives(arguments: dict[str, Any]) -> None:
    path, kwargs = DeliveryReportTrigger(**arguments).serialize()
    assert json.loads(json.dumps(kwargs)) == kwargs
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**kwargs)
    assert isinstance(again, DeliveryReportTrigger)
    assert again.serialize() == (path, kwargs)
    if "skip_on_failure" in arguments:
        assert kwargs == {
            "batch_id": None,
            "message_ids": ["m1", "m2"],
            "delivered_statuses": ["Retrieved", "Forwarded"],
            "min_delivered_ratio": 0.25,
            "wait_for": "read",
            "poll_interval_s": 5,
            "skip_on_failure": True,
            "resume_on": ["fail", "succeed"],
        }


@pytest.mark.parametrize("arguments", [{}, {"batch_id": "b1", "message_ids": ["m1"]}])
def test_it_waits_for_one_thing(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="exactly one"):
        DeliveryReportTrigger(**arguments)
