"""A marker wherever a connection may hold a secret, looked for wherever Airflow shows or writes something."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow._shared.secrets_masker import _secrets_masker as core_masker
from airflow.api_fastapi.core_api.datamodels.connections import ConnectionBody, ConnectionResponse
from airflow.api_fastapi.core_api.services.public.connections import update_orm_from_pydantic
from airflow.models.connection import Connection
from airflow.sdk._shared.secrets_masker import _secrets_masker as task_masker

from airflow_provider_mm7.exceptions import ConnectionConfigError, MM7Error
from airflow_provider_mm7.hooks.masking import hide_secret_fields
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.protocol import Address, Recipients, SubmitReq
from tests.support.scripted import Exchange, scripted

PASSWORD, HEADER, CALLBACK = "marker-pass-81", "marker-head-82", "marker-call-83"
MARKERS = (PASSWORD, HEADER, CALLBACK)
REQUEST = SubmitReq(recipients=Recipients(to=(Address(value="+64211234567"),)))


def extra(**more: Any) -> dict[str, Any]:
    """Extra as the form saves it."""
    return {
        "headers": json.dumps({"X-Gate": HEADER}),
        "callback_login": "cb",
        "callback_password": CALLBACK,
        "read_timeout_s": 0.3,
        **more,
    }


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MM7Hook]:
    def make(url: str, **more: Any) -> MM7Hook:
        connection = {"conn_type": "mm7", "host": url, "login": "user", "password": PASSWORD, "extra": extra(**more)}
        monkeypatch.setenv("AIRFLOW_CONN_MM7_MARKED", json.dumps(connection))
        return MM7Hook(mm7_conn_id="mm7_marked")

    return make


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Maskers that know nothing before, and nothing after."""
    maskers = (core_masker(), task_masker())
    kept = [(one, set(one.patterns), one.replacer, list(one.sensitive_variables_fields)) for one in maskers]
    for one in maskers:
        one.reset_masker()  # type: ignore[no-untyped-call]
    yield
    for one, patterns, replacer, names in kept:
        one.patterns, one.replacer, one.sensitive_variables_fields = patterns, replacer, names


def assert_clean(text: str) -> None:
    assert [one for one in MARKERS if one in text] == []


def echo(peer: Exchange) -> None:
    """Answer with everything that was sent, credentials included, as an indiscreet server would."""
    request = peer.read()
    peer.answer("500 Oops", request.head.encode(), headers={"X-Echo": request.head.replace("\r\n", " ")})


def reset(peer: Exchange) -> None:
    peer.read_head()
    peer.reset()


def silent(peer: Exchange) -> None:
    peer.read()
    peer.server.released.wait(20)


def status(code: str) -> Callable[[Exchange], None]:
    def script(peer: Exchange) -> None:
        request = peer.read()
        peer.answer(code, request.head.encode(), headers={"Location": f"http://x/?{PASSWORD}", "WWW-Authenticate": "x"})

    return script


@pytest.mark.parametrize(
    "script", [echo, reset, silent, *map(status, ("200 OK", "302 Found", "401 No", "403 No", "404 No", "503 No"))]
)
@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_no_error_and_no_log_holds_a_secret(
    connect: Callable[..., MM7Hook], caplog: pytest.LogCaptureFixture, script: Callable[[Exchange], None], auth: str
) -> None:
    with caplog.at_level(logging.DEBUG), scripted(script) as server:
        hook = connect(server.url, auth=auth)
        with hook, pytest.raises(MM7Error) as caught:
            hook.submit(REQUEST)
        _, told = hook.test_connection()
        server.released.set()
    assert_clean("".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__))
    assert_clean(told)
    assert_clean(caplog.text)
    assert_clean(repr(hook.settings) + repr(hook.settings.endpoint))


