"""The client against a loopback server that fails on the byte it is told to: was it sent, or not?"""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import pickle
import socket
import ssl
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from airflow_provider_mm7.exceptions import (
    AccessDenied,
    AnswerMismatch,
    ConnectFailed,
    ConnectionConfigError,
    MM7Error,
    NameResolutionFailed,
    NotAnMM7Server,
    NotSent,
    OutcomeUnknown,
    ThrottledOrDown,
    TlsFailed,
)
from airflow_provider_mm7.protocol import Fault, Payload, Status, SubmitRsp, dump
from airflow_provider_mm7.sending.outcome import find_status
from airflow_provider_mm7.transport import Endpoint, MMSCClient, parse_retry_after, wire
from airflow_provider_mm7.transport.client import REMEMBERED
from airflow_provider_mm7.transport.judge import MAX_RETRY_AFTER_S
from airflow_provider_mm7.transport.pool import FreshAdapter
from airflow_provider_mm7.transport.wire import MAX_ANSWER_BYTES
from tests.support.scripted import Exchange, free_port, scripted

#: Far more than the sockets' buffers hold, so that a server that stops reading stops the client in the middle.
BIG = Payload(content_type="text/xml", chunks=(b"<head/>", *(b"x" * 65536,) * 256, b"<tail/>"))
SMALL = Payload(content_type="text/xml", chunks=(b"<a>", b"media" * 100, b"</a>"))


def accepted(message_id: str = "m1", code: int = 1000) -> bytes:
    return dump(
        SubmitRsp(mm7_version="5.3.0", status=Status(status_code=code, status_text="t"), message_id=message_id),
        transaction_id="t1",
    ).body


def client(url: str, **settings: object) -> MMSCClient:
    return MMSCClient(Endpoint(**{"url": url, "connect_timeout_s": 5, "read_timeout_s": 5, **settings}))  # type: ignore[arg-type]


