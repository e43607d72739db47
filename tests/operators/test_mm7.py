"""SendMMSOperator over a loopback MMSC and a real ledger: what is pushed when, what fails how, what is sent once."""

from __future__ import annotations

import base64
import contextlib
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException, AirflowFailException
from airflow.sdk.exceptions import AirflowTaskTimeout
from lxml import etree

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.operators.mm7 import SendMMSOperator
from airflow_provider_mm7.protocol import SubmitReq, SubmitRsp
from airflow_provider_mm7.sending import settling
from tests.operators.conftest import TaskInstance, execution_timeout
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.sandbox import RunningSandbox
from tests.support.scripted import free_port

#: A whole GIF of one pixel.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=")


def operator(**parameters: Any) -> SendMMSOperator:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        return SendMMSOperator(**{"task_id": "send", "to": "+64211234567", "text": "hello", **parameters})


def execute(task: SendMMSOperator, ti: TaskInstance, **context: Any) -> dict[str, Any]:
    task.render_template_fields({"ti": ti, **context})  # type: ignore[typeddict-item]
    return task.execute({"ti": ti})  # type: ignore[typeddict-item]


def submitted(received: Received) -> SubmitReq:
    assert isinstance(received.envelope.message, SubmitReq)
    return received.envelope.message


def test_a_number_that_a_template_made_an_integer(connect: Callable[..., None]) -> None:
    """As a DAG with ``render_template_as_native_obj`` does of ``+64211234567``."""
    with mmsc() as centre:
        connect(centre.url)
        with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=True):
            task = SendMMSOperator(task_id="send", to="{{ number }}", text="hello")
        execute(task, TaskInstance(centre), number="+64211234567")
    assert centre.received[0].recipients == ("+64211234567",)


def native(ti: TaskInstance, **parameters: Any) -> dict[str, Any]:
    """Execute in a DAG whose templates render ``{{ day }}`` and ``{{ price }}`` to numbers of Python."""
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=True):
        task = SendMMSOperator(**{"task_id": "send", "to": "+64211234567", "text": "hello", **parameters})
    return execute(task, ti, day="20260102", price="12.50")


def test_words_and_ids_that_templates_made_integers(connect: Callable[..., None]) -> None:
    with mmsc() as centre:
        connect(centre.url)
        native(TaskInstance(centre), subject="{{ day }}", text=["{{ day }}", "Hello"], linked_id="{{ day }}")
    (received,) = centre.received
    request = submitted(received)
    assert (request.subject, request.linked_id) == ("20260102", "20260102")
    assert [part.body for part in received.envelope.parts if part.content_type.startswith("text/")] == [
        *(b"20260102", b"Hello")
    ]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        # A digit was lost on the way.
        ({"text": "{{ price }}"}, r"^text: is of type float"),
        ({"text": ["{{ price }}"]}, r"^text\[0\]: is of type float"),
        # Two keys could have become the same integer.
        ({"idempotency_key": "{{ day }}"}, r"^idempotency_key: is of type int"),
    ],
)
def test_numbers_that_stand_for_no_text_end_the_task(
    connect: Callable[..., None], parameters: dict[str, Any], said: str
) -> None:
    with mmsc() as centre:
        connect(centre.url)
        with pytest.raises(AirflowFailException, match=said):
            native(TaskInstance(centre), **parameters)
    assert centre.received == []


def test_the_vendors_example_is_rebuilt(connect: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "saturn.gif").write_bytes(GIF)
    with mmsc() as centre:
        connect(centre.url, vaspid="TNN", vasid="News", number_format="digits")
        task = operator(
            to="7255441234",
            subject="News for today",
            text="Science news, new Saturn pictures...",
            media=[(tmp_path / "saturn.gif").as_uri()],
            smil="none",
            expiry="2020-01-20T09:30:47-05:00",
            priority="Normal",
        )
        result = execute(task, TaskInstance(centre))

    (received,) = centre.received
    request = submitted(received)
    assert (request.sender_identification.vasp_id, request.sender_identification.vas_id) == ("TNN", "News")
    assert received.recipients == ("7255441234",)
    assert request.subject == "News for today"
    assert request.priority == "Normal"
    assert request.delivery_report is True
    assert request.expiry == datetime(2020, 1, 20, 14, 30, 47, tzinfo=UTC)
    assert request.contents[0].allow_adaptations
    text, picture = received.envelope.parts
    assert text.content_type.startswith("text/plain")
    assert text.body == b"Science news, new Saturn pictures..."
    assert picture.content_type.partition(";")[0] == "image/gif"
    assert (picture.content_id, picture.body) == ("saturn.gif", GIF)
    assert b"multipart/mixed" in received.body
    assert result["messages"][0]["message_id"] == f"m-{received.transaction_id}"


