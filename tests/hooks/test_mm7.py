from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.secrets_masker import _secrets_masker as core_masker
from airflow.sdk._shared.secrets_masker import _secrets_masker as task_masker

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.exceptions import (
    AccessDenied,
    ConnectFailed,
    ConnectionConfigError,
    InputError,
    OutcomeUnknown,
    PermanentStatusError,
    RetryableStatusError,
    ThrottledOrDown,
)
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.protocol import (
    Address,
    CancelReq,
    CancelRsp,
    Fault,
    Message,
    Part,
    Recipients,
    ReplaceReq,
    ReplaceRsp,
    RSErrorRsp,
    SenderIdentification,
    Status,
    SubmitReq,
    SubmitRsp,
)
from tests.support.sandbox import RunningSandbox
from tests.support.scripted import Exchange, free_port, scripted

TO = Recipients(to=(Address(value="+64211234567"),))
OK = Status(status_code=1000, status_text="Success")
ACCEPTED = SubmitRsp(mm7_version="5.3.0", status=OK, message_id="m1")
SMALL = SubmitReq(recipients=TO, subject="News")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MM7Hook]:
    """Return a function that makes a connection, as Airflow finds it in the environment, and its hook."""

    def make(url: str, **fields: Any) -> MM7Hook:
        columns = {name: fields.pop(name) for name in ("login", "password") if name in fields}
        columns = {"login": "user", "password": "pw", **columns}
        extra = {"connect_timeout_s": 5, "read_timeout_s": 5, **fields}
        monkeypatch.setenv(
            "AIRFLOW_CONN_MM7_HOOKED", json.dumps({"conn_type": "mm7", "host": url, "extra": extra, **columns})
        )
        return MM7Hook(mm7_conn_id="mm7_hooked")

    return make


def answering(message: Message, *, status: str = "200 OK") -> Callable[[Exchange], None]:
    def script(peer: Exchange) -> None:
        request = peer.read()
        transaction_id = protocol.load(request.body, request.header("Content-Type")).transaction_id
        peer.answer(status, protocol.dump(message, transaction_id=transaction_id).body)

    return script


def test_a_submit_is_completed_from_the_connection(connect: Callable[..., MM7Hook]) -> None:
    with scripted(answering(ACCEPTED)) as server:
        hook = connect(
            server.url,
            vaspid="TNN",
            vasid="News",
            sender_address="111122",
            service_code="gold",
            mm7_version="6.8.0",
            namespace="http://example.com/REL-6-MM7-1-4",
            soap_namespace="https://schemas.xmlsoap.org/soap/envelope/",
        )
        with hook:
            answer = hook.submit(SMALL, [Part(content_type="image/gif", body=b"GIF89a\r\n\0", content_id="saturn.gif")])

    assert answer.message_id == "m1"
    (request,) = server.requests
    sent = protocol.load(request.body, request.header("Content-Type"))
    assert isinstance(sent.message, SubmitReq)
    sender = sent.message.sender_identification
    assert (sender.vasp_id, sender.vas_id) == ("TNN", "News")
    assert sender.sender_address is not None
    assert sender.sender_address.value == "111122"
    assert (sent.message.service_code, sent.message.mm7_version) == ("gold", "6.8.0")
    assert sent.dialect.mm7_namespace == "http://example.com/REL-6-MM7-1-4"
    assert sent.dialect.soap_namespace == "https://schemas.xmlsoap.org/soap/envelope/"
    assert [part.body for part in sent.parts] == [b"GIF89a\r\n\0"]
    assert request.header("Authorization") == "Basic " + base64.b64encode(b"user:pw").decode()


def test_what_the_request_says_itself_is_kept(connect: Callable[..., MM7Hook]) -> None:
    request = SubmitReq(
        mm7_version="5.6.0",
        service_code="silver",
        recipients=TO,
        sender_identification=SenderIdentification(vas_id="Weather"),
    )
    with scripted(answering(ACCEPTED)) as server, connect(server.url, vaspid="TNN", vasid="News") as hook:
        hook.submit(request)

    sent = protocol.load(server.requests[0].body, server.requests[0].header("Content-Type")).message
    assert isinstance(sent, SubmitReq)
    assert (sent.mm7_version, sent.service_code) == ("5.6.0", "silver")
    assert (sent.sender_identification.vasp_id, sent.sender_identification.vas_id) == ("TNN", "Weather")


def test_each_request_has_a_transaction_id_of_its_own(connect: Callable[..., MM7Hook]) -> None:
    with scripted(answering(ACCEPTED)) as server, connect(server.url) as hook:
        for _ in range(2):
            hook.submit(SMALL)
            hook.close()
    ids = {protocol.load(item.body, item.header("Content-Type")).transaction_id for item in server.requests}
    assert len(ids) == 2
    assert None not in ids


