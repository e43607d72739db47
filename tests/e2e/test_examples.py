"""The example DAGs, run by a real Airflow."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.store import open_store
from tests.support.sandbox import wait_for
from tests.support.stage import Stage

MEDIA = Path(__file__).parents[2] / "example_dags" / "media"
#: A whole GIF of one pixel, as a handset sends it.
PICTURE = {"content_type": "image/gif", "base64": "R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs="}
PNG = b"\x89PNG\r\n\x1a\n"

RESULT_KEYS = {"batch_id", "total", "accepted", "refused", "unknown", "suppressed", "planned", "messages"}
MESSAGE_KEYS = {"recipient", "message_id", "transaction_id", "state", "status_code", "status_text"}
DELIVERY_KEYS = {"batch_id", "total", "accepted", "delivered", "failed", "ambiguous", "pending", "by_status"}


def written_by(stage: Stage) -> str:
    """All that Airflow has logged: tasks, and its own processes."""
    logs = stage.airflow.home / "logs"
    files = [*logs.rglob("*.log"), *stage.airflow.processes().logs.glob("*.log")]
    return "\n".join(path.read_text(errors="replace") for path in files)


def test_campaign_from_s3_to_handsets_and_back(stage: Stage) -> None:
    recipients = [f"+1202555019{digit}" for digit in range(4)] + ["+15005915002"]
    picture = (MEDIA / "saturn.gif").read_bytes()
    text = "Saturn: the rings, never seen so clearly."
    stage.s3.upload(
        "autumn",
        {
            "c1/recipients.txt": "\n".join(recipients).encode() + b"\n\n",
            "c1/text.txt": text.encode(),
            "c1/saturn.gif": picture,
        },
    )
    airflow = stage.airflow
    run_id = airflow.trigger("mms_campaign", {"bucket": "autumn", "folder": "c1", "subject": "News, at last"})
    airflow.wait_run("mms_campaign", run_id, 180)

    sent = airflow.xcom("mms_campaign", run_id, "send")
    assert set(sent) == RESULT_KEYS
    assert airflow.xcom("mms_campaign", run_id, "send", "batch_id") == sent["batch_id"]
    counts = {key: sent[key] for key in RESULT_KEYS - {"batch_id", "messages"}}
    assert counts == {"total": 5, "accepted": 5, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0}
    assert all(set(message) == MESSAGE_KEYS for message in sent["messages"])
    reported = airflow.xcom("mms_campaign", run_id, "arrived")
    assert set(reported) == DELIVERY_KEYS
    assert (reported["batch_id"], reported["accepted"], reported["delivered"]) == (sent["batch_id"], 5, 4)
    assert sent["batch_id"] in airflow.xcom("mms_campaign", run_id, "summarise")

    # What the MMSC received is the truth.
    by_number = {message["recipient"]: message for message in sent["messages"]}
    assert set(by_number) == set(recipients)
    for number in recipients:
        (received,) = stage.sandbox.accepted_for(number)
        assert received["valid"], received["problems"]
        assert received["message_id"] == by_number[number]["message_id"]
        assert received["transaction_id"] == by_number[number]["transaction_id"]
        assert received["subject"] == "News, at last"
        parts = {part["content_type"].partition(";")[0]: part for part in received["parts"]}
        assert set(parts) == {"application/smil", "text/plain", "image/gif"}
        assert parts["text/plain"]["text"] == text
        assert parts["image/gif"]["sha256"] == hashlib.sha256(picture).hexdigest()

    store = open_store(stage.ledger_url)
    rows = wait_for(lambda: store.reports(batch_id=sent["batch_id"]), lambda found: len(found) == 5)
    statuses = {row.message_id: row.mm_status for row in rows}
    expected = {by_number[number]["message_id"]: "Retrieved" for number in recipients[:4]}
    assert statuses == expected | {by_number[recipients[4]]["message_id"]: "Expired"}
    # They came over HTTP to the plugin, which answered each of them at once.
    callbacks = [one for one in stage.sandbox.reports() if one["message_id"] in statuses]
    assert {one["state"] for one in callbacks} == {"acknowledged"}
    assert {attempt["http_status"] for one in callbacks for attempt in one["attempts"]} == {200}

    logged = written_by(stage)
    assert sent["batch_id"] in logged
    for secret in [*recipients, *(number.removeprefix("+") for number in recipients), text]:
        assert secret not in logged
    for secret in (stage.sandbox.password, stage.callback_password, stage.s3.secret_key):
        assert secret not in logged


def test_alert_after_a_load_that_worked(stage: Stage) -> None:
    number = "+12025550181"
    run_id = stage.airflow.trigger("mms_alert", {"on_call": [number]})
    stage.airflow.wait_run("mms_alert", run_id, 120)

    # The callback runs when the task is done.
    (received,) = wait_for(lambda: stage.sandbox.accepted_for(number), bool)
    assert received["valid"], received["problems"]
    assert received["subject"].startswith("Load of 20")
    parts = {part["content_type"].partition(";")[0]: part for part in received["parts"]}
    assert set(parts) == {"application/smil", "text/plain", "image/png"}
    assert parts["text/plain"]["text"] == "3927 rows loaded."


@pytest.mark.parametrize("numbers", [["+12025550182", "+12025550183"]])
def test_alert_after_a_load_that_failed(stage: Stage, numbers: list[str]) -> None:
    run_id = stage.airflow.trigger("mms_alert", {"on_call": numbers, "max_rejected": 0})
    stage.airflow.wait_run("mms_alert", run_id, 120, expect="failed")

    for number in numbers:
        (received,) = wait_for(partial(stage.sandbox.accepted_for, number), bool)
        assert received["subject"] == "mms_alert.load failed"
        assert received["parts"][-1]["text"].startswith(
            "Task load of DAG mms_alert failed (ValueError).\nRun " + run_id
        )
        assert "Priority>High</" in received["soap"]


def test_messages_that_python_makes(stage: Stage) -> None:
    customers = [{"name": "Ann", "number": "+12025550174"}, {"name": "Zoë", "number": "+12025550175"}]
    run_id = stage.airflow.trigger("mms_taskflow", {"customers": customers})
    stage.airflow.wait_run("mms_taskflow", run_id, 180)

    assert stage.airflow.xcom("mms_taskflow", run_id, "count") == 2
    for customer in customers:
        (received,) = stage.sandbox.accepted_for(customer["number"])
        assert received["subject"] == "Welcome"
        assert received["parts"][-1]["text"] == f"Hello {customer['name']}, good to have you with us."


def test_batch_from_a_recipients_file(stage: Stage) -> None:
    numbers = [f"+1202555014{digit}" for digit in range(4)]
    picture = (MEDIA / "saturn.gif").read_bytes()
    lines = [f"{numbers[0]},Ann,saturn.gif", f"{numbers[1]},Bob,", f"{numbers[0]},Ann,", f"{numbers[2]},Zoë,saturn.gif"]
    stage.s3.upload(
        "weekly",
        {
            "c1/people.csv": "\r\n".join(["number,first_name,picture", *lines]).encode(),
            "c1/pictures/saturn.gif": picture,
        },
    )
    airflow = stage.airflow
    run_id = airflow.trigger("mms_batch", {"bucket": "weekly", "folder": "c1"})
    airflow.wait_run("mms_batch", run_id, 180)

    sent = airflow.xcom("mms_batch", run_id, "send")
    assert set(sent) == (RESULT_KEYS - {"messages"}) | {"invalid", "duplicates", "results"}
    assert (sent["total"], sent["accepted"], sent["invalid"], sent["duplicates"]) == (3, 3, 0, 1)
    assert airflow.xcom("mms_batch", run_id, "send", "batch_id") == sent["batch_id"]
    assert airflow.xcom("mms_batch", run_id, "arrived")["delivered"] == 3
    assert sent["results"] in airflow.xcom("mms_batch", run_id, "summarise")

    message_ids = {}
    for number, name, pictures in ((numbers[0], "Ann", 1), (numbers[1], "Bob", 0), (numbers[2], "Zoë", 1)):
        (received,) = stage.sandbox.accepted_for(number)
        assert received["valid"], received["problems"]
        assert received["subject"] == f"{name}, your news"
        parts = [part for part in received["parts"] if part["content_type"].startswith("image/gif")]
        assert [part["sha256"] for part in parts] == [hashlib.sha256(picture).hexdigest()] * pictures
        message_ids[number] = received["message_id"]
    results = stage.s3.client().get_object(Bucket="weekly", Key="c1/people.results.csv")["Body"].read().decode()
    rows = [row.split(",")[:4] for row in results.splitlines()]
    assert rows == [
        ["line", "recipient", "message_id", "state"],
        ["2", numbers[0], message_ids[numbers[0]], "accepted"],
        ["3", numbers[1], message_ids[numbers[1]], "accepted"],
        ["4", numbers[0], "", "duplicate"],
        ["5", numbers[2], message_ids[numbers[2]], "accepted"],
    ]
    logged = written_by(stage)
    for secret in [*(number.removeprefix("+") for number in numbers[:3]), "Zoë"]:
        assert secret not in logged

    # A line that is wrong: nothing leaves, and the task says which.
    stage.s3.upload(
        "wrong", {"c1/people.csv": f"number,first_name,picture\n{numbers[3]},Eve,../../secret.gif\n".encode()}
    )
    run_id = airflow.trigger("mms_batch", {"bucket": "wrong", "folder": "c1"})
    airflow.wait_run("mms_batch", run_id, 120, expect="failed")
    assert stage.sandbox.accepted_for(numbers[3]) == []
    assert "line 2: +1202*****43: media holds the segment . or .." in written_by(stage)


@pytest.mark.parametrize(
    ("number", "said", "follows", "reply"),
    [
        ("+12025550186", "Yes, please!", "expect", "See you at eight."),
        ("+12025550187", "no", "give_away", "Another time, then."),
        ("+12025550188", "Who is this?", "call", None),
    ],
)
def test_survey_waits_for_the_answer(stage: Stage, number: str, said: str, follows: str, reply: str | None) -> None:
    # What came before the run is no answer to it.
    handset = {"sender": number, "recipient": "+12025550100"}
    stage.sandbox.ask("POST", "/deliver", {**handset, "text": "Something else"})
    airflow = stage.airflow
    run_id = airflow.trigger("mms_survey", {"customer": number})
    airflow.wait_task("mms_survey", run_id, "answer", ["deferred"], 120)
    (asked,) = stage.sandbox.accepted_for(number)
    posted = stage.sandbox.ask(
        "POST", "/deliver", {**handset, "text": said, "linked_id": asked["message_id"], "media": [PICTURE]}
    )
    assert posted["attempts"][0]["http_status"] == 200
    airflow.wait_run("mms_survey", run_id, 120)

    states = airflow.task_states("mms_survey", run_id)
    branches = dict.fromkeys(("expect", "give_away", "call"), "skipped") | {follows: "success"}
    assert states == {"ask": "success", "answer": "success", "understand": "success", **branches}
    answer = airflow.xcom("mms_survey", run_id, "answer")
    assert (answer["text"], answer["linked_id"]) == (said, asked["message_id"])
    assert number_key(answer["sender"]) == number_key(number)
    (picture,) = answer["media"]
    assert hashlib.sha256(Path(picture["uri"].removeprefix("file://")).read_bytes()).hexdigest() == picture["sha256"]

    replies = stage.sandbox.accepted_for(number)[1:]
    assert [one["parts"][-1]["text"] for one in replies] == [reply] * (reply is not None)
    for one in replies:
        assert f"<LinkedID>{asked['message_id']}</LinkedID>" in one["soap"]
    logged = written_by(stage)
    for secret in (number.removeprefix("+"), said) if len(said) > 2 else (number.removeprefix("+"),):
        assert secret not in logged