def test_the_sandbox_finds_the_vendors_example_rebuilt_without_fault(
    connect: Callable[..., None], sandbox: RunningSandbox, tmp_path: Path
) -> None:
    (tmp_path / "saturn.gif").write_bytes(GIF)
    connect(
        sandbox.url, login=sandbox.login, password=sandbox.password, vaspid="TNN", vasid="News", number_format="digits"
    )
    task = operator(
        to="7255441234",
        subject="News for today",
        text="Science news, new Saturn pictures...",
        media=[(tmp_path / "saturn.gif").as_uri()],
        smil="none",
        expiry="2036-01-20T09:30:47-05:00",
        priority="Normal",
    )
    execute(task, TaskInstance())

    (record,) = sandbox.messages()
    assert (record["valid"], record["problems"], record["schema_messages"]) == (True, [], [])
    # None where MM7_XSD names no schema to hold it against.
    assert record["schema_valid"] in (True, None)
    assert record["schema_valid"] is not None or not os.environ.get("MM7_XSD")

    def types(structure: dict[str, Any]) -> list[Any]:
        return [structure["content_type"].partition(";")[0], *map(types, structure["parts"])]

    assert types(record["structure"]) == [
        "multipart/related",
        ["text/xml"],
        ["multipart/mixed", ["text/plain"], ["image/gif"]],
    ]

    def elements(soap: bytes) -> list[tuple[Any, ...]]:
        """Names, namespaces, attributes and texts in their order; what each request has anew is left out."""
        found = []
        for element in etree.fromstring(soap).iter():
            name = etree.QName(element)
            own = name.localname in ("TransactionID", "TimeStamp", "ExpiryDate")
            attributes = {etree.QName(key).localname: value for key, value in element.attrib.items()}
            text = "" if own else (element.text or "").strip()
            space = (name.namespace or "").rpartition("/")[2] or "envelope"
            found.append(
                (space, name.localname, {**attributes, "href": "..."} if "href" in attributes else attributes, text)
            )
        return found

    page = (Path(__file__).parents[1] / "protocol" / "vendor" / "submit_req.http").read_bytes()
    theirs = elements(page[page.index(b"<env:Envelope") : page.index(b"</env:Envelope>") + len(b"</env:Envelope>")])
    # The schema has Priority before Subject; the page, which says that either is taken, the other way round.
    names = [name for _, name, *_ in theirs]
    subject, priority = names.index("Subject"), names.index("Priority")
    theirs[subject], theirs[priority] = theirs[priority], theirs[subject]
    assert elements(record["soap"].encode()) == theirs


def test_the_contract(connect: Callable[..., None]) -> None:
    with mmsc() as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        result = execute(operator(to=["+64211234567", "64211234568"]), ti)
    assert ti.pushed == [("batch_id", result["batch_id"], 0)]
    messages = result.pop("messages")
    batch_id = result.pop("batch_id")
    assert batch_id
    assert result == {"total": 2, "accepted": 2, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0}
    assert [list(item) for item in messages] == [
        ["recipient", "message_id", "transaction_id", "state", "status_code", "status_text"]
    ] * 2
    assert [(item["recipient"], item["state"], item["status_code"]) for item in messages] == [
        ("+64211234567", "accepted", 1000),
        ("+64211234568", "accepted", 1000),
    ]


