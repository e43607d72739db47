"""``airflow mm7 batch show | forget``."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from airflow_provider_mm7.cli.definition import STATES
from airflow_provider_mm7.sending.owner import this_process
from airflow_provider_mm7.store import NewSubmission, Origin, Owner, ReportKind, State, open_store
from tests.support.airflow_cli import Commands
from tests.support.ledger import report, send

KEY = "campaign/run 1/send/-1"


def claimed_by(mm7: Commands, owner: Owner, *, lease_s: float = 60) -> str:
    """Return a batch of two, one of which this owner is sending."""
    store = open_store(mm7.store_url)
    batch_id = store.open_batch(KEY, conn_id="mm7_default").batch_id
    store.plan(batch_id, [NewSubmission(recipient=f"+6421000000{digit}") for digit in range(2)])
    store.claim(batch_id, owner, limit=1, lease_s=lease_s, transaction_id=lambda: "t1")
    return batch_id


def dead(host: str) -> Owner:
    return Owner(token="gone", host=host, pid=os.getpid(), started=1.0)


def test_show(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    origin = Origin(dag_id="campaign", run_id="run 1", task_id="send", map_index=3)
    store.open_batch(KEY, conn_id="mm7_default", origin=origin)
    batch_id, message_ids = send(store, KEY, accepted=3, refused=1, planned=1)
    report(store, message_ids[:2], "Retrieved")
    shown = mm7.json("batch", "show", batch_id)
    assert shown == mm7.json("batch", "show", KEY)
    assert {
        name: shown[name] for name in ("batch_id", "key", "conn_id", "total", "accepted", "refused", "planned")
    } == {
        "batch_id": batch_id,
        "key": KEY,
        "conn_id": "mm7_default",
        "total": 5,
        "accepted": 3,
        "refused": 1,
        "planned": 1,
    }
    assert shown["origin"] == {"dag_id": "campaign", "run_id": "run 1", "task_id": "send", "map_index": 3}
    assert shown["delivery"] == {"Retrieved": 2, "no report": 1}
    assert [one["state"] for one in shown["messages"]] == ["accepted", "accepted", "accepted", "refused", "planned"]
    first = shown["messages"][0]
    assert (first["message_id"], first["status_code"], first["delivery"]) == (message_ids[0], 1000, "Retrieved")
    assert first["recipient"].startswith("+6421")
    table = mm7("batch", "show", batch_id).out
    assert "delivery.Retrieved" in table
    assert first["recipient"] in table


def test_show_in_pages_and_by_state(mm7: Commands) -> None:
    batch_id, _ = send(open_store(mm7.store_url), KEY, accepted=3, refused=2, planned=2)

    def page(*args: str) -> tuple[list[Any], str]:
        done = mm7("batch", "show", batch_id, "--limit", "2", *args, "-o", "json")
        assert done.code == 0
        return json.loads(done.out)["messages"], done.err

    every = mm7.json("batch", "show", batch_id)["messages"]
    seen: list[Any] = []
    messages, said = page()
    while True:
        seen += messages
        if not said:
            break
        assert f"--after {messages[-1]['id']}\n" in said
        messages, said = page("--after", str(messages[-1]["id"]))
    assert seen == every
    assert [one["state"] for one in page("--state", "refused")[0]] == ["refused", "refused"]
    assert page("--state", "unknown") == ([], "")
    two = mm7.json("batch", "show", batch_id, "--state", "refused", "--state", "planned")["messages"]
    assert [one["state"] for one in two] == ["refused", "refused", "planned", "planned"]
    assert set(STATES) == set(State)


def test_show_says_who_has_read(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    batch_id, message_ids = send(store, KEY, accepted=2)
    report(store, message_ids[:1], "Read", kind=ReportKind.READ)
    shown = mm7.json("batch", "show", batch_id)
    assert [one["read"] for one in shown["messages"]] == ["Read", None]
    assert shown["reads"] == {"Read": 1, "no reply": 1}


@pytest.mark.parametrize("output", ["json", "yaml", "table", "plain"])
def test_show_of_a_new_batch_in_every_format(mm7: Commands, output: str) -> None:
    batch_id = open_store(mm7.store_url).open_batch(KEY, conn_id="mm7_default").batch_id
    done = mm7("batch", "show", batch_id, "-o", output)
    assert done.code == 0
    assert batch_id in done.out


def test_what_is_not_there(mm7: Commands) -> None:
    for command in (("show", "nothing"), ("forget", "nothing", "--yes")):
        done = mm7("batch", *command)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "'nothing'" in done.err


def test_forget(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    batch_id, message_ids = send(store, KEY, accepted=2)
    report(store, message_ids, "Retrieved")
    refused = mm7("batch", "forget", batch_id)
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert store.find_batch(batch_id) is not None
    done = mm7("batch", "forget", KEY, "--yes", "-o", "json")
    assert done.code == 0
    assert "send to everybody in it again" in done.err
    assert store.find_batch(batch_id) is None
    assert mm7.json("reports") == []
    # The same key is a new batch.
    assert send(store, KEY, accepted=2)[0] == batch_id


def test_forget_asks(mm7: Commands) -> None:
    store = open_store(mm7.store_url)
    batch_id, _ = send(store, KEY, accepted=2)
    kept = mm7("batch", "forget", batch_id, stdin=b"n\n", terminal=True)
    assert kept.code == 1
    assert "2 messages, 2 accepted, 0 in doubt" in kept.err
    assert "send to everybody in it again" in kept.err
    assert store.find_batch(batch_id) is not None
    assert mm7("batch", "forget", batch_id, stdin=b"y\n", terminal=True).code == 0
    assert store.find_batch(batch_id) is None


def test_what_somebody_sends_is_not_forgotten(mm7: Commands) -> None:
    batch_id = claimed_by(mm7, this_process())
    refused = mm7("batch", "forget", batch_id, "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert "is being sent (1 messages" in refused.err
    assert mm7.json("batch", "show", batch_id)["sending"] == 1


def test_what_another_machine_sends_is_not_forgotten_within_its_lease(mm7: Commands) -> None:
    batch_id = claimed_by(mm7, dead("elsewhere"))
    assert mm7("batch", "forget", batch_id, "--yes").code == 1
    assert mm7.json("batch", "show", batch_id)["sending"] == 1


@pytest.mark.parametrize(("host", "lease_s"), [(this_process().host, 60.0), ("elsewhere", -1.0)])
def test_what_the_dead_left_is_forgotten(mm7: Commands, host: str, lease_s: float) -> None:
    batch_id = claimed_by(mm7, dead(host), lease_s=lease_s)
    assert mm7.json("batch", "forget", batch_id, "--yes") == {"batch_id": batch_id, "key": KEY, "forgotten": True}
