"""MMSNotifier against the sandbox: what is said, to whom, how often, and what happens when something is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_mm7.hooks import alerts
from airflow_provider_mm7.notifications.mm7 import MMSNotifier
from airflow_provider_mm7.store import open_store
from tests.notifications.conftest import BASE_URL
from tests.notifications.contexts import bare_run_context, deadline_context, run_context, task_context
from tests.support.sandbox import RunningSandbox, wait_for
from tests.support.scripted import free_port

NUMBER = "+12025550110"
GIF = (Path(__file__).parents[2] / "example_dags" / "media" / "saturn.gif").read_bytes()

pytestmark = pytest.mark.usefixtures("ledger_url")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A storm is over sooner than in life; no watch outlives its test."""
    monkeypatch.setattr(alerts, "QUIET_S", 0.5)
    monkeypatch.setattr(alerts, "LOOK_S", 0.05)
    yield
    wait_for(lambda: alerts._watching, lambda watching: not watching)


def texts(received: dict[str, Any]) -> list[str]:
    return [part["text"] for part in received["parts"] if part["content_type"].startswith("text/plain")]


def said(sandbox: RunningSandbox) -> list[tuple[str, str]]:
    return [(one["subject"], "\n".join(texts(one))) for one in sandbox.accepted()]


@pytest.mark.parametrize(
    ("context", "subject", "text"),
    [
        (
            task_context(error=KeyError("a secret +64211234567"), try_number=2, map_index=3),
            "nightly.load failed",
            (
                f"Task load[3] of DAG nightly failed (KeyError).\nRun manual__1, try 2\n"
                f"{BASE_URL}/dags/nightly/runs/manual__1/tasks/load/mapped/3"
            ),
        ),
        (
            task_context(state="up_for_retry", run_id="manual__2026-01-02T00:00:00+00:00"),
            "nightly.load failed and is tried again",
            (
                "Task load of DAG nightly failed and is tried again.\nRun manual__2026-01-02T00:00:00+00:00, try 1\n"
                f"{BASE_URL}/dags/nightly/runs/manual__2026-01-02T00%3A00%3A00%2B00%3A00/tasks/load"
            ),
        ),
        (
            task_context(state="success"),
            "nightly.load succeeded",
            (
                "Task load of DAG nightly succeeded.\nRun manual__1, try 1\n"
                f"{BASE_URL}/dags/nightly/runs/manual__1/tasks/load"
            ),
        ),
        (
            run_context(),
            "nightly failed",
            f"DAG nightly failed.\nRun manual__1\n{BASE_URL}/dags/nightly/runs/manual__1",
        ),
        (
            run_context("success"),
            "nightly succeeded",
            f"DAG nightly succeeded.\nRun manual__1\n{BASE_URL}/dags/nightly/runs/manual__1",
        ),
        (
            bare_run_context(),
            "nightly failed",
            f"DAG nightly failed.\nRun manual__1\n{BASE_URL}/dags/nightly/runs/manual__1",
        ),
        (
            deadline_context(),
            "nightly missed its deadline",
            f"DAG nightly missed its deadline.\nRun manual__1\n{BASE_URL}/dags/nightly/runs/manual__1",
        ),
    ],
)
def test_what_is_said_by_default(connected: RunningSandbox, context: Any, subject: str, text: str) -> None:
    MMSNotifier(to=NUMBER)(context)
    (received,) = connected.accepted()
    assert received["valid"], received["problems"]
    assert received["recipients"] == [NUMBER]
    assert (received["subject"], texts(received)) == (subject, [text])


async def test_awaited(connected: RunningSandbox) -> None:
    # As the triggerer does.
    await MMSNotifier(to=NUMBER, text="{{ alert.event }}: {{ dag_run.dag_run_id }}", context=deadline_context())
    assert said(connected) == [("nightly missed its deadline", "missed its deadline: manual__1")]


def test_templates_are_rendered_for_each_of_an_objects_callbacks(connected: RunningSandbox) -> None:
    notifier = MMSNotifier(
        to=["{{ ti.task_id == 'one' and '+12025550111' or '+12025550112' }}"],
        subject="{{ alert.task_id }}\n",
        text="{{ run_id }} {{ alert.link }}",
        priority="High",
    )
    context = task_context("one")
    before = dict(context)
    notifier(context)
    notifier(task_context("two"))
    assert context == before
    sent = connected.accepted()
    assert [(one["subject"], one["recipients"]) for one in sent] == [
        ("one", ["+12025550111"]),
        ("two", ["+12025550112"]),
    ]
    assert texts(sent[1]) == [f"manual__1 {BASE_URL}/dags/nightly/runs/manual__1/tasks/two"]
    assert "Priority>High</" in sent[0]["soap"]
    assert "DeliveryReport>false</" in sent[0]["soap"]


