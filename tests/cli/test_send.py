"""``airflow mm7 send`` to a sandbox, which is asked what it received."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.airflow_cli import AirflowHome, Commands
from tests.support.sandbox import RunningSandbox
from tests.support.scripted import free_port

pytestmark = pytest.mark.long

GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
TO = "+64219876543"
#: A recipient whom the sandbox refuses with status 2002.
REFUSED = "+15005552002"


@pytest.fixture
def picture(tmp_path: Path) -> str:
    file = tmp_path / "saturn.gif"
    file.write_bytes(GIF)
    return file.as_uri()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes connection mm7_default."""

    def make(url: str, **extra: Any) -> None:
        columns = {"conn_type": "mm7", "host": url, "login": "sandbox", "password": "sandbox", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", json.dumps(columns))

    return make


def test_a_connection_made_in_the_ui_is_found(airflow_home: AirflowHome, sandbox: RunningSandbox, picture: str) -> None:
    fields = {"vaspid": "TNN", "vasid": "News", "headers": '{"X-Api-Key": "header-9f2"}'}
    added = airflow_home.run(
        *("connections", "add", "mms_ui", "--conn-type", "mm7", "--conn-host", sandbox.url),
        *("--conn-login", sandbox.login, "--conn-password", sandbox.password, "--conn-extra", json.dumps(fields)),
    )
    assert added.returncode == 0, added.stderr

    sent = airflow_home.json(
        *("mm7", "send", "--conn-id", "mms_ui", "--to", f"{TO},+64219876544", "--to", "+64219876545"),
        *("--subject", "Breaking News", "--text", "Science news", "--media", picture, "--idempotency-key", "k1"),
    )

    assert (sent["total"], sent["accepted"], sent["refused"], sent["unknown"], sent["planned"]) == (3, 3, 0, 0, 0)
    received = sandbox.messages()
    assert {message["message_id"] for message in sent["messages"]} == {one["message_id"] for one in received}
    assert {number for one in received for number in one["recipients"]} == {TO, "+64219876544", "+64219876545"}
    assert {(one["vasp_id"], one["vas_id"], one["subject"]) for one in received} == {("TNN", "News", "Breaking News")}
    assert {part["content_type"].split(";")[0] for part in received[0]["parts"]} == {
        "application/smil",
        "text/plain",
        "image/gif",
    }
    assert all(one["valid"] for one in received)
    (batch,) = airflow_home.json("mm7", "batches")
    assert (batch["batch_id"], batch["accepted"]) == (sent["batch_id"], 3)


def test_a_connection_that_is_nowhere_is_one_line(airflow_home: AirflowHome) -> None:
    done = airflow_home.run("mm7", "send", "--conn-id", "nowhere", "--to", TO, "--text", "Hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("airflow mm7: ")
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_same_key_sends_once(mm7: Commands, sandbox: RunningSandbox, connect: Callable[..., None]) -> None:
    connect(sandbox.url)
    first, second = (mm7.json("send", "--to", TO, "--text", "Hi", "--idempotency-key", "k") for _ in range(2))
    assert first == second
    assert mm7.json("send", "--to", TO, "--text", "Hi")["batch_id"] != first["batch_id"]
    assert len(sandbox.messages()) == 2


def test_preview_sends_nothing(
    mm7: Commands, sandbox: RunningSandbox, connect: Callable[..., None], picture: str
) -> None:
    connect(sandbox.url)
    done = mm7("send", "--to", TO, "--subject", "Secret plan", "--text", "Do not tell", "--media", picture, "--preview")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert (shown["batch_id"], shown["total"], shown["planned"], shown["accepted"]) == (None, 1, 1, 0)
    assert "SubmitReq" in done.err
    assert not any(secret in done.err for secret in ("64219876543", "Secret plan", "Do not tell", "sandbox:"))
    assert sandbox.messages() == []
    assert mm7.json("batches") == []


def test_a_refusal_is_printed_and_ends_with_1(
    mm7: Commands, sandbox: RunningSandbox, connect: Callable[..., None]
) -> None:
    connect(sandbox.url)
    done = mm7("send", "--to", REFUSED, "--text", "Hi")
    assert done.code == 1
    (message,) = json.loads(done.out)["messages"]
    assert (message["recipient"], message["state"], message["status_code"]) == (REFUSED, "refused", 2002)
    assert done.err.count("\n") == 1
    assert "2002" in done.err
    assert REFUSED not in done.err
    some = mm7("send", "--to", f"{REFUSED},{TO}", "--text", "Hi")
    assert some.code == 0, some.err


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("--to", "0064219876543", "--text", "Hi"), "to[0]"),
        (("--to", TO), "text"),
        (("--to", TO, "--text", "Hi", "--media", "file:///nowhere/a.gif"), "file:///nowhere/a.gif"),
        (("--to", TO, "--text", "Hi", "--smil", "<html/>"), "smil"),
    ],
)
def test_bad_input_sends_nothing(
    mm7: Commands, sandbox: RunningSandbox, connect: Callable[..., None], args: tuple[str, ...], word: str
) -> None:
    connect(sandbox.url)
    done = mm7("send", *args)
    assert (done.code, done.out) == (1, "")
    assert word in done.err.lower()
    assert done.err.count("\n") == 1
    assert "64219876543" not in done.err
    assert sandbox.messages() == []


def test_a_bad_field_and_its_secret(mm7: Commands, connect: Callable[..., None]) -> None:
    connect("https://h/", headers="hunter22")
    done = mm7("send", "--to", TO, "--text", "Hi")
    assert done.code == 1
    assert done.err.startswith("airflow mm7: headers: ")
    assert "hunter22" not in done.err


def test_an_mmsc_that_is_down_leaves_it_planned(mm7: Commands, connect: Callable[..., None]) -> None:
    connect(f"http://127.0.0.1:{free_port()}/mm7")
    done = mm7("send", "--to", TO, "--text", "Hi")
    assert done.code == 1
    assert json.loads(done.out)["planned"] == 1
    assert "refused the connection" in done.err