def test_templates_reach_every_text_parameter(connect: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(GIF)
    with mmsc() as centre:
        connect(centre.url)
        task = operator(
            to="{{ people }}",
            subject="News for {{ ds }}",
            text=["{{ ds }} one", "two"],
            media=["{{ folder }}/a.gif"],
            linked_id="{{ ds }}",
            expiry="{{ expiry }}",
            idempotency_key="{{ ds }}",
        )
        execute(
            task,
            TaskInstance(centre),
            people="+64211234567, +64211234568",
            ds="2026-01-02",
            folder=tmp_path.as_uri(),
            expiry="P2D",
        )
    assert sorted(centre.numbers) == ["+64211234567", "+64211234568"]
    request = submitted(centre.received[0])
    assert (request.subject, request.linked_id) == ("News for 2026-01-02", "2026-01-02")
    assert isinstance(request.expiry, datetime)
    assert request.timestamp is not None
    assert request.expiry - request.timestamp == timedelta(days=2)
    bodies = [part.body for part in centre.received[0].envelope.parts]
    assert b"2026-01-02 one" in bodies
    assert b"two" in bodies
    assert GIF in bodies


def test_every_parameter_has_its_element(connect: Callable[..., None]) -> None:
    elements: dict[str, Any] = {
        "subject": "News",
        "linked_id": "041502073667",
        "message_class": "Informational",
        "earliest_delivery": datetime(2030, 1, 2, 9, 30, tzinfo=UTC),
        "expiry": datetime(2030, 1, 3, 9, 30, tzinfo=UTC),
        "delivery_report": False,
        "read_reply": True,
        "priority": "High",
        "charged_party": "Sender",
        "distribution_indicator": False,
        "content_class": "image-basic",
    }
    with mmsc() as centre:
        connect(centre.url, vaspid="TNN", vasid="News", sender_address="111122", service_code="gold")
        execute(operator(**elements, allow_adaptations=False), TaskInstance(centre))
    request = submitted(centre.received[0])
    assert {name: getattr(request, name) for name in elements} == elements
    assert request.contents[0].allow_adaptations is False
    sender = request.sender_identification
    assert (sender.vasp_id, sender.vas_id, request.service_code) == ("TNN", "News", "gold")
    assert sender.sender_address is not None
    assert sender.sender_address.value == "111122"


def test_copies_stand_in_their_own_lists(connect: Callable[..., None]) -> None:
    with mmsc() as centre:
        connect(centre.url, recipients_per_request=5)
        execute(operator(to="+64211234567", cc="+64211234568", bcc=["+64211234569", "+64211234567"]), TaskInstance())
    (received,) = centre.received
    recipients = submitted(received).recipients
    assert [item.value for item in recipients.to] == ["+64211234567"]
    assert [item.value for item in recipients.cc] == ["+64211234568"]
    assert [item.value for item in recipients.bcc] == ["+64211234569"]


class TestFailures:
    def test_a_refusal_ends_without_retries_and_names_number_code_and_text(
        self, connect: Callable[..., None], caplog: pytest.LogCaptureFixture
    ) -> None:
        with mmsc(status(2002, "Address Error")) as centre, caplog.at_level(logging.DEBUG):
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException, match=r"2002 Address Error: \+6421\*+67") as caught:
                execute(operator(text="top secret text"), ti)
        assert [key for key, _, _ in ti.pushed] == ["batch_id", "return_value"]
        assert ti.value("return_value")["refused"] == 1
        for told in (str(caught.value), caplog.text):
            assert "4211234567" not in told
            assert "secret" not in told
            assert "hunter2" not in told

    def test_what_may_be_sent_later_uses_airflows_retries(self, connect: Callable[..., None]) -> None:
        with mmsc(status(4006, "Service unavailable")) as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowException, match="4006 Service unavailable") as caught:
                execute(operator(), ti)
        assert not isinstance(caught.value, AirflowFailException)
        assert ti.value("return_value")["planned"] == 1
        with mmsc() as centre:
            connect(centre.url)
            assert execute(operator(), TaskInstance(centre))["accepted"] == 1
            assert execute(operator(), TaskInstance(centre))["accepted"] == 1
            assert len(centre.received) == 1

    def test_a_dead_mmsc_uses_airflows_retries(self, connect: Callable[..., None]) -> None:
        connect(f"http://127.0.0.1:{free_port()}/mm7")
        with pytest.raises(AirflowException, match="refused the connection") as caught:
            execute(operator(), TaskInstance())
        assert not isinstance(caught.value, AirflowFailException)

    def test_wrong_credentials_end_without_retries_and_the_cleared_task_sends(
        self, connect: Callable[..., None]
    ) -> None:
        with mmsc(lambda received: ("401 Unauthorized", b"", {})) as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException, match="401"):
                execute(operator(), TaskInstance(centre))
        with mmsc() as centre:
            connect(centre.url)
            assert execute(operator(), TaskInstance(centre))["accepted"] == 1

    def test_doubt_is_held(self, connect: Callable[..., None]) -> None:
        def lost(received: Received) -> Answer:
            return lambda peer: peer.reset()

        with mmsc(lost) as centre:
            connect(centre.url)
            ti = TaskInstance(centre)
            with pytest.raises(AirflowFailException, match=r"unknown.*\+6421\*+67.*on_unknown='resend'"):
                execute(operator(fail_on="never"), ti)
            assert ti.value("return_value")["unknown"] == 1
        with mmsc() as centre:
            connect(centre.url)
            with pytest.raises(AirflowFailException, match="unknown"):
                execute(operator(), TaskInstance(centre))
            assert centre.received == []
            assert execute(operator(on_unknown="resend"), TaskInstance(centre))["accepted"] == 1

    @pytest.mark.parametrize(
        ("fail_on", "refused", "fails"),
        [
            (None, 1, False),
            (None, 2, True),
            ("any", 1, True),
            ("all", 1, False),
            ("all", 2, True),
            ("never", 2, False),
        ],
    )
    def test_fail_on(self, connect: Callable[..., None], fail_on: str | None, refused: int, fails: bool) -> None:
        everyone = ["+64211234567", "+64211234568"]

        def answer(received: Received) -> SubmitRsp | Answer:
            return status(2002)(received) if received.recipients[0] in everyone[:refused] else accept(received)

        with mmsc(answer) as centre:
            connect(centre.url)
            task = operator(to=everyone, fail_on=fail_on)
            if fails:
                with pytest.raises(AirflowFailException):
                    execute(task, TaskInstance(centre))
            else:
                assert execute(task, TaskInstance(centre))["refused"] == refused


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"to": []}, "to"),
        ({"to": ""}, "to"),
        ({"to": "0064211234567"}, r"to\[0\]"),
        ({"to": ["+64211234567", "12"]}, r"to\[1\]"),
        ({"to": ["+64211234567"], "cc": ["nobody"]}, r"cc\[0\]"),
        ({"text": None}, "text"),
        ({"text": "", "media": []}, "text"),
        ({"expiry": "tomorrow"}, "expiry"),
        ({"expiry": "2020-01-20T09:30:47"}, "expiry"),
        ({"priority": "urgent"}, "priority"),
        ({"message_class": "spam"}, "message_class"),
        ({"content_class": "huge"}, "content_class"),
        ({"charged_party": "Nobody"}, "charged_party"),
        ({"subject": "a\x00b"}, "subject"),
        ({"on_unknown": "guess"}, "on_unknown"),
        ({"fail_on": "some"}, "fail_on"),
        ({"media": "file:///nowhere/at/all.gif"}, "media"),
        ({"media": "https://example.com/a.gif"}, "media"),
        ({"smil": "<smil><body/>"}, "smil"),
    ],
)
def test_bad_input_names_the_field_and_nothing_is_sent(
    connect: Callable[..., None], parameters: dict[str, Any], field: str
) -> None:
    with mmsc() as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        with pytest.raises(AirflowFailException, match=f"(?i)^{field}: "):
            execute(operator(**parameters), ti)
    assert centre.received == []
    assert ti.pushed == []