def answering(status: str, body: bytes, **headers: str) -> Callable[[Exchange], None]:
    def script(peer: Exchange) -> None:
        peer.read()
        peer.answer(status, body, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return script


def test_posts_the_payload_whole_with_its_length_and_credentials() -> None:
    with scripted(answering("200 OK", accepted())) as server, client(server.url, login="ü", password="p:w") as mmsc:
        envelope = mmsc.exchange(SMALL)

    assert isinstance(envelope.message, SubmitRsp)
    assert envelope.message.message_id == "m1"
    (request,) = server.requests
    assert request.head.startswith("POST /mm7 HTTP/1.1")
    assert request.body == SMALL.body
    assert request.header("Content-Length") == str(len(SMALL.body))
    assert request.header("Transfer-Encoding") is None
    assert request.header("SOAPAction") == '""'
    assert request.header("MIME-Version") == "1.0"
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    assert (scheme, base64.b64decode(token).decode()) == ("Basic", "ü:p:w")


def test_extra_headers_are_sent() -> None:
    headers = {"X-Mbuni-TransactionID": "Mbuni-msg.1759.x9.99.16"}
    with scripted(answering("200 OK", accepted())) as server, client(server.url, headers=headers) as mmsc:
        mmsc.exchange(SMALL)
    assert server.requests[0].header("X-Mbuni-TransactionID") == "Mbuni-msg.1759.x9.99.16"


def test_digest_answers_the_challenge_with_the_body_sent_again() -> None:
    def script(peer: Exchange) -> None:
        peer.read()
        peer.answer("401 Unauthorized", headers={"WWW-Authenticate": 'Digest realm="mms", nonce="n1", qop="auth"'})
        peer.read()
        peer.answer(body=accepted())

    with scripted(script) as server, client(server.url, login="u", password="p", auth="digest") as mmsc:
        assert mmsc.exchange(SMALL).transaction_id == "t1"
    first, second = server.requests
    assert first.header("Authorization") is None
    assert (second.header("Authorization") or "").startswith('Digest username="u"')
    assert second.body == SMALL.body


def test_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with scripted(answering("200 OK", accepted())) as server, client(server.url) as mmsc:
        mmsc.exchange(SMALL)
    assert server.requests[0].header("Authorization") is None


def test_one_connection_serves_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", 60.0)

    def script(peer: Exchange) -> None:
        for _ in range(3):
            peer.read()
            peer.answer(body=accepted())

    with scripted(script) as server, client(server.url) as mmsc:
        for _ in range(3):
            mmsc.exchange(SMALL)
        assert server.connections == 1


@pytest.mark.parametrize("way", ["direct", "proxy", "source address"])
def test_a_connection_that_idled_is_not_used_again(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", 0.0)
    settings: dict[str, object] = {"source_address": "127.0.0.2"} if way == "source address" else {}

    def script(peer: Exchange) -> None:
        while peer.read().head:
            peer.answer(body=accepted())

    with scripted(script) as server:
        url = server.url
        if way == "proxy":
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            url = "http://mmsc.invalid/mm7"
        with client(url, **settings) as mmsc:
            for _ in range(3):
                mmsc.exchange(SMALL)
        assert server.connections == 3


def test_closing_closes_connections_though_somebody_keeps_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", 60.0)
    closed = threading.Event()

    def script(peer: Exchange) -> None:
        if peer.server.connections == 1:
            refuse_then_close(peer)
            return
        peer.read()
        peer.answer(body=accepted())
        assert peer.read_head() == ("", b"")
        closed.set()

    with scripted(script) as server:
        with client(server.url) as mmsc:
            with pytest.raises(NotSent) as kept:
                mmsc.exchange(BIG)
            mmsc.exchange(SMALL)
        assert closed.wait(5)
        assert kept.value.__cause__ is not None


def refuse_then_close(peer: Exchange) -> None:
    peer.read_head()
    peer.reset()


def take_and_reset(peer: Exchange) -> None:
    peer.read()
    peer.reset()


def take_and_close(peer: Exchange) -> None:
    peer.read()


def take_and_wait(peer: Exchange) -> None:
    peer.read()
    peer.server.released.wait(20)


def plain_http(peer: Exchange) -> None:
    """Answer a TLS client's hello as an HTTP server does."""
    peer.sock.recv(1)
    peer.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def half_an_answer(peer: Exchange) -> None:
    peer.read()
    body = accepted()
    peer.answer(body=body[: len(body) // 2], length=len(body))


def half_a_chunked_answer(peer: Exchange) -> None:
    peer.read()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<env")


def half_a_document(peer: Exchange) -> None:
    peer.read()
    peer.answer(body=accepted()[:-30])


def endless_answer(peer: Exchange) -> None:
    peer.read()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.sock.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    "script",
    [
        take_and_reset,
        take_and_close,
        take_and_wait,
        half_an_answer,
        half_a_chunked_answer,
        half_a_document,
        endless_answer,
        answering("200 OK", b"<html>hello</html>"),
        answering("200 OK", b""),
        answering("504 Gateway Timeout", b"upstream"),
        answering("520 Unknown Error", b"upstream"),
        answering("524 A Timeout Occurred", b"upstream"),
        answering("500 Internal Server Error", accepted()),
    ],
    ids=lambda script: getattr(script, "__qualname__", "answer"),
)
def test_a_whole_request_without_a_clear_answer_has_an_unknown_outcome(script: Callable[[Exchange], None]) -> None:
    with (
        scripted(script) as server,
        client(server.url, read_timeout_s=0.5) as mmsc,
        pytest.raises(OutcomeUnknown),
    ):
        mmsc.exchange(SMALL)


def continue_first(peer: Exchange) -> None:
    peer.read()
    peer.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.answer(body=accepted())


def chunked(peer: Exchange) -> None:
    peer.read()
    body = accepted()
    pieces = [body[:10], body[10:300], body[300:]]
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in pieces:
        peer.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    peer.sock.sendall(b"0\r\n\r\n")


def zipped(peer: Exchange) -> None:
    peer.read()
    peer.answer(body=gzip.compress(accepted()), headers={"Content-Encoding": "gzip"})


def until_close(peer: Exchange) -> None:
    peer.read()
    peer.sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + accepted())


def left_open(peer: Exchange) -> None:
    """Neither a length nor an end."""
    peer.read()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n" + accepted())
    peer.server.released.wait(20)


@pytest.mark.parametrize(
    "script", [continue_first, chunked, zipped, until_close, left_open], ids=lambda it: it.__name__
)
def test_an_answer_framed_in_any_way_is_read(script: Callable[[Exchange], None]) -> None:
    with scripted(script) as server, client(server.url, read_timeout_s=2) as mmsc:
        message = mmsc.exchange(SMALL).message
    assert isinstance(message, SubmitRsp)
    assert message.message_id == "m1"


def half_left_open(peer: Exchange) -> None:
    peer.read()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n" + accepted()[:-30])
    peer.server.released.wait(20)


def bomb(peer: Exchange) -> None:
    peer.read()
    peer.answer(body=gzip.compress(b" " * (200 * MAX_ANSWER_BYTES)), headers={"Content-Encoding": "gzip"})


def broken_zip(peer: Exchange) -> None:
    peer.read()
    peer.answer(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("script", [half_left_open, bomb, broken_zip], ids=lambda it: it.__name__)
def test_an_answer_that_cannot_be_read_leaves_doubt(script: Callable[[Exchange], None]) -> None:
    with scripted(script) as server, client(server.url, read_timeout_s=1) as mmsc, pytest.raises(OutcomeUnknown):
        mmsc.exchange(SMALL)


@pytest.mark.parametrize("status", ["102 Processing", "103 Early Hints"])
def test_an_interim_answer_leaves_doubt_and_its_late_successor_answers_nobody_else(status: str) -> None:
    def script(peer: Exchange) -> None:
        peer.read()
        if peer.server.connections == 1:
            peer.sock.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
            peer.server.released.wait(20)
        else:
            peer.answer(body=accepted("second"))

    with scripted(script) as server, client(server.url) as mmsc:
        with pytest.raises(OutcomeUnknown, match=status[:3]):
            mmsc.exchange(SMALL)
        message = mmsc.exchange(SMALL).message
        assert isinstance(message, SubmitRsp)
        assert message.message_id == "second"
        server.released.set()


@pytest.mark.parametrize(
    ("status", "error"), [("413 Content Too Large", NotAnMM7Server), ("401 Unauthorized", AccessDenied)]
)
def test_a_server_that_answers_before_it_has_read_is_understood(status: str, error: type[MM7Error]) -> None:
    def script(peer: Exchange) -> None:
        peer.read_head()
        peer.answer(status, b"<html/>")
        peer.sock.shutdown(socket.SHUT_WR)

    with scripted(script) as server, client(server.url) as mmsc, pytest.raises(error, match=status[:3]):
        mmsc.exchange(BIG)


CHALLENGE = {"WWW-Authenticate": 'Digest realm="mms", nonce="n1", qop="auth"'}


def interim(peer: Exchange) -> None:
    peer.sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def too_long(peer: Exchange) -> None:
    peer.answer(body=b"x" * (2 * MAX_ANSWER_BYTES))


def dripping(peer: Exchange, status: str = "200 OK") -> None:
    """Send something before each read times out, for ever."""
    head = "".join(f"{key}: {value}\r\n" for key, value in CHALLENGE.items())
    peer.sock.sendall(f"HTTP/1.1 {status}\r\n{head}Content-Length: 1000\r\n\r\n".encode())
    while not peer.server.released.wait(0.05):
        peer.sock.sendall(b" ")


def too_long_a_challenge(peer: Exchange) -> None:
    peer.answer("401 Unauthorized", b"x" * (2 * MAX_ANSWER_BYTES), headers=CHALLENGE)


def dripping_challenge(peer: Exchange) -> None:
    dripping(peer, "401 Unauthorized")


@pytest.mark.parametrize("act", [interim, too_long, dripping], ids=lambda it: it.__name__)
def test_digest_gives_the_place_of_an_answer_that_is_not_read_to_its_end_to_the_next_request(
    act: Callable[[Exchange], None],
) -> None:
    def second(peer: Exchange) -> None:
        peer.answer(body=accepted("second"))

    answers = iter([act, second])

    def script(peer: Exchange) -> None:
        while (request := peer.read()).head:
            if request.header("Authorization") is None:
                peer.answer("401 Unauthorized", headers=CHALLENGE)
            else:
                next(answers)(peer)

    settings = {"login": "u", "password": "p", "auth": "digest", "max_connections": 1}
    with scripted(script) as server, client(server.url, read_timeout_s=1, **settings) as mmsc:
        with pytest.raises(OutcomeUnknown):
            mmsc.exchange(SMALL)
        message = mmsc.exchange(SMALL).message
        assert isinstance(message, SubmitRsp)
        assert message.message_id == "second"


@pytest.mark.parametrize("act", [too_long_a_challenge, dripping_challenge], ids=lambda it: it.__name__)
def test_digest_answers_a_challenge_whose_body_has_no_end(act: Callable[[Exchange], None]) -> None:
    def script(peer: Exchange) -> None:
        if peer.read().header("Authorization") is None:
            act(peer)
        else:
            peer.answer(body=accepted())

    settings = {"login": "u", "password": "p", "auth": "digest", "max_connections": 1}
    with scripted(script) as server, client(server.url, read_timeout_s=1, **settings) as mmsc:
        assert mmsc.exchange(SMALL).transaction_id == "t1"
        assert server.connections == 2


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_request_that_gets_no_connection_of_the_pool_was_not_sent(auth: str) -> None:
    settings = {"login": "u", "password": "p", "auth": auth, "max_connections": 1}
    url = f"http://127.0.0.1:{free_port()}/mm7"
    with client(url, connect_timeout_s=0.1, read_timeout_s=0.1, **settings) as mmsc:
        with pytest.raises(ConnectFailed):
            mmsc.exchange(SMALL)
        adapter: FreshAdapter = mmsc._session.get_adapter(url)  # type: ignore[assignment]
        taken = adapter._pool._get_conn()
        with pytest.raises(NotSent, match="became free"):
            mmsc.exchange(SMALL)
        adapter._pool._put_conn(taken)
        with pytest.raises(ConnectFailed):
            mmsc.exchange(SMALL)


def test_digest_that_is_cut_off_while_the_body_goes_out_again_was_not_sent() -> None:
    def script(peer: Exchange) -> None:
        peer.read()
        peer.answer("401 Unauthorized", headers={"WWW-Authenticate": 'Digest realm="mms", nonce="n1", qop="auth"'})
        peer.read_head()
        peer.reset()

    with (
        scripted(script) as server,
        client(server.url, login="u", password="p", auth="digest") as mmsc,
        pytest.raises(NotSent),
    ):
        mmsc.exchange(BIG)


def test_a_large_message_may_take_longer_than_the_connect_timeout_as_long_as_it_moves() -> None:
    def slow(peer: Exchange) -> None:
        _, body = peer.read_head()
        left = len(BIG) - len(body)
        for _ in range(8):
            time.sleep(0.25)  # a line of 8 MiB/s
            part = left // 8
            while part > 0 and (got := peer.sock.recv(min(part, 1 << 20))):
                part -= len(got)
                left -= len(got)
        while left > 0 and (got := peer.sock.recv(1 << 20)):
            left -= len(got)
        peer.answer(body=accepted())

    whole = Payload(content_type="text/xml", chunks=(BIG.body,))
    with scripted(slow) as server, client(server.url, connect_timeout_s=1) as mmsc:
        assert mmsc.exchange(whole).transaction_id == "t1"


def always(code: int) -> Callable[[Exchange], None]:
    return answering("200 OK", accepted(code=code), Connection="close")


class TestTransactionId:
    @pytest.mark.parametrize("sent", ["t1", "T1", "\n  t 1 "])
    def test_ours_however_it_is_spelled(self, sent: str) -> None:
        with scripted(answering("200 OK", accepted())) as server, client(server.url) as mmsc:
            assert mmsc.exchange(SMALL, transaction_id=sent).transaction_id == "t1"

    def test_none_at_all(self) -> None:
        body = accepted().replace(b"t1", b"")
        with scripted(answering("200 OK", body)) as server, client(server.url) as mmsc:
            assert mmsc.exchange(SMALL, transaction_id="t1").transaction_id is None

    @pytest.mark.parametrize("code", [1000, 2002, 4006])
    def test_that_of_another_request_says_nothing_about_ours(self, code: int) -> None:
        with scripted(always(code)) as server, client(server.url) as mmsc:
            mmsc.exchange(SMALL, transaction_id="t1")
            with pytest.raises(AnswerMismatch) as caught:
                mmsc.exchange(SMALL, transaction_id="t2")
        assert isinstance(caught.value, OutcomeUnknown)

    @pytest.mark.parametrize("code", [1000, 2002, 4006])
    @pytest.mark.parametrize("sent", ["t1-and-what-was-cut-off", "something else"])
    def test_one_that_nobody_asked_with_is_the_mmscs_own_way(
        self, sent: str, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scripted(always(code)) as server, client(server.url) as mmsc:
            for _ in range(3):
                said = find_status(mmsc.exchange(SMALL, transaction_id=sent).message)
                assert said is not None
                assert said.status_code == code
        assert caplog.text.count("TransactionID") == 1

    def test_that_of_another_task_is_known_by_its_form(self) -> None:
        theirs, ours = f"{uuid.uuid4()}-12", f"{uuid.uuid4()}-12"
        answer = dump(SubmitRsp(status=Status(status_code=1000), message_id="m1"), transaction_id=theirs).body
        with scripted(answering("200 OK", answer, Connection="close")) as server, client(server.url) as mmsc:
            # One that was cut off.
            assert mmsc.exchange(SMALL, transaction_id=f"{theirs}345").transaction_id == theirs
            with pytest.raises(AnswerMismatch):
                mmsc.exchange(SMALL, transaction_id=ours)

    def test_long_ago_is_another_story(self) -> None:
        """Requests of hours ago are not mixed up with this one, and need not be remembered."""
        with scripted(always(1000)) as server, client(server.url) as mmsc:
            mmsc.exchange(SMALL, transaction_id="t1")
            mmsc._turn = itertools.count(REMEMBERED)
            mmsc.exchange(SMALL, transaction_id="t2")


@pytest.mark.parametrize("value", ["top\nsecret", "top\u2013secret"])
def test_a_header_that_cannot_be_sent_is_a_matter_of_the_connection_and_not_quoted(value: str) -> None:
    with scripted(answering("200 OK", accepted())) as server, client(server.url, headers={"X-Key": value}) as mmsc:
        with pytest.raises(ConnectionConfigError) as caught:
            mmsc.exchange(SMALL)
        assert server.requests == []
    told = "".join(traceback.format_exception(caught.value))
    assert "secret" not in told
    assert "header" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("120", 120.0),
        ("-5", 0.0),
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("9" * 5000, None),
        ("Fri, 02 Jan 2026 09:31:47 GMT", 60.0),
        ("Fri, 02 Jan 2026 09:00:00 GMT", 0.0),
        ("Fri, 02 Jan 9999 09:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Fri, 32 Jan 2026 09:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=datetime(2026, 1, 2, 9, 30, 47, tzinfo=UTC)) == seconds


def test_a_connection_reset_in_the_middle_of_the_body_was_not_sent() -> None:
    with scripted(refuse_then_close) as server, client(server.url) as mmsc, pytest.raises(NotSent):
        mmsc.exchange(BIG)


def test_a_refused_connection_was_not_sent() -> None:
    with client(f"http://127.0.0.1:{free_port()}/mm7") as mmsc, pytest.raises(ConnectFailed, match="refused"):
        mmsc.exchange(SMALL)


def test_an_unknown_host_was_not_sent() -> None:
    with client("http://mmsc.invalid/mm7") as mmsc, pytest.raises(NameResolutionFailed, match=r"mmsc\.invalid"):
        mmsc.exchange(SMALL)


@pytest.mark.parametrize(
    ("status", "error", "retry_after"),
    [
        ("401 Unauthorized", AccessDenied, None),
        ("403 Forbidden", AccessDenied, None),
        ("404 Not Found", NotAnMM7Server, None),
        ("302 Found", NotAnMM7Server, None),
        ("409 Conflict", ThrottledOrDown, None),
        ("429 Too Many Requests", ThrottledOrDown, 7.0),
        ("500 Internal Server Error", ThrottledOrDown, None),
        ("503 Service Unavailable", ThrottledOrDown, 7.0),
    ],
)
def test_http_errors_are_told_apart(status: str, error: type[MM7Error], retry_after: float | None) -> None:
    headers = {"Location": "http://127.0.0.1:1/elsewhere"}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    with scripted(answering(status, b"<html/>", **headers)) as server, client(server.url) as mmsc:
        with pytest.raises(error) as caught:
            mmsc.exchange(SMALL)
        assert len(server.requests) == 1
    assert caught.value.http_status == int(status[:3])  # type: ignore[attr-defined]
    assert getattr(caught.value, "retry_after_s", None) == retry_after
    assert type(pickle.loads(pickle.dumps(caught.value))) is error


@pytest.mark.parametrize("line", ["200 OK", "500 No", "503 No"])
@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), (None, None), ("soon", None)])
def test_retry_after_beside_an_mm7_answer(line: str, value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    script = answering(line, accepted(code=4006), **headers)
    with scripted(script) as server, client(server.url) as mmsc:
        assert mmsc.exchange(SMALL).retry_after_s == seconds


def test_retry_after_is_that_of_each_answer_however_alike_the_answers_are() -> None:
    asked = iter(["7", None, "3", None, "5"])

    def script(peer: Exchange) -> None:
        for value in asked:
            peer.read()
            peer.answer(body=accepted(code=4006), headers={} if value is None else {"Retry-After": value})

    with scripted(script) as server, client(server.url) as mmsc:
        answers = [mmsc.exchange(SMALL, transaction_id="t1") for _ in range(5)]
    assert [answer.retry_after_s for answer in answers] == [7, None, 3, None, 5]


@pytest.mark.parametrize(("doubtful", "error"), [({502}, OutcomeUnknown), ({504}, ThrottledOrDown)])
def test_which_http_errors_leave_doubt_is_the_endpoints(doubtful: set[int], error: type[MM7Error]) -> None:
    with (
        scripted(answering("502 Bad Gateway", b"upstream")) as server,
        client(server.url, doubtful_statuses=frozenset(doubtful)) as mmsc,
        pytest.raises(error),
    ):
        mmsc.exchange(SMALL)


@pytest.mark.parametrize("side", ["Client", "Server"])
@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("401 No", AccessDenied),
        ("403 No", AccessDenied),
        ("404 No", NotAnMM7Server),
        ("409 No", ThrottledOrDown),
        ("429 No", ThrottledOrDown),
        ("503 No", ThrottledOrDown),
        ("504 No", OutcomeUnknown),
    ],
)
def test_beside_a_bare_fault_an_http_status_that_says_more_counts(line: str, error: type[MM7Error], side: str) -> None:
    body = dump(Fault(fault_code=side, fault_string="no"), transaction_id="t1").body
    with scripted(answering(line, body)) as server, client(server.url) as mmsc, pytest.raises(error):
        mmsc.exchange(SMALL)


@pytest.mark.parametrize("line", ["200 OK", "400 No", "500 No"])
def test_a_bare_fault_counts_where_soap_puts_it(line: str) -> None:
    body = dump(Fault(fault_code="Client", fault_string="no"), transaction_id="t1").body
    with scripted(answering(line, body)) as server, client(server.url) as mmsc:
        assert isinstance(mmsc.exchange(SMALL).message, Fault)


def test_an_error_status_is_read_at_any_http_status() -> None:
    with scripted(answering("500 Internal Server Error", accepted(code=2002))) as server, client(server.url) as mmsc:
        message = mmsc.exchange(SMALL).message
    assert isinstance(message, SubmitRsp)
    assert message.status.status_code == 2002


def test_errors_hold_no_credentials() -> None:
    url = f"http://127.0.0.1:{free_port()}/mm7"
    with client(url, login="u", password="hunter2", headers={"X-Key": "topsecret"}) as mmsc:
        with pytest.raises(ConnectFailed) as caught:
            mmsc.exchange(SMALL)
        assert "hunter2" not in repr(mmsc.endpoint)
        assert "topsecret" not in repr(mmsc.endpoint)
    assert "hunter2" not in repr(caught.value)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server context with a certificate that nobody trusts, and the certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return context, path


def test_an_untrusted_certificate_was_not_sent(tls: tuple[ssl.SSLContext, Path]) -> None:
    with scripted(answering("200 OK", accepted()), tls=tls[0]) as server, client(server.url) as mmsc:
        with pytest.raises(TlsFailed, match="ca_bundle"):
            mmsc.exchange(SMALL)
        assert server.requests == []


@pytest.mark.parametrize("trust", ["ca_bundle", "environment", "verify off"])
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_can_be_trusted(
    tls: tuple[ssl.SSLContext, Path], trust: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, object] = {}
    if trust == "ca_bundle":
        settings["ca_bundle"] = str(tls[1])
    elif trust == "verify off":
        settings["verify"] = False
    else:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[1]))
    with (
        scripted(answering("200 OK", accepted()), tls=tls[0]) as server,
        client(server.url, **settings) as mmsc,
    ):
        assert mmsc.exchange(SMALL).transaction_id == "t1"


