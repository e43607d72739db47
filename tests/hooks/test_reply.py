"""Replies over a loopback MMSC and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import (
    InputError,
    NotSent,
    OutcomeUnknown,
    PermanentStatusError,
)
from airflow_provider_mm7.hooks import reply
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.protocol import SubmitReq
from airflow_provider_mm7.store import Origin, open_store
from tests.support.empty_ledgers import empty_ledger
from tests.support.mmsc import Received, mmsc, status
from tests.support.scripted import free_port

INBOUND = InboundMMS(
    id=7,
    sender="+64211234567",
    recipients=("111122",),
    subject=None,
    text="YES",
    linked_id="l-1",
    date=None,
    received_at=datetime(2026, 1, 2, tzinfo=UTC),
    conn_id="mm7_default",
)


@dataclass
class TaskInstance:
    dag_id: str = "dag"
    run_id: str = "r1"
    task_id: str = "answer"
    map_index: int = -1


@pytest.fixture
def ledger_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return url


@pytest.fixture
def hook(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], MM7Hook]:
    def make(url: str) -> MM7Hook:
        extra = {"sender_address": "111122", "connect_timeout_s": 2, "read_timeout_s": 2}
        monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", json.dumps({"conn_type": "mm7", "host": url, "extra": extra}))
        return MM7Hook()

    return make


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Callable[[TaskInstance], None]:
    """Be a task."""
    return lambda ti: monkeypatch.setattr(reply, "running_task", lambda: ti)


def submitted(received: Received) -> SubmitReq:
    assert isinstance(received.envelope.message, SubmitReq)
    return received.envelope.message


@pytest.mark.parametrize("inbound", [INBOUND, json.loads(json.dumps(INBOUND.as_json()))], ids=["value", "json"])
def test_it_goes_to_the_sender_under_the_linked_id(hook: Callable[[str], MM7Hook], inbound: Any) -> None:
    with mmsc() as centre:
        result = hook(centre.url).reply(inbound, text=["Thanks", "See you"], subject="Dinner", read_reply=True)
    (received,) = centre.received
    request = submitted(received)
    assert received.recipients == ("+64211234567",)
    assert (request.linked_id, request.subject, request.read_reply) == ("l-1", "Dinner", True)
    assert request.delivery_report is True
    assert [part.body for part in received.envelope.parts if b"smil" not in part.body] == [b"Thanks", b"See you"]
    assert (result["accepted"], result["messages"][0]["message_id"]) == (1, f"m-{received.transaction_id}")


def test_once_for_each_message_and_task(
    hook: Callable[[str], MM7Hook], ledger_url: str, running: Callable[[TaskInstance], None]
) -> None:
    with mmsc() as centre:
        mm7 = hook(centre.url)
        running(TaskInstance())
        first = mm7.reply(INBOUND, text="Thanks")
        # A retry, and another run to which the message was handed again.
        assert mm7.reply(INBOUND, text="Thanks") == first
        running(TaskInstance(run_id="r2", map_index=3))
        assert mm7.reply(INBOUND, text="Thanks") == first
        assert len(centre.received) == 1
        mm7.reply(INBOUND, text="A second one", idempotency_key="second/7")
        mm7.reply(replace(INBOUND, id=8), text="Thanks again")
        running(TaskInstance(task_id="other"))
        mm7.reply(INBOUND, text="Thanks from another task")
    assert len(centre.received) == 4
    batch = open_store(ledger_url).find_batch(first["batch_id"])
    assert batch is not None
    assert (batch.key, batch.origin) == (
        "dag/answer/reply/7",
        Origin(dag_id="dag", run_id="r1", task_id="answer", map_index=-1),
    )


def test_outside_of_tasks_the_message_alone_names_it(hook: Callable[[str], MM7Hook], ledger_url: str) -> None:
    with mmsc() as centre:
        batch_id = hook(centre.url).reply(INBOUND, text="Thanks")["batch_id"]
    batch = open_store(ledger_url).find_batch(batch_id)
    assert batch is not None
    assert (batch.key, batch.origin) == ("reply/7", Origin())


def test_what_is_refused_is_an_error(hook: Callable[[str], MM7Hook]) -> None:
    with mmsc(status(2001, "not allowed")) as centre, pytest.raises(PermanentStatusError) as caught:
        hook(centre.url).reply(INBOUND, text="Thanks")
    assert (caught.value.status_code, caught.value.status_text) == (2001, "not allowed")
    assert "64211234567" not in str(caught.value)


def test_what_did_not_leave_is_sent_by_the_next_try(hook: Callable[[str], MM7Hook]) -> None:
    with pytest.raises(NotSent):
        hook(f"http://127.0.0.1:{free_port()}").reply(INBOUND, text="Thanks")
    with mmsc() as centre:
        assert hook(centre.url).reply(INBOUND, text="Thanks")["accepted"] == 1


def test_what_may_have_left_is_held(hook: Callable[[str], MM7Hook]) -> None:
    with mmsc(lambda _: lambda peer: peer.reset()) as centre:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match="held"):
                hook(centre.url).reply(INBOUND, text="Thanks")
        assert len(centre.received) == 1
    with mmsc() as centre:
        assert hook(centre.url).reply(INBOUND, text="Thanks", on_unknown="resend")["accepted"] == 1


def test_what_cannot_be_answered(hook: Callable[[str], MM7Hook]) -> None:
    mm7 = hook("http://127.0.0.1:1")
    with pytest.raises(InputError, match="no sender"):
        mm7.reply(replace(INBOUND, sender=None), text="Thanks")
    with pytest.raises(InputError, match="on_unknown"):
        mm7.reply(INBOUND, text="Thanks", on_unknown="maybe")
