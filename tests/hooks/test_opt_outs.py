"""The fields of a connection that are about opt-outs, for who sends and for who receives."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.hooks.callbacks import consent_rules
from airflow_provider_mm7.hooks.connection import CallbackSettings, ConnectionSettings
from airflow_provider_mm7.protocol.keywords import START_KEYWORDS, STOP_KEYWORDS, Keywords
from airflow_provider_mm7.receiver import ConsentRules, Scope


def connection(**extra: Any) -> Connection:
    return Connection(conn_id="c", conn_type="mm7", host="https://mmsc.example/mm7", extra=json.dumps(extra))


def settings(**extra: Any) -> ConnectionSettings:
    return ConnectionSettings.from_connection(connection(**extra))


def test_a_connection_that_says_nothing() -> None:
    read = settings()
    assert (read.opt_out_scope, read.honoured_scope, read.opt_out_reply) == ("connection", "conn:c", None)
    assert consent_rules(connection()) == ConsentRules(confirm=False)


def test_a_connection_that_says_all() -> None:
    extra = {
        "opt_out_scope": "Short_Code",
        "sender_address": "+64 21 111/TYPE=PLMN",
        "stop_keywords": "+BAJA, Parar",
        "start_keywords": '["Volver"]',
        "opt_out_reply": "Adiós",
    }
    read = settings(**extra)
    assert (read.honoured_scope, read.opt_out_reply) == ("code:6421111", "Adiós")
    assert read.stop_keywords == STOP_KEYWORDS | {"baja", "parar"}
    assert read.start_keywords == {"volver"}
    assert consent_rules(connection(**extra)) == ConsentRules(
        keywords=Keywords(stop=read.stop_keywords, start=read.start_keywords),
        scopes=frozenset({Scope.SHORT_CODE}),
        sender_address="+64 21 111/TYPE=PLMN",
        confirm=True,
    )


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"opt_out_scope": "number"}, "opt_out_scope"),
        ({"opt_out_scope": "short_code"}, "sender_address"),
        ({"stop_keywords": "stop, !!"}, "stop_keywords"),
        ({"stop_keywords": {"a": 1}}, "stop_keywords"),
        ({"start_keywords": "[1]"}, "start_keywords"),
        ({"stop_keywords": "a, b", "start_keywords": "B, c"}, "start_keywords"),
        ({"opt_out_reply": ["a"]}, "opt_out_reply"),
        ({"opt_out_reply": "a\nb"}, "opt_out_reply"),
    ],
)
def test_a_slip_stops_sending_and_costs_nobody_their_opt_out(
    extra: dict[str, Any], field: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConnectionConfigError) as caught:
        settings(**extra)
    assert caught.value.field == field
    caplog.set_level(logging.ERROR)
    callback = {"callback_login": "u", "callback_password": "p"}
    # Reports and messages are taken all the same.
    assert CallbackSettings.from_connection(connection(**extra, **callback)).login == "u"
    rules = consent_rules(connection(**extra))
    assert rules.scopes == frozenset(Scope)
    assert not rules.confirm
    assert field in caplog.text


def test_a_slip_elsewhere_leaves_the_words_as_they_are() -> None:
    rules = consent_rules(connection(stop_keywords="Parar", opt_out_scope="number", start_keywords="[1]"))
    assert rules.keywords == Keywords(stop=frozenset({"parar"}), start=START_KEYWORDS)