@dataclass
class Demanding:
    """A server with TLS 1.3 that wants to know who calls.

    :ivar trust: its CA, for ``ca_bundle``.
    :ivar certificates: for ``client_cert``.
    """

    context: ssl.SSLContext
    trust: str
    certificates: dict[str, str]

    @contextmanager
    def accept(self, peer: Exchange) -> Iterator[ssl.SSLSocket]:
        """Shake hands; after an alert, stay: a close with bytes that nobody has read would overtake it."""
        with self.context.wrap_socket(peer.sock, server_side=True, do_handshake_on_connect=False) as sock:
            try:
                sock.do_handshake()
                peer.sock = sock
                yield sock
            except ssl.SSLError:
                peer.server.released.wait(20)
                raise


@pytest.fixture(scope="module")
def demanding(tmp_path_factory: pytest.TempPathFactory) -> Demanding:
    folder = tmp_path_factory.mktemp("demanding")
    authority, another = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    past = datetime(2020, 1, 1, tzinfo=UTC)
    issued = {
        "known": authority.issue_cert("us"),
        "of another authority": another.issue_cert("us"),
        "expired": authority.issue_cert("us", not_before=past, not_after=past + timedelta(days=1)),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return Demanding(context, str(folder / "ca.pem"), {name: str(folder / f"{name}.pem") for name in issued})


@pytest.mark.parametrize("auth", ["basic", "digest"])
@pytest.mark.parametrize("certificate", [None, "of another authority", "expired"])
def test_a_client_certificate_that_is_refused_after_the_request_has_left_was_not_sent(
    demanding: Demanding, certificate: str | None, auth: str
) -> None:
    settings = {"ca_bundle": demanding.trust, "login": "u", "password": "p", "auth": auth}
    if certificate is not None:
        settings["client_cert"] = demanding.certificates[certificate]

    def script(peer: Exchange) -> None:
        with demanding.accept(peer):
            raise AssertionError("it was taken")

    with scripted(script) as server:
        url = server.url.replace("http:", "https:")
        with client(url, **settings) as mmsc, pytest.raises(TlsFailed, match="client_cert"):
            mmsc.exchange(SMALL)


def test_a_client_certificate_that_is_taken(demanding: Demanding) -> None:
    def script(peer: Exchange) -> None:
        with demanding.accept(peer):
            peer.read()
            peer.answer(body=accepted())

    settings = {"ca_bundle": demanding.trust, "client_cert": demanding.certificates["known"]}
    with scripted(script) as server, client(server.url.replace("http:", "https:"), **settings) as mmsc:
        assert mmsc.exchange(SMALL).transaction_id == "t1"


def test_a_certificate_that_is_asked_for_after_an_answer_and_refused_leaves_doubt(
    demanding: Demanding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has read what came before."""
    monkeypatch.setattr(wire, "MAX_IDLE_S", 60.0)
    monkeypatch.setattr(demanding.context, "post_handshake_auth", True)
    refused: list[str] = []

    def script(peer: Exchange) -> None:
        with demanding.accept(peer) as sock:
            peer.read()
            peer.answer(body=accepted())
            peer.read()
            sock.verify_client_post_handshake()
            # It asks with what it writes next.
            sock.write(b"H")
            try:
                sock.read()
            except ssl.SSLError as exc:
                refused.append(exc.reason)
                raise

    with scripted(script) as server:
        with client(server.url.replace("http:", "https:"), ca_bundle=demanding.trust) as mmsc:
            mmsc.exchange(SMALL)
            with pytest.raises(OutcomeUnknown):
                mmsc.exchange(SMALL)
        assert (server.connections, refused) == (1, ["PEER_DID_NOT_RETURN_A_CERTIFICATE"])


def test_a_broken_record_in_place_of_an_answer_leaves_doubt(tls: tuple[ssl.SSLContext, Path]) -> None:
    def script(peer: Exchange) -> None:
        peer.read()
        os.write(peer.sock.fileno(), b"no record of TLS")
        peer.server.released.wait(20)

    with (
        scripted(script, tls=tls[0]) as server,
        client(server.url, ca_bundle=str(tls[1])) as mmsc,
        pytest.raises(OutcomeUnknown),
    ):
        mmsc.exchange(SMALL)


def test_a_plain_server_behind_https_is_a_tls_error() -> None:
    with scripted(plain_http) as server:
        url = server.url.replace("http:", "https:")
        with client(url) as mmsc, pytest.raises(TlsFailed):
            mmsc.exchange(SMALL)


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(answering("200 OK", accepted())) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with client("http://mmsc.invalid/mm7") as mmsc:
            mmsc.exchange(SMALL)
    assert proxy.requests[0].head.startswith("POST http://mmsc.invalid/mm7 HTTP/1.1")


def test_the_source_address_is_used() -> None:
    seen: list[str] = []

    def script(peer: Exchange) -> None:
        seen.append(peer.sock.getpeername()[0])
        peer.read()
        peer.answer(body=accepted())

    with scripted(script) as server, client(server.url, source_address="127.0.0.2") as mmsc:
        mmsc.exchange(SMALL)
    assert seen == ["127.0.0.2"]
