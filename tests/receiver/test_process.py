"""``python -m airflow_provider_mm7.receiver`` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from airflow_provider_mm7.receiver import settings
from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks
from tests.support.listening import WAIT_S, Listening, listening

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MM7_", "AIRFLOW"))}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "MM7_SQL_ALCHEMY_CONN": f"sqlite:///{folder}/mm7.db",
        "MM7_CALLBACK_LOGIN": "vasp",
        "MM7_CALLBACK_PASSWORD": "secret",
        "MM7_PORT": "0",
        **changes,
    }


@contextmanager
def running(folder: Path, **changes: str) -> Iterator[Listening]:
    command = [sys.executable, "-m", "airflow_provider_mm7.receiver"]
    with listening(command, env=environment(folder, **changes), cwd=folder) as server:
        yield server


def test_it_takes_callbacks_and_ends_when_told(tmp_path: Path) -> None:
    body, content_type = callbacks.deliver()
    carrier_b = {"MM7_CALLBACK_LOGIN__CARRIER_B": "b", "MM7_CALLBACK_PASSWORD__CARRIER_B": "bb"}
    with running(tmp_path, **carrier_b) as receiver, httpx.Client(base_url=receiver.url) as client:
        health = client.get("/mm7/health")
        answers = [
            client.post("/mm7/callback", content=callbacks.report(), headers=callbacks.headers()),
            client.post("/mm7/callback", content=body, headers=callbacks.headers(content_type)),
            client.post(
                "/mm7/callback/carrier_b",
                content=callbacks.report("m-2"),
                headers=callbacks.headers(login="b", password="bb"),
            ),
            client.post("/mm7/callback/carrier_b", content=callbacks.report("m-3"), headers=callbacks.headers()),
        ]
        log = receiver.end()
        # Ended by the signal that it was told to end by, once all was done.
        assert receiver.process.returncode in (0, -signal.SIGTERM)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401]
    store = open_store(f"sqlite:///{tmp_path}/mm7.db")
    assert [(one.conn_id, one.message_id) for one in store.reports()] == [("mm7_default", "m-1"), ("carrier_b", "m-2")]
    assert len(store.inbound()) == 1
    assert len([path for path in (tmp_path / "mm7_inbound").rglob("*") if path.is_file()]) == 4
    assert store.components() == []
    store.close()
    assert "operation=DeliveryReportReq transaction_id='tx-1' message_id='m-1' status=1000" in log
    for private in (callbacks.RECIPIENT[1:], callbacks.TEXT, "secret"):
        assert private not in log


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_an_opt_out_that_was_acknowledged_outlives_a_kill(
    request: pytest.FixtureRequest, tmp_path: Path, dialect: str
) -> None:
    url = request.getfixturevalue("postgres_url") if dialect == "postgres" else f"sqlite:///{tmp_path}/mm7.db"
    store = open_store(url, migrate=True)
    acknowledged: list[str] = []

    def say(number: str) -> None:
        body, content_type = callbacks.say("STOP", sender=number, transaction_id=f"tx-{number}")
        try:
            answer = client.post("/mm7/callback", content=body, headers=callbacks.headers(content_type))
        except httpx.TransportError:
            return
        if b"<StatusCode>1000</StatusCode>" in answer.content:
            acknowledged.append(number)
        if len(acknowledged) == 60:
            receiver.process.kill()

    with running(tmp_path, MM7_SQL_ALCHEMY_CONN=url) as receiver, httpx.Client(base_url=receiver.url) as client:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(say, [f"+64215550{number:03}" for number in range(300)]))
        receiver.process.wait(WAIT_S)
    out = {row.number for row in store.opt_outs()}
    assert 60 <= len(acknowledged) < 300
    assert set(acknowledged) <= out
    # The message and what it says are one.
    assert out == {one.message.sender for one in store.inbound(limit=1000)}
    store.close()


def test_a_store_that_is_down_at_the_start_is_waited_for(tmp_path: Path) -> None:
    blocker = tmp_path / "later"
    blocker.touch()
    with running(tmp_path, MM7_SQL_ALCHEMY_CONN=f"sqlite:///{blocker}/mm7.db", MM7_INBOUND_MEDIA_URI="in") as receiver:
        with httpx.Client(base_url=receiver.url, headers=callbacks.headers()) as client:
            assert client.post("/mm7/callback", content=callbacks.report()).status_code == 503
            blocker.unlink()
            blocker.mkdir()
            assert client.post("/mm7/callback", content=callbacks.report()).status_code == 200
        receiver.end()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MM7_SQL_ALCHEMY_CONN": ""}, "MM7_SQL_ALCHEMY_CONN"),
        ({"MM7_CALLBACK_PASSWORD": ""}, "MM7_CALLBACK_PASSWORD"),
        ({"MM7_CALLBACK_NETWORKS": "everywhere"}, "MM7_CALLBACK_NETWORKS"),
        ({"MM7_SQL_ALCHEMY_CONN": "oracle://u:secret@h/d"}, "oracle"),
        ({"MM7_INBOUND_MEDIA_URI": "/dev/null/in"}, "/dev/null"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "airflow_provider_mm7.receiver"],
        env=environment(tmp_path, **changes),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert words in refused.stderr
    assert "secret" not in refused.stderr


def test_help_lists_every_variable() -> None:
    command = [sys.executable, "-m", "airflow_provider_mm7.receiver", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=True).stdout
    read = set(re.findall(r'"(MM7_[A-Z_]+)"', Path(str(settings.__file__)).read_text()))
    assert len(read) > 10
    assert sorted(name for name in read if name not in told) == []


def test_a_store_of_a_newer_package_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mm7.db") as connection:
        connection.execute("CREATE TABLE mm7_alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO mm7_alembic_version VALUES ('from the future')")
    connection.close()
    refused = subprocess.run(
        [sys.executable, "-m", "airflow_provider_mm7.receiver"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr


WITHOUT_AIRFLOW = """
import asyncio, os, sys
import httpx
import airflow_provider_mm7.receiver.__main__ as main
from tests.receiver import callbacks
from tests.support.listening import WAIT_S, Listening, listening

def serve(app, *, host, port):
    async def call():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mm7.test") as client:
            body, content_type = callbacks.deliver()
            for content, kind in ((callbacks.report(), callbacks.XML), (body, content_type), (b"?", callbacks.XML)):
                answer = await client.post("/mm7/callback", content=content, headers=callbacks.headers(kind))
                assert answer.status_code == 200, answer
            assert (await client.get("/mm7/health")).status_code == 200
    asyncio.run(call())
    app.state.receiver.close()

main.serve = serve
assert main.main() == 0
print(sorted(name for name in sys.modules if name.split(".")[0] in ("airflow", "boto3", "botocore", "fastapi")))
"""


def test_it_needs_no_airflow(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_AIRFLOW],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
