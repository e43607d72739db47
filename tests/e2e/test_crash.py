"""What a kill -9 in the middle of sending leaves behind, and what the retry makes of it."""

from __future__ import annotations

import json
from collections import Counter

import psutil

from airflow_provider_mm7.store import open_store
from tests.support.sandbox import wait_for
from tests.support.stage import Stage

#: Two connections: at most four messages are claimed, and so in doubt, at a time.
CONNECTIONS = 2
CLAIMED = 4


def sending_process(stage: Stage) -> psutil.Process | None:
    """The task's process: the one below the scheduler that holds a connection to the MMSC."""
    port = int(stage.sandbox.page_url.rsplit(":", 1)[1].strip("/"))
    for process in stage.airflow.processes().processes():
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        if any(one.raddr and one.raddr.port == port for one in connections):
            return process
    return None


def test_killed_between_post_and_answer(stage: Stage) -> None:
    airflow, sandbox = stage.airflow, stage.sandbox
    connection = stage.mm7_connection(max_connections=CONNECTIONS)
    extra = json.dumps(connection.pop("extra"))
    airflow.api("POST", "connections", json_body={"connection_id": "mm7_two", "extra": extra, **connection})

    doubtful = ["+15005950903", "+15005960903"]  # accepted by the MMSC, and never answered
    before = [f"+1202555012{digit}" for digit in range(5)]
    after = [f"+1202555013{digit}" for digit in range(5)]
    everyone = [*before, *doubtful, *after]
    run_id = airflow.trigger("e2e_send", {"to": everyone, "conn_id": "mm7_two"})

    # Both connections wait for an answer that does not come: the task can do nothing but wait.
    wait_for(lambda: [one for number in doubtful for one in sandbox.accepted_for(number)], lambda got: len(got) == 2)
    victim = sending_process(stage)
    assert victim is not None
    victim.kill()

    # Under "hold" a message in doubt fails the task, once the rest is sent.
    airflow.wait_run("e2e_send", run_id, 180, expect="failed")
    assert airflow.tasks("e2e_send", run_id)["send"]["try_number"] == 2
    sent = airflow.xcom("e2e_send", run_id, "send")
    state = {message["recipient"]: message["state"] for message in sent["messages"]}
    assert {number: state[number] for number in doubtful} == dict.fromkeys(doubtful, "unknown")
    assert sent["unknown"] <= CLAIMED
    assert sent["accepted"] + sent["unknown"] == len(everyone)
    assert (sent["planned"], sent["refused"]) == (0, 0)

    # What was received is the truth: nobody twice, and everybody who is said to have been sent to.
    received = Counter(number for one in sandbox.messages() for number in one["recipients"] if number in everyone)
    assert set(received.values()) == {1}
    for message in sent["messages"]:
        if message["state"] == "accepted":
            (one,) = sandbox.accepted_for(message["recipient"])
            assert one["message_id"] == message["message_id"]
    summary = open_store(stage.ledger_url).summary(sent["batch_id"])
    assert (summary.total, summary.unknown, summary.sending) == (len(everyone), sent["unknown"], 0)

    # The task's log names the batch, and nobody's whole number.
    log = airflow.task_log("e2e_send", run_id, "send", 2)
    assert sent["batch_id"] in log
    assert not [number for number in everyone if number in log]
