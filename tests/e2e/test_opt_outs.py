"""STOP in a real Airflow with the plugin: confirmed once, over a connection made in the UI, and honoured by DAGs."""

from __future__ import annotations

import json

import requests

from airflow_provider_mm7.store import connection_scope, open_store
from tests.receiver import callbacks
from tests.support.sandbox import wait_for
from tests.support.stage import Stage

CONN_ID = "made_in_ui"
REPLY = "No more messages. START brings them back."


def say(stage: Stage, text: str, number: str, transaction_id: str) -> None:
    body, content_type = callbacks.say(text, sender=number, transaction_id=transaction_id)
    answer = requests.post(
        f"{stage.callback_url}/{CONN_ID}",
        data=body,
        headers={"Content-Type": content_type},
        auth=(stage.callback_login, stage.callback_password),
        timeout=20,
    )
    assert b"<StatusCode>1000</StatusCode>" in answer.content


def test_stop_is_confirmed_once_and_start_brings_messages_back(stage: Stage) -> None:
    number = "+12025550177"
    connection = stage.mm7_connection(opt_out_reply=REPLY)
    made = {**connection, "connection_id": CONN_ID, "extra": json.dumps(connection["extra"])}
    stage.airflow.api("POST", "connections", json_body=made)
    say(stage, "Stop", number, "tx-stop")
    (confirmed,) = wait_for(lambda: stage.sandbox.accepted_for(number), lambda found: found)
    store = open_store(stage.ledger_url)

    def confirmation() -> str | None:
        found = store.find_opt_out(connection_scope(CONN_ID), number)
        assert found is not None
        return found.confirmation

    assert wait_for(confirmation, lambda word: word != "due") == "sent"

    run_id = stage.airflow.trigger("e2e_wait", {"to": [number], "conn_id": CONN_ID})
    stage.airflow.wait_run("e2e_wait", run_id, 120)
    sent = stage.airflow.xcom("e2e_wait", run_id, "send")
    assert (sent["suppressed"], sent["accepted"], sent["total"]) == (1, 0, 1)
    assert stage.airflow.xcom("e2e_wait", run_id, "arrived")["accepted"] == 0
    assert [one["message_id"] for one in stage.sandbox.accepted_for(number)] == [confirmed["message_id"]]

    say(stage, "START", number, "tx-start")
    run_id = stage.airflow.trigger("e2e_wait", {"to": [number], "conn_id": CONN_ID})
    stage.airflow.wait_run("e2e_wait", run_id, 120)
    assert len(stage.sandbox.accepted_for(number)) == 2