def test_a_message_over_the_connections_limit_is_refused_naming_object_size_and_limit(
    connect: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "big.gif").write_bytes(GIF + b"\0" * 40_000)
    with mmsc() as centre:
        connect(centre.url, max_message_bytes=30_000)
        with pytest.raises(AirflowFailException, match=r"big\.gif.*30,?000"):
            execute(operator(media=(tmp_path / "big.gif").as_uri()), TaskInstance(centre))
    assert centre.received == []


def test_preview_does_everything_but_the_post(
    connect: Callable[..., None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with mmsc() as centre, caplog.at_level(logging.INFO):
        connect(centre.url, vaspid="TNN")
        ti = TaskInstance(centre)
        result = execute(operator(preview=True, subject="private", text="confidential"), ti)
    assert centre.received == []
    assert ti.pushed == []
    assert (result["batch_id"], result["planned"], result["accepted"]) == (None, 1, 0)
    assert "<VASPID>TNN</VASPID>" in caplog.text
    assert "text/plain" in caplog.text
    for hidden in ("4211234567", "private", "confidential", "hunter2"):
        assert hidden not in caplog.text


def test_preview_and_post_make_the_same_requests(
    connect: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    everybody = [f"+6421123456{digit}" for digit in range(10)]
    with mmsc() as centre, caplog.at_level(logging.INFO):
        connect(centre.url, recipients_per_request=100, rate_per_s=7.5)
        execute(operator(to=everybody, preview=True), TaskInstance(centre))
        execute(operator(to=everybody), TaskInstance(centre))
    assert "in each of 2 requests to 10 recipients" in caplog.text
    assert sorted(len(received.recipients) for received in centre.received) == [3, 7]


def test_large_results_leave_the_messages_out_when_asked(connect: Callable[..., None]) -> None:
    with mmsc() as centre:
        connect(centre.url)
        assert "messages" not in execute(operator(xcom_messages=False), TaskInstance(centre))


@pytest.mark.parametrize("answer", [accept, status(2002)], ids=["accepted", "refused"])
def test_without_do_xcom_push_nothing_is_pushed(connect: Callable[..., None], answer: Callable[..., Answer]) -> None:
    with mmsc(answer) as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        execute(operator(do_xcom_push=False, fail_on="never"), ti)
        with contextlib.suppress(AirflowFailException):
            execute(operator(do_xcom_push=False, fail_on="any", idempotency_key="again"), ti)
    assert len(centre.received) == 2
    assert ti.pushed == []


def test_multiple_outputs_are_pushed_before_a_failure_too(connect: Callable[..., None]) -> None:
    with mmsc(status(2002)) as centre:
        connect(centre.url)
        ti = TaskInstance(centre)
        with pytest.raises(AirflowFailException):
            execute(operator(multiple_outputs=True), ti)
    assert ti.value("refused") == 1
    assert ti.value("return_value")["refused"] == 1


def test_what_was_sent_is_told_when_the_execution_timeout_ends_the_task(connect: Callable[..., None]) -> None:
    with execution_timeout() as late, mmsc(late) as centre:
        connect(centre.url, max_connections=1)
        task, ti = operator(to=[f"+6421123456{n}" for n in range(4)]), TaskInstance(centre)
        with pytest.raises(AirflowTaskTimeout):
            execute(task, ti)
        assert len(centre.received) == 1
    contract = ti.value("return_value")
    assert (contract["accepted"], contract["planned"], contract["total"]) == (1, 3, 4)
    assert contract["batch_id"] == ti.value("batch_id")


def test_a_killed_task_sends_nothing_more_and_its_retry_sends_the_rest(connect: Callable[..., None]) -> None:
    everyone = [f"+6421{number:07d}" for number in range(1, 101)]
    task = operator(to=everyone)

    def killed(received: Received) -> Answer:
        if len(centre.received) == 10:
            task.on_kill()
        return accept(received)

    with mmsc(killed) as centre:
        connect(centre.url, max_connections=2)
        ti = TaskInstance(centre)
        with pytest.raises(AirflowException, match="not sent yet") as caught:
            execute(task, ti)
        sent = centre.numbers[:]
    assert not isinstance(caught.value, AirflowFailException)
    assert len(sent) < 20
    contract = ti.value("return_value")
    assert (contract["accepted"], contract["unknown"]) == (len(sent), 0)
    with mmsc() as centre:
        connect(centre.url)
        assert execute(operator(to=everyone), TaskInstance(centre))["accepted"] == 100
    assert sorted([*sent, *centre.numbers]) == everyone


@pytest.mark.parametrize("failing", ["claims.record", "claims.take", "facade.Store.replan"])
def test_a_store_that_is_away_is_told_cleanly_and_airflow_may_retry(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store cannot be reached")

    monkeypatch.setattr(f"airflow_provider_mm7.store.{failing}", away)
    monkeypatch.setattr(settling, "RECORD_FOR_S", 0.0)
    with mmsc() as centre:
        connect(centre.url)
        with pytest.raises(StoreUnavailable) as caught:
            execute(operator(), TaskInstance(centre))
    assert str(pickle.loads(pickle.dumps(caught.value))) == "the store cannot be reached"
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    for hidden in ("4211234567", "hello", "hunter2"):
        assert hidden not in told


def test_two_mapped_instances_are_two_batches(connect: Callable[..., None]) -> None:
    with mmsc() as centre:
        connect(centre.url)
        first = execute(operator(), TaskInstance(centre, map_index=0))
        second = execute(operator(), TaskInstance(centre, map_index=1))
    assert first["batch_id"] != second["batch_id"]
    assert len(centre.received) == 2


def test_sqlite_under_an_executor_of_many_machines_is_refused(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with mmsc() as centre:
        connect(centre.url)
        with pytest.raises(AirflowFailException, match="PostgreSQL"):
            execute(operator(), TaskInstance(centre))
    assert centre.received == []