@pytest.mark.parametrize("request_", ["m-1", CancelReq(message_id="m-1")])
def test_cancel(connect: Callable[..., MM7Hook], request_: CancelReq | str) -> None:
    answer = CancelRsp(mm7_version="5.3.0", status=OK)
    with scripted(answering(answer)) as server, connect(server.url, vaspid="TNN") as hook:
        assert hook.cancel(request_).status.status_code == 1000
    sent = protocol.load(server.requests[0].body, server.requests[0].header("Content-Type")).message
    assert isinstance(sent, CancelReq)
    assert (sent.message_id, sent.sender_identification.vasp_id) == ("m-1", "TNN")


def test_replace(connect: Callable[..., MM7Hook]) -> None:
    answer = ReplaceRsp(mm7_version="5.3.0", status=OK)
    part = Part(content_type="text/plain", body=b"Hello", content_id="text_0.txt")
    with scripted(answering(answer)) as server, connect(server.url, service_code="gold") as hook:
        assert hook.replace(ReplaceReq(message_id="m-1"), [part]).status.status_code == 1000
    sent = protocol.load(server.requests[0].body, server.requests[0].header("Content-Type"))
    assert isinstance(sent.message, ReplaceReq)
    assert (sent.message.service_code, sent.parts[0].body) == ("gold", b"Hello")


def test_partial_success_is_returned(connect: Callable[..., MM7Hook]) -> None:
    status = Status(status_code=1100, status_text="Partial success", details="+64211234568")
    with scripted(answering(SubmitRsp(mm7_version="5.3.0", status=status, message_id="m1"))) as server:
        assert connect(server.url).submit(SMALL).status.details == "+64211234568"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (2002, PermanentStatusError),
        (3000, RetryableStatusError),
        (3003, PermanentStatusError),
        (4006, RetryableStatusError),
        (2569, RetryableStatusError),
        (4000, PermanentStatusError),
    ],
)
def test_statuses_become_errors_as_the_connection_judges_them(
    connect: Callable[..., MM7Hook], code: int, kind: type[Exception]
) -> None:
    status = Status(status_code=code, status_text="not +64211234567", details="why")
    answer = SubmitRsp(mm7_version="5.3.0", status=status)
    with scripted(answering(answer)) as server:
        hook = connect(server.url, status_overrides='{"2569": "retry", "4000": "permanent"}')
        with pytest.raises(kind) as caught:
            hook.submit(SMALL)
    error = caught.value
    assert isinstance(error, PermanentStatusError | RetryableStatusError)
    assert (error.status_code, error.status_text, error.details) == (code, "not +64211234567", "why")
    sent = protocol.load(server.requests[0].body, server.requests[0].header("Content-Type"))
    assert error.transaction_id == sent.transaction_id
    assert "64211234567" not in str(error)


def test_an_error_response_in_a_fault_is_judged_too(connect: Callable[..., MM7Hook]) -> None:
    answer = RSErrorRsp(mm7_version="5.3.0", status=Status(status_code=4003, status_text="Unsupported operation"))
    with (
        scripted(answering(answer, status="500 Internal Server Error")) as server,
        pytest.raises(PermanentStatusError) as caught,
    ):
        connect(server.url).cancel("m-1")
    assert caught.value.status_code == 4003


def test_a_bare_fault_has_the_status_of_its_side(connect: Callable[..., MM7Hook]) -> None:
    answer = Fault(fault_code="soapenv:Server", fault_string="overload")
    with scripted(answering(answer, status="500 Oops")) as server, pytest.raises(RetryableStatusError) as caught:
        connect(server.url).submit(SMALL)
    assert caught.value.status_code == 3000


def test_a_success_of_another_operation_leaves_the_outcome_unknown(connect: Callable[..., MM7Hook]) -> None:
    with (
        scripted(answering(CancelRsp(mm7_version="5.3.0", status=OK))) as server,
        pytest.raises(OutcomeUnknown, match="CancelRsp"),
    ):
        connect(server.url).submit(SMALL)


