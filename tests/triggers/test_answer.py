from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider_mm7.hooks.answers import AnswerQuestion
from airflow_provider_mm7.store import Store, open_store
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.mm7 import InboundAnswerTrigger
from tests.store.test_inbound import MESSAGE
from tests.support.empty_ledgers import empty_ledger

PATIENCE_S = 30
INTERVAL_S = 0.1


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


def trigger(*, resume: bool = False, **asked: Any) -> InboundAnswerTrigger:
    return InboundAnswerTrigger(
        question=AnswerQuestion.of(**asked).as_json(), poll_interval_s=INTERVAL_S, resume=resume
    )


async def event_of(waiting: InboundAnswerTrigger) -> TriggerEvent:
    (event,) = [event async for event in waiting.run()]
    return event


async def test_many_wait_for_their_own_answers_in_one_poll(store: Store) -> None:
    waiting = [asyncio.create_task(event_of(trigger(senders=[f"+642{n}"]))) for n in range(20)]
    done, _ = await asyncio.wait(waiting, timeout=2 * INTERVAL_S)
    assert not done
    assert [len(one) for one in poll._polls.values()] == [20]

    store.add_inbound([replace(MESSAGE, digest=str(n), sender=f"+642{n}") for n in range(20)])
    events = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    for n, event in enumerate(events):
        assert isinstance(event, TaskSuccessEvent)
        assert event.xcoms is not None
        message: Any = event.xcoms["return_value"]
        assert (message["sender"], message["text"]) == (f"+642{n}", "YES")
        assert json.loads(json.dumps(message)) == message
    assert not poll._polls


async def test_for_a_worker_it_gives_the_id_and_nothing_of_the_message(store: Store) -> None:
    store.add_inbound([replace(MESSAGE, digest=str(n), sender=f"+642{n}") for n in range(2)])
    event = await asyncio.wait_for(event_of(trigger(resume=True, senders=["+6421"])), PATIENCE_S)
    assert type(event) is TriggerEvent
    assert event.payload == {"id": 2}


def test_it_survives_serialisation_as_json_primitives() -> None:
    path, kwargs = trigger(
        resume=True, senders=["+6421"], linked_ids=["m1"], keyword="yes", has_media=False
    ).serialize()
    assert json.loads(json.dumps(kwargs)) == kwargs
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**kwargs)
    assert isinstance(again, InboundAnswerTrigger)
    assert again.serialize() == (path, kwargs)