def test_a_template_that_fails_gives_way_to_the_default(
    connected: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    MMSNotifier(to=NUMBER, subject="{{ ti.task_id }}", text="{{ ti.no.such.thing }}")(deadline_context())
    ((subject, text),) = said(connected)
    assert subject == "nightly missed its deadline"
    assert text.startswith("DAG nightly missed its deadline.")
    assert "text cannot be rendered" in caplog.text


def test_words_that_templates_made_numbers(connected: RunningSandbox) -> None:
    with DAG("native", render_template_as_native_obj=True) as dag:
        pass
    context = {**task_context(), "dag": dag, "rows": "1204", "price": "12.5"}
    MMSNotifier(to=NUMBER, subject="{{ rows }}", text="{{ price }}")(context)
    MMSNotifier(to="+12025550111", text=["{{ rows }}", "rows"])(context)
    assert said(connected) == [("1204", "12.5"), ("nightly.load failed", "1204\nrows")]


@pytest.mark.parametrize(
    "made",
    [
        lambda context, folder: GIF,
        lambda context, folder: [bytearray(GIF)],
        lambda context, folder: folder / "saturn.gif",
        lambda context, folder: (folder / "saturn.gif").as_uri(),
    ],
)
def test_a_picture_from_a_callable(connected: RunningSandbox, made: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    (tmp_path / "saturn.gif").write_bytes(GIF)
    given = []

    def draw(context: Any) -> Any:
        given.append(context["ti"].task_id)
        return made(context, tmp_path)

    MMSNotifier(to=NUMBER, text="see", media=draw)(task_context())
    assert given == ["load"]
    (received,) = connected.accepted()
    pictures = [part for part in received["parts"] if part["content_type"].startswith("image/gif")]
    assert [part["size"] for part in pictures] == [len(GIF)]


@pytest.mark.parametrize(
    "media", [lambda context: 1 / 0, lambda context: 42, lambda context: b"\0\1\2", "/no/such.gif"]
)
def test_an_alert_goes_without_a_picture_that_cannot_be_had(
    connected: RunningSandbox, media: Any, caplog: pytest.LogCaptureFixture
) -> None:
    MMSNotifier(to=NUMBER, text="see", media=media)(task_context())
    (received,) = connected.accepted()
    assert texts(received) == ["see"]
    assert not [part for part in received["parts"] if part["content_type"].startswith("image/")]
    assert "picture" in caplog.text


def test_the_same_try_is_alerted_of_once(connected: RunningSandbox) -> None:
    notifier = MMSNotifier(to=[NUMBER, "+12025550119"], text="{{ alert.try_number }}")
    for context in (task_context(), task_context(), task_context(try_number=2), task_context(state="success")):
        notifier(context)
    MMSNotifier(to=["+12025550119", NUMBER])(task_context())
    MMSNotifier(to="+12025550118", text="another")(task_context())
    assert [one["recipients"][0] for one in connected.accepted()].count("+12025550118") == 1
    assert [text for _, text in said(connected)] == ["1", "1", "2", "2", "1", "1", "another"]


def test_a_run_that_was_cleared_is_alerted_of_again(connected: RunningSandbox) -> None:
    for number in (0, 0, 1):
        MMSNotifier(to=NUMBER)(run_context(clear_number=number))
    assert len(connected.accepted()) == 2


# -- the limit ---------------------------------------------------------------------------------------------------------


def test_beyond_the_limit_one_message_tells_how_many(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = MMSNotifier(to=NUMBER, burst=2, max_per_hour=1)
    for index in range(9):
        notifier(task_context(f"t{index}"))
    sent = wait_for(lambda: said(connected), lambda sent: len(sent) == 3)
    assert [subject for subject, _ in sent] == [
        "nightly.t0 failed",
        "nightly.t1 failed",
        "7 more failures of DAG nightly",
    ]
    assert sent[2][1].endswith(f"UTC, not told of one by one.\n{BASE_URL}/dags/nightly")
    wait_for(lambda: alerts._watching, lambda watching: not watching)
    # Another storm in the same hour is counted, and told with the next alert that may leave.
    for index in range(3):
        notifier(task_context(f"u{index}", state="success"))
    assert not alerts._watching
    MMSNotifier(to=NUMBER, max_per_hour=None)(task_context("last"))
    ((subject, text),) = said(connected)[3:]
    assert subject == "nightly.last failed"
    assert "3 more alerts of DAG nightly" in text


def test_a_callback_that_ends_its_process_waits_for_the_end_of_the_storm(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    notifier = MMSNotifier(to=NUMBER, burst=1, max_per_hour=1)
    for index in range(2):
        notifier(task_context(f"t{index}"))
    assert [subject for subject, _ in said(connected)] == ["nightly.t0 failed", "1 more failure of DAG nightly"]


def test_a_process_that_airflow_is_about_to_end_does_not_wait(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time import task_runner

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    monkeypatch.setattr(alerts, "QUIET_S", 600.0)
    ended_at = datetime.now(UTC) - timedelta(seconds=15)
    for index in range(2):
        MMSNotifier(to=NUMBER, burst=1, max_per_hour=1)(task_context(f"t{index}", end_date=ended_at))
    assert said(connected)[1][0] == "1 more failure of DAG nightly"


async def test_awaited_beyond_the_limit(connected: RunningSandbox) -> None:
    for index in range(2):
        await MMSNotifier(to=NUMBER, burst=1, max_per_hour=1, context=deadline_context(f"d{index}"))
    assert [subject for subject, _ in said(connected)] == [
        "nightly missed its deadline",
        "1 more alert of DAG nightly",
    ]


def test_dags_and_people_have_limits_of_their_own(connected: RunningSandbox) -> None:
    for dag_id in ("a", "b"):
        for number in (NUMBER, "+12025550112"):
            MMSNotifier(to=number, burst=1, max_per_hour=1)(task_context(dag_id=dag_id))
    assert len(connected.accepted()) == 4


def test_dags_may_share_a_limit(connected: RunningSandbox) -> None:
    for dag_id in ("a", "b", "c"):
        MMSNotifier(to=NUMBER, burst=1, max_per_hour=1, limit_key="the warehouse")(task_context(dag_id=dag_id))
    sent = wait_for(lambda: said(connected), lambda sent: len(sent) == 2)
    assert sent[1][0] == "2 more failures of the warehouse"


def test_an_alert_that_was_not_sent_is_told_of_later(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = os.environ["AIRFLOW_CONN_MM7_DEFAULT"]
    monkeypatch.setattr(alerts, "TIME_S", 1.0)
    monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", url.replace(connected.url, f"http://127.0.0.1:{free_port()}/"))
    MMSNotifier(to=NUMBER)(task_context("lost"))
    assert "alert not sent" in caplog.text
    monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", url)
    MMSNotifier(to=NUMBER)(task_context("next"))
    MMSNotifier(to=NUMBER)(task_context("one more"))
    assert [subject for subject, _ in said(connected)] == ["nightly.next failed", "nightly.one more failed"]
    assert "1 more failure of DAG nightly" in said(connected)[0][1]


# -- nothing is raised -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"to": "5"}, "to[0]"),
        ({"to": "{{ params.nobody }}"}, "'params' is undefined"),
        ({"to": ""}, "to: no recipient"),
        ({"to": NUMBER, "max_per_hour": 0}, "max_per_hour"),
        ({"to": NUMBER, "mm7_conn_id": "no_such_connection"}, "no_such_connection"),
        ({"to": "+15005552003"}, "1 refused"),
    ],
)
def test_nothing_is_raised_and_no_number_logged(
    connected: RunningSandbox, parameters: dict[str, Any], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    MMSNotifier(**parameters)(task_context())
    (error,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert error.getMessage().startswith("alert not sent: ")
    assert problem in error.getMessage()
    assert "15005552003" not in caplog.text


def test_a_store_that_cannot_be_used_raises_nothing(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", "sqlite:////dev/null/mm7.db")
    MMSNotifier(to=NUMBER)(task_context())
    assert "alert not sent: The store" in caplog.text


def test_a_context_that_nobody_expected(connected: RunningSandbox, caplog: pytest.LogCaptureFixture) -> None:
    MMSNotifier(to=NUMBER)({})
    MMSNotifier(to=NUMBER)(None)
    assert len(connected.accepted()) == 1


def test_an_alert_belongs_to_its_task(connected: RunningSandbox, ledger_url: str) -> None:
    MMSNotifier(to=NUMBER)(task_context(map_index=2))
    (batch,) = open_store(ledger_url).list_batches()
    origin = batch.origin
    assert (origin.dag_id, origin.run_id, origin.task_id, origin.map_index) == ("nightly", "manual__1", "load", 2)