@pytest.mark.parametrize("url", ["https://mmsc.invalid/mm7", "http://127.0.0.1:1/", "http://127.0.0.1:99999/"])
def test_no_error_of_a_connection_that_fails_holds_one(connect: Callable[..., MM7Hook], url: str) -> None:
    hook = connect(url)
    with hook, pytest.raises(MM7Error) as caught:
        hook.submit(REQUEST)
    assert_clean("".join(traceback.format_exception(caught.value)) + hook.test_connection()[1])


@pytest.mark.parametrize(
    "broken",
    [
        {"headers": f"{{'X-Gate': '{HEADER}'}}"},
        {"headers": {"X-Gate": f"{HEADER}\n"}, "callback_login": ""},
        {"headers": {HEADER + " ": "x"}},
        {"headers": {"X-Gate": f"{HEADER}\nX: y"}},
        {"headers": {"X-Gate": [HEADER]}},
        {"callback_password": [CALLBACK]},
    ],
)
def test_no_complaint_about_a_field_holds_one(connect: Callable[..., MM7Hook], broken: dict[str, Any]) -> None:
    hook = connect("https://mmsc.example/mm7", **broken)
    with pytest.raises(ConnectionConfigError) as caught:
        _ = hook.settings
    assert_clean("".join(traceback.format_exception(caught.value)) + hook.test_connection()[1])


@pytest.mark.usefixtures("forgetful")
def test_rendered_templates_are_masked_before_airflow_stores_them(connect: Callable[..., MM7Hook]) -> None:
    connect("https://mmsc.example/mm7")
    operator = SendMMSOperator(
        task_id="send", to="+64211234567", mm7_conn_id="{{ chosen }}", subject="{{ secret }}", text=["x {{ secret }}"]
    )
    context: Any = {"secret": " ".join(MARKERS), "chosen": "mm7_marked"}
    operator.render_template_fields(context)

    assert operator.subject == " ".join(MARKERS)
    shown = {name: task_masker().redact(getattr(operator, name), name) for name in operator.template_fields}
    assert_clean(repr(shown))
    assert shown["subject"] == "*** *** ***"


def test_rendering_does_not_fail_for_a_connection_that_cannot_be_read() -> None:
    operator = SendMMSOperator(task_id="send", to="+64211234567", subject="{{ ds }}", mm7_conn_id="nowhere")
    operator.render_template_fields({"ds": "2026-01-01"})
    assert operator.subject == "2026-01-01"


# --- the API, by Airflow's own models --------------------------------------------------------------------------------


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("headers", [{"X-Gate": HEADER}, json.dumps({"X-Gate": HEADER})])
def test_the_api_shows_none_and_the_form_saves_none_away(headers: Any) -> None:
    hide_secret_fields()
    hide_secret_fields()
    given = extra(headers=headers, vaspid="TNN")
    stored = Connection(
        conn_id="c", conn_type="mm7", host="https://h/", login="u", password=PASSWORD, extra=json.dumps(given)
    )
    answer = ConnectionResponse.model_validate(stored, from_attributes=True)

    assert_clean(answer.model_dump_json())
    shown = json.loads(str(answer.extra))
    assert (shown["vaspid"], shown["callback_login"], shown["callback_password"]) == ("TNN", "cb", "***")
    # What the form sends when one field is changed: the others as they were shown.
    shown["vaspid"] = "New"
    sent = {"connection_id": "c", "conn_type": "mm7", "host": "https://h/", "login": "u", "extra": json.dumps(shown)}
    body = ConnectionBody.model_validate(sent)
    update_orm_from_pydantic(stored, body)
    assert json.loads(str(stored.extra)) == {**given, "vaspid": "New"}
    assert core_masker().sensitive_variables_fields.count("headers") == 1


def test_the_api_server_hides_them_and_no_other_component_does() -> None:
    code = """
from airflow import settings
from airflow._shared.secrets_masker import should_hide_value_for_key
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key as in_tasks
from airflow_provider_mm7.plugins.mm7 import MM7Plugin
print(should_hide_value_for_key("headers"))
MM7Plugin.fastapi_apps
print(should_hide_value_for_key("headers"), in_tasks("headers"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "True", "False"]
