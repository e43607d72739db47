from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.provider_info import PROVIDER_INFO
from tests.support.airflow_cli import AirflowHome


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in PROVIDER_INFO["config"]["mm7"]["options"]:
        monkeypatch.delenv(f"AIRFLOW__MM7__{option.upper()}", raising=False)


def test_defaults_stand_beside_airflow(tmp_path: Path) -> None:
    # A process of its own: an airflow.cfg and installed metadata of this one would be seen here.
    code = (
        "from airflow_provider_mm7.hooks.config import *\n"
        "print(store_url(), inbound_media_uri(), sent_media_uri(), max_callback_bytes(), max_concurrent_callbacks())"
    )
    home = AirflowHome(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], env=home.environment(), capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == [
        f"sqlite:///{tmp_path}/mm7.db",
        f"file://{tmp_path}/mm7/inbound",
        f"file://{tmp_path}/mm7/sent",
        str(10 * 1024 * 1024),
        "32",
    ]


def test_metadata_and_code_agree_on_the_defaults() -> None:
    options = PROVIDER_INFO["config"]["mm7"]["options"]
    assert {name: option["default"] for name, option in options.items()} == {
        "sql_alchemy_conn": config.DEFAULT_STORE_URL,
        "inbound_media_uri": config.DEFAULT_INBOUND_MEDIA_URI,
        "sent_media_uri": config.DEFAULT_SENT_MEDIA_URI,
        "max_callback_bytes": str(config.DEFAULT_MAX_CALLBACK_BYTES),
        "max_concurrent_callbacks": str(config.DEFAULT_MAX_CONCURRENT_CALLBACKS),
    }


def test_options_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", "postgresql://u:p@db/mm7")
    monkeypatch.setenv("AIRFLOW__MM7__INBOUND_MEDIA_URI", "s3://news/inbound/")
    monkeypatch.setenv("AIRFLOW__MM7__MAX_CALLBACK_BYTES", "1000")
    monkeypatch.setenv("AIRFLOW__MM7__MAX_CONCURRENT_CALLBACKS", " 2 ")
    assert config.store_url() == "postgresql://u:p@db/mm7"
    assert config.inbound_media_uri() == "s3://news/inbound"
    assert (config.max_callback_bytes(), config.max_concurrent_callbacks()) == (1000, 2)


@pytest.mark.parametrize(
    ("value", "read"),
    [("s3://news/sent/", "s3://news/sent"), ("", None), ("  ", None), ("none", None), (" None ", None)],
)
def test_copies_of_what_is_sent_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch, value: str, read: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SENT_MEDIA_URI", value)
    assert config.sent_media_uri() == read


@pytest.mark.parametrize("value", ["0", "-5", "10 MB", "1.5"])
def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__MAX_CALLBACK_BYTES", value)
    with pytest.raises(InputError) as caught:
        config.max_callback_bytes()
    assert caught.value.field == "[mm7] max_callback_bytes"


def test_home_is_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    assert str(config.airflow_home()) == "/home/me/airflow"
    monkeypatch.setenv("AIRFLOW_HOME", "$HOME/af")
    assert str(config.airflow_home()) == "/home/me/af"