def test_errors_below_mm7_keep_their_type(connect: Callable[..., MM7Hook]) -> None:
    def unavailable(peer: Exchange) -> None:
        peer.read()
        peer.answer("503 Busy", headers={"Retry-After": "7"})

    with scripted(unavailable) as server, pytest.raises(ThrottledOrDown) as caught:
        connect(server.url).submit(SMALL)
    assert caught.value.retry_after_s == 7

    busy = protocol.dump(SubmitRsp(mm7_version="5.3.0", status=Status(status_code=4006)), transaction_id=None).body

    def busy_in_mm7(peer: Exchange) -> None:
        peer.read()
        peer.answer("503 Busy", busy, headers={"Retry-After": "7"})

    with scripted(busy_in_mm7) as server, pytest.raises(RetryableStatusError) as told:
        connect(server.url).submit(SMALL)
    assert (told.value.status_code, told.value.retry_after_s) == (4006, 7)

    with pytest.raises(ConnectFailed):
        connect(f"http://127.0.0.1:{free_port()}/mm7").submit(SMALL)

    def denied(peer: Exchange) -> None:
        peer.read()
        peer.answer("403 Forbidden")

    with scripted(denied) as server, pytest.raises(AccessDenied):
        connect(server.url).submit(SMALL)


def test_an_invalid_request_is_not_sent(connect: Callable[..., MM7Hook]) -> None:
    with scripted(answering(ACCEPTED)) as server, pytest.raises(InputError):
        connect(server.url).submit(SubmitReq(recipients=TO, priority="Urgent"))
    assert server.connections == 0


def test_secrets_are_known_to_both_maskers(connect: Callable[..., MM7Hook], caplog: pytest.LogCaptureFixture) -> None:
    hook = connect(
        "http://127.0.0.1:1/",
        password="password-9f1",
        headers={"X-Api-Key": "header-9f2"},
        callback_login="cb",
        callback_password="callback-9f3",
    )
    with caplog.at_level(logging.DEBUG):
        assert hook.settings.secrets
    for masker in (task_masker(), core_masker()):
        assert masker.redact("password-9f1 header-9f2 callback-9f3") == "*** *** ***"


# --- test_connection -------------------------------------------------------------------------------------------------


def test_reached_and_sent_nothing(connect: Callable[..., MM7Hook]) -> None:
    def method_not_allowed(peer: Exchange) -> None:
        peer.read()
        peer.answer("405 Method Not Allowed")

    with scripted(method_not_allowed) as server:
        ok, text = connect(server.url).test_connection()
    assert ok
    assert "reached, not refused" in text
    assert "workers" in text
    (request,) = server.requests
    assert request.head.startswith("GET /mm7 ")
    assert request.header("Authorization") == "Basic " + base64.b64encode(b"user:pw").decode()
    assert request.body == b""


@pytest.mark.parametrize("path", ["", "/", "/mm7"])
def test_a_sandbox_passes_the_test(connect: Callable[..., MM7Hook], sandbox: RunningSandbox, path: str) -> None:
    ok, text = connect(sandbox.base_url + path, password=sandbox.password, login=sandbox.login).test_connection()
    assert ok, text
    assert not connect(sandbox.base_url + path, password="wrong", login=sandbox.login).test_connection()[0]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_credentials_or_allow_list(connect: Callable[..., MM7Hook], status: str) -> None:
    def refuse(peer: Exchange) -> None:
        peer.read()
        peer.answer(status)

    with scripted(refuse) as server:
        ok, text = connect(server.url).test_connection()
    assert not ok
    assert "credentials or IP allow list" in text


def test_tells_names_refusals_tls_and_silence_apart(connect: Callable[..., MM7Hook], tmp_path: Path) -> None:
    def silent(peer: Exchange) -> None:
        peer.read()
        peer.server.released.wait(20)

    def plain(peer: Exchange) -> None:
        peer.sock.recv(10)
        peer.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def ask(url: str, **fields: Any) -> str:
        ok, text = connect(url, **fields).test_connection()
        assert not ok
        return text

    texts = [
        ask("https://mmsc.invalid/mm7"),
        ask(f"http://127.0.0.1:{free_port()}/mm7"),
    ]
    with scripted(plain) as server:
        texts.append(ask(server.url.replace("http:", "https:")))
    with scripted(silent) as server:
        hook = connect(server.url, read_timeout_s=0.2)
        ok, text = hook.test_connection()
        server.released.set()
        assert not ok
        texts.append(text)
    for text, word in zip(texts, ("does not resolve", "refused the connection", "TLS", "no answer"), strict=True):
        assert word in text


def test_a_bad_field_is_told_and_no_secret_with_it(connect: Callable[..., MM7Hook]) -> None:
    ok, text = connect("https://h/", headers="hunter22").test_connection()
    assert not ok
    assert text.startswith("headers: ")
    assert "hunter22" not in text


def test_an_unknown_field_type_stops_the_hook(connect: Callable[..., MM7Hook]) -> None:
    with pytest.raises(ConnectionConfigError):
        connect("https://h/", max_connections="lots").get_conn()
