from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from structlog.testing import capture_logs

from airflow_provider_mm7.exceptions import InputError, StoreUnavailable
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor
from airflow_provider_mm7.store import DeliverySummary, Origin, ReportKind, Store, open_store
from airflow_provider_mm7.triggers.mm7 import DeliveryReportTrigger
from airflow_provider_mm7.triggers.poll import MAX_FAILED_POLLS
from tests.support.empty_ledgers import empty_ledger
from tests.support.ledger import report, send

PATIENCE_S = 30
TIMED_OUT = {"error": "Trigger timeout"}
CRASHED = {"error": "Trigger failure", "traceback": ["boom"]}


class TaskInstance:
    """What of a running task instance the sensor uses."""

    def __init__(self, first_reschedule: datetime | None = None) -> None:
        self.xcoms: dict[str, Any] = {}
        self._first_reschedule = first_reschedule

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self._first_reschedule


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance()


@pytest.fixture(autouse=True)
def dag() -> Iterator[DAG]:
    with DAG("dag") as made:
        yield made


def sensor(**arguments: Any) -> DeliveryReportSensor:
    defaults: dict[str, Any] = {
        "task_id": "arrived",
        "poke_interval": 0.01,
        "timeout": 60,
        "retries": 0,
        "deferrable": False,
    }
    return DeliveryReportSensor(**defaults | arguments)


def execute(task: DeliveryReportSensor, ti: TaskInstance) -> Any:
    return task.execute({"ti": ti})  # type: ignore[typeddict-item]  # a part of the context


def resume(task: DeliveryReportSensor, ti: TaskInstance, method: str, kwargs: dict[str, Any]) -> Any:
    return task.resume_execution(method, kwargs, {"ti": ti})  # type: ignore[typeddict-item]


def deferral_of(task: DeliveryReportSensor, ti: TaskInstance) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferral:
        execute(task, ti)
    return deferral.value


def event_of(deferral: TaskDeferred) -> TriggerEvent:
    """Run the deferral's trigger as a triggerer does: made again from what it serialises to."""
    path, kwargs = deferral.trigger.serialize()
    assert path.endswith(".DeliveryReportTrigger")

    async def first() -> TriggerEvent:
        async for event in DeliveryReportTrigger(**kwargs | {"poll_interval_s": 0.1}).run():
            return event
        raise AssertionError("no event")

    return asyncio.run(asyncio.wait_for(first(), PATIENCE_S))


DELIVERED = {"total": 2, "accepted": 2, "delivered": 2, "failed": 0, "ambiguous": 0, "pending": 0}


@pytest.mark.parametrize("deferrable", [False, True])
def test_delivered_already_it_succeeds_at_once(store: Store, ti: TaskInstance, deferrable: bool) -> None:
    batch_id, messages = send(store, "k", accepted=2)
    report(store, messages, "Retrieved")
    expected = {"batch_id": batch_id, "by_status": {"Retrieved": 2}} | DELIVERED
    assert execute(sensor(batch_id=batch_id, deferrable=deferrable), ti) == expected


