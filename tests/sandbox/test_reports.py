"""What the sandbox sends to the callback, and when."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable

import pytest
from lxml import etree

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.sandbox.scenarios import RETRIEVED, SCENARIOS, Scenario
from tests.sandbox.callback import ACCEPTED, CallbackServer, Posted
from tests.sandbox.client import MM7, envelope, field, ids, multipart, on_the_wire, post, status, submit, submit_body
from tests.support.sandbox import RunningSandbox, wait_for

NUMBER = "+64211234567"
PLAIN: dict[str, str | None] = {"Content_Type": "text/xml; charset=utf-8", "MIME_Version": None}


def read(posted: Posted) -> protocol.Envelope:
    """A callback as the product reads it."""
    return protocol.load(posted.body, posted.headers["content-type"])


def report_of(posted: Posted) -> protocol.DeliveryReportReq:
    """A delivery report as the product reads it."""
    message = read(posted).message
    assert isinstance(message, protocol.DeliveryReportReq)
    return message


def test_an_ordinary_message_is_retrieved(calling: RunningSandbox, callback: CallbackServer) -> None:
    message_id = field(submit(calling, NUMBER), "MessageID")
    (sent,) = calling.settled_reports(1)

    (posted,) = callback.posted
    report = report_of(posted)
    assert (report.message_id, report.mm_status, report.status_text) == (message_id, "Retrieved", "Success")
    assert report.recipient is not None
    assert report.recipient.value == "64211234567"
    assert report.sender is not None
    assert report.sender.value == "6421999"
    assert report.date is not None
    assert read(posted).dialect.mm7_namespace.endswith("/REL-6-MM7-1-4")
    assert posted.headers["authorization"] == "Basic " + base64.b64encode("mmsc:s3cret:ü".encode()).decode()
    assert posted.headers["content-type"] == 'text/xml; charset="utf-8"'
    etree.fromstring(posted.body)
    assert (sent["state"], sent["mm_status"], sent["message_id"]) == ("acknowledged", "Retrieved", message_id)
    assert [(one["http_status"], one["status_code"]) for one in sent["attempts"]] == [(200, 1000)]


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(one, id=one.code)
        for one in SCENARIOS.values()
        if one.code.startswith("5") and not any(step.turn == 0 for step in one.reports)
    ],
)
def test_reports_of_the_table(calling: RunningSandbox, callback: CallbackServer, scenario: Scenario) -> None:
    message_id = field(submit(calling, scenario.example, read_reply=True), "MessageID")
    submit(calling, NUMBER)
    calling.settled_reports(len(scenario.reports) + 1)

    mine = [one for one in callback.posted if field(one.body, "MessageID") == message_id]
    assert [field(one.body, "MMStatus") for one in mine] == [step.mm_status for step in scenario.reports]
    names = [
        etree.QName(next(etree.fromstring(one.body).iter("{*}DeliveryReportReq", "{*}ReadReplyReq"))).localname
        for one in mine
    ]
    assert names == ["ReadReplyReq" if step.read_reply else "DeliveryReportReq" for step in scenario.reports]
    for posted, step in zip(mine, scenario.reports, strict=True):
        first, second = [*ids(posted.body, "Number"), ""][:2]
        about, other = (second, first) if step.swapped else (first, second)
        suffix = "/TYPE=PLMN" if step.type_suffix else ""
        assert (about, other) == (scenario.example[1:] + suffix, "6421999" + suffix)


def test_out_of_order_by_date(calling: RunningSandbox, callback: CallbackServer) -> None:
    submit(calling, "+15005555102")
    calling.settled_reports(3)

    reports = [report_of(one) for one in callback.posted]
    dates = [one.date for one in reports if one.date is not None]
    assert [one.mm_status for one in reports] == ["Retrieved", "Deferred", "Retrieved"]
    assert dates[1] < dates[0] <= dates[2]


def test_swapped_as_one_real_mmsc_does(calling: RunningSandbox, callback: CallbackServer) -> None:
    submit(calling, "+15005555103")
    calling.settled_reports(1)

    report, envelope_read = report_of(callback.posted[0]), read(callback.posted[0])
    assert envelope_read.transaction_id == report.message_id
    assert report.sender is not None
    assert report.sender.value == "15005555103"
    body = callback.posted[0].body
    assert body.index(b"<Recipient>") < body.index(b"<MessageID>")


@pytest.mark.parametrize(("code", "more"), [("5101", 0), ("5107", 2)])
def test_a_report_before_the_answer(calling: RunningSandbox, callback: CallbackServer, code: str, more: int) -> None:
    """The callback holds its answer back: while it does, no SubmitRsp comes."""
    released, answered = threading.Event(), threading.Event()
    seen: list[bool] = []

    def hold(_posted: Posted) -> tuple[int, bytes]:
        if not seen:
            seen.append(answered.is_set())
            released.wait(10)
        return ACCEPTED

    callback.answer = hold
    answers: list[bytes] = []

    def send() -> None:
        answers.append(on_the_wire(calling, multipart(envelope(submit_body(f"+1500555{code}")))))
        answered.set()

    client = threading.Thread(target=send)
    client.start()
    wait_for(lambda: seen, bool)
    assert not answered.wait(0.2)
    released.set()
    client.join()

    assert b"<StatusCode>1000<" in answers[0]
    calling.settled_reports(1 + more)
    told = set(ids(answers[0], "MessageID"))
    assert {field(one.body, "MessageID") for one in callback.posted} == told
    assert [field(one.body, "MMStatus") for one in callback.posted] == ["Retrieved"] * (1 + more)


def test_a_message_whose_answer_was_lost_is_reported_too(calling: RunningSandbox, callback: CallbackServer) -> None:
    with pytest.raises(ConnectionResetError):
        on_the_wire(calling, multipart(envelope(submit_body("+15005550902"))))
    calling.settled_reports(1)

    assert report_of(callback.posted[0]).message_id == calling.accepted()[0]["message_id"]


def test_nothing_is_reported_that_was_not_asked_for(calling: RunningSandbox, callback: CallbackServer) -> None:
    submit(calling, NUMBER, report=False)
    submit(calling, "+15005555100")
    submit(calling, "+15005552002")
    submit(calling, NUMBER, read_reply=True)
    calling.settled_reports(2)

    assert [field(one.body, "MMStatus") for one in callback.posted] == ["Retrieved", "Read"]


def test_each_recipient_has_reports_of_its_own(calling: RunningSandbox, callback: CallbackServer) -> None:
    answer = submit(calling, NUMBER, "+15005555002", "+15005551100")
    assert status(answer) == 1100
    calling.settled_reports(2)

    first, second = calling.reports()
    assert calling.ask("GET", f"/reports?after={first['seq']}") == [second]
    assert calling.ask("GET", "/reports?limit=1") == [first]
    told = {(ids(one.body, "Number")[0], field(one.body, "MMStatus")) for one in callback.posted}
    assert told == {("64211234567", "Retrieved"), ("15005555002", "Expired")}


def test_what_is_not_acknowledged_comes_again_with_the_same_transaction(
    calling: RunningSandbox, callback: CallbackServer
) -> None:
    answers = iter([(503, ACCEPTED[1]), (200, b"not MM7"), (500, b""), ACCEPTED])
    callback.answer = lambda _posted: next(answers)
    submit(calling, NUMBER)
    (sent,) = calling.settled_reports(1)

    assert sent["state"] == "acknowledged"
    assert [(one["http_status"], one["status_code"]) for one in sent["attempts"]] == [
        (503, 1000),
        (200, None),
        (500, None),
        (200, 1000),
    ]
    assert len({one.body for one in callback.posted}) == 1


def test_it_gives_up_in_the_end(callback: CallbackServer, make_sandbox: Callable[..., RunningSandbox]) -> None:
    callback.answer = lambda _posted: (401, b"")
    sandbox = make_sandbox(callback_url=callback.url, report_retries=2, report_retry_delay=0.01)
    submit(sandbox, NUMBER)
    (sent,) = sandbox.settled_reports(1)

    assert (sent["state"], len(sent["attempts"]), len(callback.posted)) == ("given-up", 3, 3)


def test_an_error_status_drops_the_report_for_good(calling: RunningSandbox, callback: CallbackServer) -> None:
    callback.answer = lambda _posted: (ACCEPTED[0], ACCEPTED[1].replace(b"1000", b"2005"))
    submit(calling, NUMBER)
    (sent,) = calling.settled_reports(1)

    assert (sent["state"], len(sent["attempts"])) == ("refused", 1)


def test_a_callback_that_is_not_there(make_sandbox: Callable[..., RunningSandbox]) -> None:
    with socket.socket() as bound:  # taken, and nobody listens
        bound.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        sandbox = make_sandbox(callback_url=gone, report_retries=1, report_retry_delay=0.01)
        submit(sandbox, NUMBER)
        (sent,) = sandbox.settled_reports(1)

    assert sent["state"] == "given-up"
    assert [bool(one["error"]) for one in sent["attempts"]] == [True, True]


def test_cancel_before_delivery(callback: CallbackServer, make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(callback_url=callback.url, report_delay=0.05, late_seconds=60.0)
    message_id = field(submit(sandbox, "+15005555106"), "MessageID")
    cancel = envelope(
        f'<CancelReq xmlns="{MM7}"><MM7Version>5.3.0</MM7Version><SenderIdentification/>'
        f"<MessageID>{message_id}</MessageID></CancelReq>"
    ).encode()
    assert status(post(sandbox, cancel, **PLAIN)) == 1000
    wait_for(lambda: callback.posted, bool)

    assert [field(one.body, "MMStatus") for one in callback.posted] == ["Cancelled"]
    sandbox.settled_reports(2)
    assert status(post(sandbox, cancel, **PLAIN)) == 3001


def test_a_message_from_a_handset(calling: RunningSandbox, callback: CallbackServer) -> None:
    picture = bytes(range(256)) * 3
    entry = calling.deliver(
        sender="+64211234567",
        recipient="111122",
        text="Grüße & <b>",
        subject="Re: you",
        linked_id="1000001",
        media=[{"content_type": "image/jpeg", "base64": base64.b64encode(picture).decode()}],
    )

    assert entry["state"] == "acknowledged"
    received = read(callback.posted[0])
    message = received.message
    assert isinstance(message, protocol.DeliverReq)
    assert (message.subject, message.linked_id) == ("Re: you", "1000001")
    assert message.sender is not None
    assert message.sender.value == "64211234567"
    assert [one.value for one in message.recipients.to] == ["111122"]
    assert [one.body for one in received.parts] == ["Grüße & <b>".encode(), picture]
    assert received.parts[1].content_type.startswith("image/jpeg")


def test_a_chosen_report(calling: RunningSandbox, callback: CallbackServer) -> None:
    message_id = str(field(submit(calling, NUMBER, report=False), "MessageID"))
    calling.report(message_id=message_id, mm_status="Expired")
    calling.report(message_id="elsewhere", recipient="+6421000000", mm_status="Read", read_reply=True)

    first, second = callback.posted
    assert (report_of(first).message_id, report_of(first).mm_status) == (message_id, "Expired")
    assert isinstance(read(second).message, protocol.ReadReplyReq)


def printed(posted: Posted) -> str:
    """The shape of a callback: its markup without values."""
    return re.sub(r"\s+", " ", re.sub(r">[^<]+<", "><", posted.body.decode()))


def test_the_vendors_spelling(callback: CallbackServer, make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(callback_url=callback.url, quirks="vendor")
    sandbox.deliver(sender=NUMBER, text="hi")
    submit(sandbox, NUMBER)
    sandbox.settled_reports(2)

    deliver, report = (printed(one) for one in callback.posted)
    soap = callback.posted[0].body.partition(b"<?xml")[2]
    assert b"<soap-env::Header>" in soap
    assert b"</soap-env:Header>" in soap
    assert 'xmlns:ns1="https://schemas.xmlsoap.org/soap/envelope/"' in deliver
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(b"<?xml" + soap.partition(b"\r\n--")[0])
    assert 'xmlns:soap-env="https://schemas.xmlsoap.org/soap/envelope/"' in report
    assert 'xmlns= "https://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"' in report
    assert isinstance(read(callback.posted[0]).message, protocol.DeliverReq)
    assert report_of(callback.posted[1]).mm_status == "Retrieved"


def test_without_a_callback_nothing_is_sent(sandbox: RunningSandbox) -> None:
    submit(sandbox, NUMBER)
    assert sandbox.reports() == []


def test_ordinary_numbers_are_retrieved_and_read() -> None:
    assert [one.mm_status for one in RETRIEVED] == ["Retrieved", "Read"]


def test_credentials_may_stand_in_the_callback_url(
    callback: CallbackServer, make_sandbox: Callable[..., RunningSandbox]
) -> None:
    sandbox = make_sandbox(callback_url=callback.url.replace("://", "://mm%40sc:p%3Aw%2F%C3%BC@"))
    sandbox.deliver(sender="+64211234567", recipient="1234", text="hi")
    (posted,) = callback.posted
    assert base64.b64decode(posted.headers["authorization"].removeprefix("Basic ")).decode() == "mm@sc:p:w/ü"
    assert "@" not in posted.headers["host"]
