from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.support.airflow_cli import AirflowHome

# One process for all: starting Airflow takes most of the time.
SCRIPT = """
import json, os, sys
from pathlib import Path
from airflow.models import Connection
from airflow.utils.session import create_session

pair = {"callback_login": "vasp", "callback_password": "secret"}
extras = {
    "made_in_ui": pair,
    "json_list": {**pair, "callback_networks": '["10.0.0.0/8", "2001:db8::/32"]'},
    "commas": {**pair, "callback_networks": "10.0.0.0/8, 192.0.2.1"},
    "real_list": {**pair, "callback_networks": ["10.0.0.0/8"]},
    "bad_networks": {**pair, "callback_networks": "10.0.0.0/99"},
    "no_password": {"callback_login": "vasp"},
}
with create_session() as session:
    for conn_id, extra in extras.items():
        session.add(Connection(conn_id=conn_id, conn_type="mm7", extra=json.dumps(extra)))
    session.add(Connection(conn_id="nothing", conn_type="mm7", login="vasp", password="secret"))
    session.add(Connection(conn_id="other_type", conn_type="http", extra=json.dumps(pair)))

from airflow_provider_mm7.hooks.callbacks import AirflowCredentials
source = AirflowCredentials()

def found(conn_id):
    try:
        one = source.lookup(conn_id)
    except Exception as exc:
        return "failed"
    return one and [one.login, one.password, [str(network) for network in one.networks]]

names = ["in_environment", "made_in_ui", "json_list", "commas", "real_list", "bad_networks", "no_password", "nothing",
         "other_type", "unknown"]
answers = {name: found(name) for name in names}
os.environ.pop("_AIRFLOW_PROCESS_CONTEXT", None)
answers["without context"] = found("made_in_ui")

from airflow import settings
settings.dispose_orm()
database = Path(os.environ["AIRFLOW_HOME"], "airflow.db")
database.rename(database.with_suffix(".away"))
database.mkdir()
settings.configure_orm()
answers["down"] = [found("made_in_ui"), found("unknown"), found("in_environment")]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(migrated_home: AirflowHome, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = AirflowHome(tmp_path_factory.mktemp("airflow"))
    shutil.copy(migrated_home.path / "airflow.db", home.path)
    connection = {"conn_type": "mm7", "extra": {"callback_login": "vasp", "callback_password": "p:@/ß"}}
    environment = home.environment(
        AIRFLOW_CONN_IN_ENVIRONMENT=json.dumps(connection), _AIRFLOW_PROCESS_CONTEXT="server"
    )
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "secret" not in ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_connections_are_found_wherever_airflow_keeps_them(answers: dict[str, Any]) -> None:
    assert answers["in_environment"] == ["vasp", "p:@/ß", []]
    assert answers["made_in_ui"] == ["vasp", "secret", []]


def test_no_variable_of_airflows_servers_is_needed(answers: dict[str, Any]) -> None:
    assert answers["without context"] == ["vasp", "secret", []]


@pytest.mark.parametrize(
    ("conn_id", "networks"),
    [
        ("json_list", ["10.0.0.0/8", "2001:db8::/32"]),
        ("commas", ["10.0.0.0/8", "192.0.2.1/32"]),
        ("real_list", ["10.0.0.0/8"]),
    ],
)
def test_networks_come_as_list_or_text(answers: dict[str, Any], conn_id: str, networks: list[str]) -> None:
    assert answers[conn_id] == ["vasp", "secret", networks]


@pytest.mark.parametrize("conn_id", ["bad_networks", "no_password", "nothing", "other_type", "unknown"])
def test_everything_else_accepts_nobody(answers: dict[str, Any], conn_id: str) -> None:
    assert answers[conn_id] is None


def test_while_the_metadata_database_is_down_nobody_knows(answers: dict[str, Any]) -> None:
    assert answers["down"] == ["failed", "failed", ["vasp", "p:@/ß", []]]