def test_poking_it_waits_for_the_last_report(store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id, messages = send(store, "k", accepted=2)
    to_come = list(messages)
    original = Store.delivery_of_batches

    def asked(self: Store, batch_ids: Iterable[str]) -> dict[str, DeliverySummary]:
        summary = original(self, batch_ids)
        if to_come:
            report(store, [to_come.pop()], "Retrieved")
        return summary

    monkeypatch.setattr(Store, "delivery_of_batches", asked)
    result = execute(sensor(batch_id=batch_id), ti)
    assert (result["delivered"], to_come) == (2, [])


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({}, AirflowFailException),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_out_of_reach_it_fails_for_good_or_skips_with_its_counts(
    store: Store, ti: TaskInstance, deferrable: bool, flags: dict[str, bool], error: type[Exception]
) -> None:
    batch_id, messages = send(store, "k", accepted=3)
    report(store, messages[:1], "Expired")
    with pytest.raises(error, match=f"batch {batch_id}: 0 of 3 accepted messages delivered, 1 failed"):
        execute(sensor(batch_id=batch_id, deferrable=deferrable, **flags), ti)
    assert ti.xcoms["return_value"]["failed"] == 1
    assert ti.xcoms["return_value"]["pending"] == 2


def test_no_counts_are_pushed_when_the_user_wants_none(store: Store, ti: TaskInstance) -> None:
    batch_id, _ = send(store, "k", refused=1)
    with pytest.raises(AirflowFailException, match="0 of 0 accepted"):
        execute(sensor(batch_id=batch_id, do_xcom_push=False), ti)
    assert not ti.xcoms


def test_an_unknown_batch_fails_at_once(store: Store, ti: TaskInstance) -> None:
    with pytest.raises(AirflowFailException, match="b0123 is not in the store"):
        execute(sensor(batch_id="b0123"), ti)
    assert not ti.xcoms


def test_messages_are_waited_for_by_id(store: Store, ti: TaskInstance) -> None:
    report(store, ["m1", "m2"], "Delivered")
    result = execute(sensor(message_ids=["m1", "m2", "m1"]), ti)
    assert result == {"batch_id": None, "by_status": {"Delivered": 2}} | DELIVERED
    assert execute(sensor(task_id="one", message_ids="m1"), ti)["delivered"] == 1


@pytest.mark.parametrize("message_ids", ["{{ id }}", ["{{ id }}", "{{ id }}"]])
def test_ids_that_templates_made_integers(store: Store, ti: TaskInstance, message_ids: Any) -> None:
    """As a DAG with ``render_template_as_native_obj`` does of those of a carrier that numbers its messages."""
    report(store, ["369500617770864640"], "Delivered")
    with DAG("native", render_template_as_native_obj=True):
        task = sensor(message_ids=message_ids)
    task.render_template_fields({"id": "369500617770864640"})  # type: ignore[typeddict-unknown-key]
    assert execute(task, ti)["delivered"] == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_waits_as_far_as_it_is_told(store: Store, ti: TaskInstance, deferrable: bool) -> None:
    batch_id, messages = send(store, "k", accepted=2, refused=1)
    asked: dict[str, Any] = {"batch_id": batch_id, "deferrable": deferrable}
    assert execute(sensor(task_id="sent", wait_for="submitted", min_delivered_ratio=0.6, **asked), ti)["accepted"] == 2
    with pytest.raises(AirflowFailException, match="2 of 3 messages accepted"):
        execute(sensor(task_id="all", wait_for="submitted", **asked), ti)
    report(store, messages, "Read", kind=ReportKind.READ)
    result = execute(sensor(task_id="read", wait_for="read", **asked), ti)
    assert (result["read"], result["by_read_status"], result["delivered"]) == (2, {"Read": 2}, 0)
    waiting = sensor(task_id="delivered", batch_id=batch_id, deferrable=True)
    assert deferral_of(waiting, ti).trigger.serialize()[1]["wait_for"] == "delivered"
    with pytest.raises(InputError, match="wait_for"):
        sensor(task_id="wrong", wait_for="seen", batch_id=batch_id)


@pytest.mark.parametrize("asks", [None, False, True])
def test_read_replies_that_nobody_asked_for_are_warned_of(
    store: Store, ti: TaskInstance, dag: DAG, asks: bool | None
) -> None:
    SendMMSOperator(task_id="send", to=["+64211234567"], read_reply=asks)
    origin = Origin(dag_id="dag", run_id="r", task_id="send", map_index=-1)
    store.open_batch("mine", conn_id="mm7_default", origin=origin)
    store.open_batch("others", conn_id="mm7_default", origin=replace(origin, dag_id="other"))
    for key, wait_for in (("mine", "read"), ("mine", "delivered"), ("others", "read")):
        batch_id, _ = send(store, key, accepted=1)
        waiting = sensor(task_id=f"{key}_{wait_for}", batch_id=batch_id, wait_for=wait_for, deferrable=True)
        with capture_logs() as logged:
            deferral_of(waiting, ti)
        warned = [line for line in logged if "read_reply=True" in line["event"]]
        assert len(warned) == (key == "mine" and wait_for == "read" and not asks)


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_poking_it_times_out(store: Store, ti: TaskInstance, soft_fail: bool, error: type[Exception]) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    with pytest.raises(error):
        execute(sensor(batch_id=batch_id, timeout=0, soft_fail=soft_fail), ti)


# --- deferred


def test_it_defers_with_its_parameters(store: Store, ti: TaskInstance) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    deferral = deferral_of(
        sensor(
            batch_id=batch_id,
            deferrable=True,
            delivered_statuses=["Retrieved"],
            min_delivered_ratio=0.5,
            poke_interval=timedelta(seconds=7),
            timeout=timedelta(hours=1),
            soft_fail=True,
        ),
        ti,
    )
    assert deferral.method_name == "execute_complete"
    assert deferral.timeout == timedelta(hours=1)
    assert deferral.trigger.serialize()[1] == {
        "batch_id": batch_id,
        "message_ids": [],
        "delivered_statuses": ["Retrieved"],
        "min_delivered_ratio": 0.5,
        "wait_for": "delivered",
        "poll_interval_s": 7.0,
        "skip_on_failure": True,
        "resume_on": [],
    }


@pytest.mark.parametrize(
    ("status", "arguments", "kind"),
    [
        ("Retrieved", {}, TaskSuccessEvent),
        ("Expired", {}, TaskFailedEvent),
        ("Expired", {"soft_fail": True, "retries": 2}, TaskSkippedEvent),
        ("Expired", {"never_fail": True, "retries": 2}, TaskSkippedEvent),
        # Where such an event would lose something: asset events, pushed values, the end of all retries, a callback.
        ("Retrieved", {"outlets": [Asset("s3://news/sent")]}, TriggerEvent),
        ("Expired", {"outlets": [Asset("s3://news/sent")]}, TaskFailedEvent),
        ("Retrieved", {"multiple_outputs": True}, TriggerEvent),
        ("Retrieved", {"do_xcom_push": False}, TriggerEvent),
        ("Expired", {"retries": 2}, TriggerEvent),
        ("Retrieved", {"retries": 2}, TaskSuccessEvent),
        ("Expired", {"do_xcom_push": False}, TriggerEvent),
        ("Expired", {"soft_fail": True, "on_skipped_callback": print}, TriggerEvent),
    ],
)
def test_the_trigger_ends_the_task_unless_that_loses_something(
    store: Store, ti: TaskInstance, status: str, arguments: dict[str, Any], kind: type[TriggerEvent]
) -> None:
    batch_id, messages = send(store, "k", accepted=1)
    task = sensor(batch_id=batch_id, deferrable=True, **arguments)
    deferral = deferral_of(task, ti)
    report(store, messages, status)
    event = event_of(deferral)
    assert type(event) is kind
    if kind is not TriggerEvent:
        return
    if status == "Retrieved":
        assert resume(task, ti, "execute_complete", {"event": event.payload})["delivered"] == 1
    else:
        error = AirflowSkipException if task.soft_fail else AirflowFailException
        with pytest.raises(error, match="1 failed"):
            resume(task, ti, "execute_complete", {"event": event.payload})
        assert ("return_value" in ti.xcoms) is task.do_xcom_push


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("pushes", [False, True])
def test_what_others_may_read_is_pushed_on_a_worker(
    store: Store, ti: TaskInstance, *, mapped: bool, pushes: bool
) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    task = sensor(batch_id=batch_id, deferrable=True, do_xcom_push=pushes)
    if mapped:
        sensor(task_id="mapped", batch_id="b1").__class__.partial(task_id="after").expand(batch_id=task.output)
    else:
        task >> sensor(task_id="after", batch_id="b1")
    assert deferral_of(task, ti).trigger.serialize()[1]["resume_on"] == ["fail", "succeed"]


@pytest.mark.parametrize(("status", "ends"), [("Retrieved", "success"), ("Expired", "failed")])
def test_dag_test_resumes_with_a_states_name(store: Store, ti: TaskInstance, status: str, ends: str) -> None:
    batch_id, messages = send(store, "k", accepted=1)
    task = sensor(batch_id=batch_id, deferrable=True)
    deferral = deferral_of(task, ti)
    report(store, messages, status)
    payload = event_of(deferral).payload
    assert payload == ends
    if ends == "success":
        assert resume(task, ti, "execute_complete", {"event": payload})["delivered"] == 1
    else:
        with pytest.raises(AirflowFailException):
            resume(task, ti, "execute_complete", {"event": payload})


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({}, AirflowSensorTimeout),
        ({"soft_fail": True}, AirflowSkipException),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_a_deferral_that_times_out(
    store: Store, ti: TaskInstance, flags: dict[str, bool], error: type[Exception]
) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    with pytest.raises(error, match=f"batch {batch_id}: not decided within the timeout of 60 s"):
        resume(sensor(batch_id=batch_id, deferrable=True, **flags), ti, TRIGGER_FAIL_REPR, TIMED_OUT)


def test_a_deferral_that_times_out_looks_once_more(store: Store, ti: TaskInstance) -> None:
    batch_id, messages = send(store, "k", accepted=1)
    report(store, messages, "Retrieved")
    task = sensor(batch_id=batch_id, deferrable=True)
    assert resume(task, ti, TRIGGER_FAIL_REPR, TIMED_OUT)["delivered"] == 1


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({}, TaskDeferralError),
        # A crash is not a verdict: hidden behind a skip, an outage would look like an undelivered batch.
        ({"soft_fail": True}, TaskDeferralError),
        ({"never_fail": True}, AirflowSkipException),
    ],
)
def test_a_trigger_that_crashed(store: Store, ti: TaskInstance, flags: dict[str, bool], error: type[Exception]) -> None:
    with pytest.raises(error):
        resume(sensor(batch_id="b1", deferrable=True, **flags), ti, TRIGGER_FAIL_REPR, CRASHED)


