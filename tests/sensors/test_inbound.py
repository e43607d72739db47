from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from structlog.testing import capture_logs

from airflow_provider_mm7.exceptions import InputError, StoreUnavailable
from airflow_provider_mm7.hooks.answers import AnswerQuestion
from airflow_provider_mm7.sensors.mm7 import InboundMMSSensor
from airflow_provider_mm7.store import Store, open_store
from airflow_provider_mm7.triggers.mm7 import InboundAnswerTrigger
from airflow_provider_mm7.triggers.poll import MAX_FAILED_POLLS
from tests.store.test_inbound import MESSAGE
from tests.support.empty_ledgers import empty_ledger

NUMBER = "+64211234567"
TIMED_OUT = {"error": "Trigger timeout"}


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


@pytest.fixture
def context(now: datetime) -> Any:
    run = SimpleNamespace(start_date=now - timedelta(minutes=1), run_after=now - timedelta(days=1))
    return {"dag_run": run, "ti": SimpleNamespace(get_first_reschedule_date=lambda _: None)}


@pytest.fixture(autouse=True)
def dag() -> Iterator[DAG]:
    with DAG("dag") as made:
        yield made


def sensor(**arguments: Any) -> InboundMMSSensor:
    defaults: dict[str, Any] = {"task_id": "answer", "poke_interval": 0.01, "timeout": 60, "deferrable": False}
    return InboundMMSSensor(**defaults | arguments)


def rendered(task: InboundMMSSensor, **values: Any) -> InboundMMSSensor:
    """As Airflow leaves it after rendering."""
    for name, value in values.items():
        setattr(task, name, value)
    return task


def arrive(store: Store, digest: str, **fields: Any) -> None:
    store.add_inbound([replace(MESSAGE, **{"digest": digest, "sender": NUMBER, "linked_id": None, **fields})])


def trigger_of(task: InboundMMSSensor, context: Any) -> InboundAnswerTrigger:
    with pytest.raises(TaskDeferred) as caught:
        task.execute(context)
    trigger = caught.value.trigger
    assert isinstance(trigger, InboundAnswerTrigger)
    return trigger


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_returns_the_message_and_takes_nothing(store: Store, context: Any, deferrable: bool) -> None:
    arrive(store, "1", text="Yes, please")
    arrive(store, "2", text="Or no")
    for task_id in ("one", "two"):
        message = sensor(task_id=task_id, sender=NUMBER, deferrable=deferrable).execute(context)
        assert (message["id"], message["text"], message["sender"]) == (1, "Yes, please", NUMBER)
        assert [one["uri"] for one in message["media"]] == [part.uri for part in MESSAGE.parts]


def test_filters(store: Store, context: Any) -> None:
    arrive(store, "1", text="Maybe", recipients=("222",))
    arrive(store, "2", text="YES!", recipients=("111122",))
    arrive(store, "3", text="yes", recipients=("111122",), parts=(), conn_id="other", linked_id="m1")

    def found(**asked: Any) -> Any:
        return sensor(task_id=f"t{len(str(asked))}", **{"sender": NUMBER, **asked}).poke(context).xcom_value

    assert found(keyword="Yes")["id"] == 2
    assert found(short_code="111122")["id"] == 2
    assert found(has_media=False, mm7_conn_id=None)["id"] == 3
    assert found(has_media=False) is None
    assert found(sender=None, linked_id=["m0", "m1"], mm7_conn_id="other")["id"] == 3
    assert found(sender=["+6499", NUMBER])["id"] == 1


def test_the_window_begins_with_the_run_unless_a_message_is_answered(store: Store, context: Any, now: datetime) -> None:
    arrive(store, "before", linked_id="m1")
    context["dag_run"].start_date = now + timedelta(minutes=1)
    assert not sensor(sender=NUMBER).poke(context).is_done
    assert sensor(task_id="linked", linked_id="m1").poke(context).is_done
    early, late = now - timedelta(minutes=2), now + timedelta(minutes=2)
    for n, (since, done) in enumerate([(early, True), (str(early), True), (late.isoformat(), False)]):
        assert sensor(task_id=f"t{n}", sender=NUMBER, since=since).poke(context).is_done is done
    context["dag_run"].start_date = None
    assert sensor(task_id="no_start", sender=NUMBER).poke(context).is_done


