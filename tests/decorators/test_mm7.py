"""``@task.mms``: what a function may return, and Airflow's own ways with the task."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_mm7.decorators.mm7 import FIELDS, mms_task, read_message
from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from tests.operators.conftest import TaskInstance, connect, ledger_url
from tests.support.dag_file import TAIL, run_dag_file
from tests.support.mmsc import mmsc

pytestmark = pytest.mark.long

__all__ = ["connect", "ledger_url"]

NUMBER = "+64211234567"


def decorated(function: Callable[..., Any], *arguments: Any, **parameters: Any) -> Any:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        returned: Any = mms_task(function, task_id="send", **parameters)(*arguments)
        return returned.operator


def execute(task: Any, **context: Any) -> dict[str, Any]:
    ti = TaskInstance()
    task.render_template_fields({"ti": ti, **context})
    result: dict[str, Any] = task.execute({"ti": ti, **context})
    return result


def test_what_the_function_leaves_out_is_the_decorators(connect: Callable[..., None]) -> None:
    def news(city: str, ds: str | None = None) -> dict[str, Any]:
        return {"text": f"{city} on {ds}", "cc": "+64211234568"}

    with mmsc() as centre:
        connect(centre.url)
        result = execute(decorated(news, "{{ ds }}!", to=NUMBER, subject="of {{ ds }}"), ds="2026-01-02")
    assert result["accepted"] == 2
    assert set(centre.numbers) == {NUMBER, "+64211234568"}
    message: Any = centre.received[0].envelope.message
    assert message.subject == "of 2026-01-02"
    assert b"2026-01-02! on 2026-01-02" in centre.received[0].body


def test_media_and_templates_of_another(connect: Callable[..., None], tmp_path: Path) -> None:
    picture = Path(__file__).parents[2] / "example_dags" / "media" / "saturn.gif"
    with mmsc() as centre:
        connect(centre.url)
        execute(decorated(lambda: {"text": "{{ 1 / 0 }}", "media": [picture.as_uri()]}, to=NUMBER))
    assert b"{{ 1 / 0 }}" in centre.received[0].body
    assert picture.read_bytes() in [part.body for part in centre.received[0].envelope.parts]


async def _later() -> str:
    return "later"


def _several() -> Iterator[str]:
    yield "one"


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (lambda: None, "the function returned nothing. Return a text or a dictionary; raise AirflowSkipException"),
        (lambda: 42, "the function returned int. Return a text, or a dictionary such as"),
        (lambda: ["+64211234567"], "the function returned list."),
        (lambda: {"body": "x", "recipient": NUMBER}, "a message has no 'body', 'recipient'. Give some of: to, cc"),
        (lambda: {NUMBER: "x"}, "a message has no '(no name)'."),
        (_later, "the function is asynchronous or a generator."),
        (_several, "the function is asynchronous or a generator."),
        (lambda: {"text": ""}, "text: neither text nor media"),
        (lambda: {"to": [], "text": "x"}, "to: no recipient"),
        (lambda: {"to": [64211234567.0], "text": "x"}, "to[0]: is of type float"),
    ],
)
def test_what_is_no_message(connect: Callable[..., None], returned: Callable[[], Any], problem: str) -> None:
    with mmsc() as centre:
        connect(centre.url)
        with pytest.raises(AirflowFailException, match=re.escape(problem)) as caught:
            execute(decorated(returned, to=NUMBER))
        assert centre.posts == 0
    assert NUMBER not in str(caught.value)
    assert "64211234567" not in str(caught.value)


def test_a_text() -> None:
    assert read_message("hello") == {"text": "hello"}
    with pytest.raises(InputError):
        read_message(b"hello")


def test_every_field_is_a_parameter_of_the_operator() -> None:
    with DAG("dag", schedule=None):
        operator = SendMMSOperator(task_id="send", to=NUMBER, text="x")
    assert all(hasattr(operator, field) for field in FIELDS)


def test_in_a_dag_run(tmp_path: Path) -> None:
    assert "AIRFLOW_HOME" in os.environ
    result, output = run_dag_file(Path(__file__).parent / "dags" / "decorated.py", tmp_path)

    assert [tuple(one) for one in result["states"]] == [
        ("broken", -1, "failed"),
        ("collect", -1, "success"),
        ("downstream", -1, "success"),
        ("mapped", 0, "success"),
        ("mapped", 1, "success"),
        ("mistyped", -1, "failed"),
        ("nothing", -1, "failed"),
        ("people", -1, "success"),
        ("plain", -1, "success"),
        ("refused", -1, "failed"),
        ("renamed", -1, "success"),
        ("skipped", -1, "skipped"),
        ("some", 0, "success"),
        ("some", 1, "failed"),
    ], output[-TAIL:]
    assert [result["tries"][task] for task in ("nothing", "mistyped", "refused", "broken")] == [1, 1, 1, 1]
    assert result["returned"]["downstream"] is True
    assert result["returned"]["collect"] is True
    contract = result["returned"]["refused"]
    assert (contract["total"], contract["refused"], contract["accepted"]) == (1, 1, 0)
    assert [(one["recipient"], one["status_code"]) for one in contract["messages"]] == [("+64211234512", 2002)]
    assert result["received"] == {
        "+64211234500": ["manual", None, True, ["run True {{ this }} is data"]],
        "+64211234501": ["mapped", "High", True, ["manual", "twice"]],
        "+64211234502": ["mapped", "High", True, ["manual", "twice"]],
        "+64211234503": [None, None, False, ["bare"]],
        "+64211234512": [None, None, True, ["no"]],
        "+64211234515": [None, None, True, ["1"]],
    }
    assert "the function returned nothing" in output
    assert "a message has no 'body'" in output
    assert "hunter2" not in output
    # Errors are logged, and so is what a task returned; none of our lines tells a number.
    assert "21123451" not in output