# --- the store


def always_away(self: Store, batch_ids: Iterable[str]) -> dict[str, DeliverySummary]:
    raise StoreUnavailable("away")


def test_poking_it_outlives_short_outages(store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_id, messages = send(store, "k", accepted=1)
    original = Store.delivery_of_batches
    outage = [True] * (MAX_FAILED_POLLS - 1)
    looks = iter([*outage, False, *outage, False])

    def away(self: Store, batch_ids: Iterable[str]) -> dict[str, DeliverySummary]:
        if next(looks):
            return always_away(self, batch_ids)
        summary = original(self, batch_ids)
        report(store, messages, "Retrieved")
        return summary

    monkeypatch.setattr(Store, "delivery_of_batches", away)
    assert execute(sensor(batch_id=batch_id), ti)["delivered"] == 1
    assert not list(looks)


@pytest.mark.parametrize("soft_fail", [False, True])
def test_poking_it_gives_up_on_a_long_outage(
    store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, soft_fail: bool
) -> None:
    monkeypatch.setattr(Store, "delivery_of_batches", always_away)
    with pytest.raises(StoreUnavailable, match="away"):
        execute(sensor(batch_id="b1", soft_fail=soft_fail), ti)


def test_deferrable_it_defers_through_an_outage(
    store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "delivery_of_batches", always_away)
    deferral_of(sensor(batch_id="b1", deferrable=True), ti)


def test_rescheduled_it_polls_through_an_outage_until_its_timeout(
    store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "delivery_of_batches", always_away)
    with pytest.raises(AirflowRescheduleException):
        execute(sensor(batch_id="b1", mode="reschedule"), ti)


def test_a_store_that_other_machines_cannot_see_is_refused(
    store: Store, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    with pytest.raises(AirflowFailException, match="PostgreSQL"):
        execute(sensor(batch_id="b1"), ti)


def test_it_says_once_that_nobody_receives(store: Store, ti: TaskInstance) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    task = sensor(batch_id=batch_id)
    assert warnings_of([task] * 3, ti) == ["No receiver writes to this MM7 store"]


def test_it_says_nothing_when_a_receiver_is_there(store: Store, ti: TaskInstance) -> None:
    store.heartbeat("receiver", "gateway", 4711)
    batch_id, _ = send(store, "k", accepted=1)
    assert not warnings_of([sensor(batch_id=batch_id)], ti)


def test_rescheduled_it_does_not_say_so_again(store: Store) -> None:
    batch_id, _ = send(store, "k", accepted=1)
    later = TaskInstance(first_reschedule=datetime.now().astimezone())
    assert not warnings_of([sensor(batch_id=batch_id, mode="reschedule")], later)


def warnings_of(tasks: list[DeliveryReportSensor], ti: TaskInstance) -> list[str]:
    with capture_logs() as logs:
        for task in tasks:
            task.poke({"ti": ti})  # type: ignore[typeddict-item]
    return [str(entry["event"]).partition(":")[0] for entry in logs if entry["log_level"] == "warning"]


# --- parameters


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "exactly one"),
        ({"batch_id": "b1", "message_ids": ["m1"]}, "exactly one"),
        ({"batch_id": "b1", "min_delivered_ratio": 1.5}, "min_delivered_ratio"),
        ({"batch_id": "b1", "delivered_statuses": ["Received"]}, "delivered_statuses"),
    ],
)
def test_wrong_parameters_are_errors_of_the_dag(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        sensor(**arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"batch_id": " "}, "batch_id: rendered to text"),
        ({"batch_id": {"batch_id": "b1"}}, r'batch_id: rendered to dict.*send.output\["batch_id"\]'),
        ({"batch_id": ["b1", "b2"]}, r"rendered to list of length 2.*\.expand"),
        ({"message_ids": []}, "message_ids: rendered to list of length 0"),
        ({"message_ids": ["m1", None]}, "message_ids: rendered to list of length 2"),
        ({"message_ids": {"m1": 1}}, "message_ids: rendered to dict"),
        ({"message_ids": "['m1', 'm2']"}, "a list was rendered to text"),
    ],
)
def test_templates_that_render_to_something_else_end_the_task(
    store: Store, ti: TaskInstance, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(AirflowFailException, match=problem):
        execute(sensor(**arguments), ti)


@pytest.mark.parametrize("deferrable", [False, True])
def test_under_never_fail_they_skip_it(store: Store, ti: TaskInstance, deferrable: bool) -> None:
    with pytest.raises(AirflowSkipException):
        execute(sensor(batch_id=["b1", "b2"], never_fail=True, deferrable=deferrable), ti)


def test_a_template_that_renders_to_nothing_ends_the_task(store: Store, ti: TaskInstance) -> None:
    task = sensor(batch_id="{{ none }}")
    task.batch_id = None
    with pytest.raises(AirflowFailException, match="message_ids: rendered to nothing"):
        execute(task, ti)


def test_the_batches_of_a_mapped_task_are_waited_for_as_the_error_says(
    store: Store, ti: TaskInstance, dag: DAG
) -> None:
    send = SendMMSOperator.partial(task_id="send", text="hello").expand(to=["+64211234567", "+64211234568"])
    with pytest.raises(AirflowFailException, match="of a mapped task") as caught:
        execute(sensor(batch_id=["b1", "b2"]), ti)
    remedy = str(caught.value).partition("of a mapped task, ")[2]
    mapped = DeliveryReportSensor.partial(task_id="mapped")
    eval(f"mapped{remedy}", {"mapped": mapped, "send": send})  # our own words
    assert dag.task_dict["mapped"].upstream_task_ids == {"send"}


def test_ids_are_templated_and_make_dependencies(dag: DAG) -> None:
    first = sensor(task_id="first", batch_id="{{ ds }}")
    second = sensor(task_id="second", batch_id=first.output["batch_id"])  # type: ignore[index]
    third = sensor(task_id="third", message_ids=second.output["message_ids"])  # type: ignore[index]
    assert set(DeliveryReportSensor.template_fields) == {"batch_id", "message_ids"}
    assert (second.upstream_task_ids, third.upstream_task_ids) == ({"first"}, {"second"})


def test_deferrable_follows_airflows_default() -> None:
    assert DeliveryReportSensor(task_id="t", batch_id="b1").deferrable is False