def test_numbers_and_ids_that_templates_made_integers(store: Store, context: Any) -> None:
    """As a DAG with ``render_template_as_native_obj`` does of what is made of digits."""
    arrive(store, "1", linked_id="369500617770864640", recipients=("4242",), text="7 of us")
    context |= {"id": "369500617770864640", "number": NUMBER, "code": "4242", "word": "7"}

    def found(task_id: str, **asked: Any) -> Any:
        with DAG("native", render_template_as_native_obj=True):
            task = sensor(task_id=task_id, **asked)
        task.render_template_fields(context)
        return task.poke(context).xcom_value

    assert found("by_id", linked_id="{{ id }}")["id"] == 1
    assert found("by_ids", linked_id=["{{ id }}"])["id"] == 1
    assert found("by_sender", sender="{{ number }}", short_code="{{ code }}", keyword="{{ word }}")["id"] == 1
    assert found("other", sender="{{ number }}", short_code="{{ word }}") is None


def test_one_must_be_named() -> None:
    with pytest.raises(InputError, match="linked_id, sender"):
        sensor(keyword="yes")


@pytest.mark.parametrize(
    "values",
    [
        {"sender": None},
        {"sender": ""},
        {"sender": []},
        {"sender": [None]},
        {"sender": [""]},
        {"linked_id": "  "},
        {"linked_id": []},
        {"since": "yesterday"},
        {"since": ""},
        {"since": "2026-01-02T03:04:05"},
        {"keyword": ""},
        {"short_code": ""},
    ],
)
def test_a_template_that_gives_nothing_does_not_let_everything_in(store: Store, context: Any, values: Any) -> None:
    arrive(store, "1")
    with pytest.raises(AirflowFailException):
        rendered(sensor(sender=NUMBER), **values).execute(context)


def test_a_message_id_is_one_whatever_is_in_it(store: Store, context: Any) -> None:
    arrive(store, "1", linked_id="a")
    assert not sensor(linked_id="a,b").poke(context).is_done
    assert rendered(sensor(task_id="text", linked_id="x"), linked_id="['b', 'a']").poke(context).is_done


def test_it_defers_with_its_question(store: Store, context: Any) -> None:
    trigger = trigger_of(
        sensor(sender=[NUMBER, "+6499"], keyword="yes", deferrable=True, poke_interval=timedelta(seconds=7)), context
    )
    assert trigger.question == AnswerQuestion.of(
        senders=["+6499", NUMBER], keyword="YES", conn_id="mm7_default", since=context["dag_run"].start_date
    )
    assert (trigger.poll_interval_s, trigger.resume) == (7, False)


def test_for_tasks_that_read_the_message_a_worker_ends_it(store: Store, context: Any) -> None:
    task = sensor(sender=NUMBER, deferrable=True)
    task >> EmptyOperator(task_id="next")
    assert trigger_of(task, context).resume


def test_with_outlets_a_worker_ends_it(store: Store, context: Any) -> None:
    task = sensor(sender=NUMBER, deferrable=True, outlets=[Asset("mms://answer")])
    assert trigger_of(task, context).resume
    arrive(store, "1")
    arrive(store, "2")
    assert task.execute_complete(context, {"id": 2})["id"] == 2
    # Pruned meanwhile, or dag.test(), which hands over the name of a state.
    assert task.execute_complete(context, {"id": 9})["id"] == 1
    assert task.execute_complete(context, "success")["id"] == 1


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
@pytest.mark.parametrize("deferrable", [False, True])
def test_it_times_out(store: Store, context: Any, deferrable: bool, soft_fail: bool, error: type[Exception]) -> None:
    task = sensor(sender=NUMBER, timeout=0, soft_fail=soft_fail, deferrable=deferrable)
    end = partial(task.resume_execution, TRIGGER_FAIL_REPR, TIMED_OUT) if deferrable else task.execute
    with pytest.raises(error):
        end(context)


def test_a_last_look_finds_what_the_triggerer_missed(store: Store, context: Any) -> None:
    arrive(store, "1")
    assert sensor(sender=NUMBER, deferrable=True).resume_execution(TRIGGER_FAIL_REPR, TIMED_OUT, context)["id"] == 1


def test_a_store_that_is_away_is_asked_again(store: Store, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    arrive(store, "1")
    task = sensor(sender=NUMBER)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "first_inbound", away)
        for _ in range(MAX_FAILED_POLLS - 1):
            assert not task.poke(context).is_done
        with pytest.raises(StoreUnavailable):
            task.poke(context)
    assert task.poke(context).is_done


def test_it_warns_once_without_a_receiver_and_tells_no_number(store: Store, context: Any) -> None:
    task = sensor(sender=NUMBER)
    with capture_logs() as logged:
        for _ in range(2):
            task.poke(context)
    warned = [line for line in logged if "No receiver" in line["event"]]
    assert len(warned) == 1
    assert "64211234567" not in str(logged)
