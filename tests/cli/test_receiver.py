"""``airflow mm7 receiver`` as a process, with connections made in Airflow's UI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks
from tests.support.listening import listening

ROOT = Path(__file__).parents[2]

MAKE_CONNECTION = """
import json
from airflow.models import Connection
from airflow.utils.db import initdb
from airflow.utils.session import create_session
initdb()
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


def environment(home: Path, **changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MM7_", "AIRFLOW", "_AIR"))}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
        **changes,
    }


def test_it_serves_a_connection_made_in_the_ui(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", MAKE_CONNECTION], env=environment(tmp_path), check=True, capture_output=True, timeout=180
    )
    body, content_type = callbacks.deliver()
    with listening([sys.executable, "-c", RECEIVER], env=environment(tmp_path), cwd=tmp_path) as receiver:
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
    store = open_store(f"sqlite:///{tmp_path}/mm7.db")
    assert (len(store.reports()), len(store.inbound()), store.components()) == (1, 1, [])
    store.close()
    for private in (callbacks.RECIPIENT[1:], callbacks.TEXT, "secret"):
        assert private not in printed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AIRFLOW__MM7__MAX_CALLBACK_BYTES": "many"}, "max_callback_bytes"),
        ({"AIRFLOW__MM7__SQL_ALCHEMY_CONN": "oracle://u:secret@h/d"}, "oracle"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-c", RECEIVER],
        env=environment(tmp_path, **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert words in refused.stderr
    assert "secret" not in refused.stderr
