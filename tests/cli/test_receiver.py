"""``airflow mm7 receiver`` as a process, with connections made in Airflow's UI."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import pytest

from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks
from tests.support.airflow_cli import AirflowHome
from tests.support.listening import listening

MAKE_CONNECTION = """
import json
from airflow.models import Connection
from airflow.utils.session import create_session
extra = {"callback_login": "vasp", "callback_password": "secret"}
with create_session() as session:
    session.add(Connection(conn_id="mm7_default", conn_type="mm7", host="mmsc.test", extra=json.dumps(extra)))
"""

# What the command line does once it has parsed `airflow mm7 receiver --port 0`.
RECEIVER = """
from argparse import Namespace
from airflow_provider_mm7.cli.boundary import run_command
run_command("airflow_provider_mm7.cli.receiver", "receiver", Namespace(host="127.0.0.1", port=0, verbose=False))
"""


def test_it_serves_a_connection_made_in_the_ui(airflow_home: AirflowHome) -> None:
    env = airflow_home.environment()
    subprocess.run([sys.executable, "-c", MAKE_CONNECTION], env=env, check=True, capture_output=True, timeout=180)
    body, content_type = callbacks.deliver()
    with listening([sys.executable, "-c", RECEIVER], env=env, cwd=airflow_home.path) as receiver:
        with httpx.Client(base_url=receiver.url) as client:
            answers = [
                client.post("/mm7/callback", content=callbacks.report(), headers=callbacks.headers()),
                client.post("/mm7/callback", content=body, headers=callbacks.headers(content_type)),
                client.post("/mm7/callback", content=body, headers=callbacks.headers(password="wrong")),
                client.get("/mm7/health"),
            ]
        printed = receiver.end()
        assert receiver.process.returncode in (0, -signal.SIGTERM)
    assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
    store = open_store(f"sqlite:///{airflow_home.store_path}")
    assert (len(store.reports()), len(store.inbound()), store.components()) == (1, 1, [])
    store.close()
    for private in (callbacks.RECIPIENT[1:], callbacks.TEXT, "secret"):
        # A traceback of Airflow 3.2 names its own module airflow/secrets.
        assert private not in printed.replace("airflow/secrets/", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AIRFLOW__MM7__MAX_CALLBACK_BYTES": "many"}, "max_callback_bytes"),
        ({"AIRFLOW__MM7__SQL_ALCHEMY_CONN": "oracle://u:secret@h/d"}, "oracle"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    airflow_home: AirflowHome, changes: dict[str, str], words: str
) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", RECEIVER],
        env=airflow_home.environment(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert words in refused.stderr
    assert "secret" not in refused.stderr
