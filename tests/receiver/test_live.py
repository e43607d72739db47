"""The receiver behind a real server, and peers that behave badly."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from airflow_provider_mm7.receiver import ReceiverConfig
from tests.receiver import callbacks
from tests.receiver.conftest import Rig
from tests.support.asgi import WAIT_S, LiveServer, read_answer, serving

PATH = "/mm7/callback"


def head(*, length: int | None, authorization: str | None = None, extra: str = "") -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: mm7.test",
        f"Authorization: {authorization or callbacks.authorization()}",
        f"Content-Type: {callbacks.XML}",
        'SOAPAction: ""',
    ]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()


@pytest.fixture(params=["h11", "httptools"])
def server_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_main_road(rig: Rig, server_kind: str) -> None:
    body, content_type = callbacks.deliver()
    with serving(rig.app(), http=server_kind) as server, httpx.Client(base_url=server.url) as client:
        first = client.post(PATH, content=callbacks.report(), headers=callbacks.headers())
        second = client.post(PATH, content=body, headers=callbacks.headers(content_type))
        refused = client.post(PATH, content=body, headers=callbacks.headers(password="no"))
        health = client.get("/mm7/health")
        alive = rig.store.components()
    assert [one.kind for one in alive] == ["receiver"]
    assert rig.store.components() == []
    assert [first.status_code, second.status_code, refused.status_code, health.status_code] == [200, 200, 401, 200]
    assert b"<StatusCode>1000</StatusCode>" in first.content
    assert first.headers["content-length"] == str(len(first.content))
    assert (len(rig.store.reports()), len(rig.store.inbound()), len(rig.sink.files)) == (1, 1, 4)


def test_credentials_in_the_callback_url_arrive_decoded(rig: Rig) -> None:
    from airflow_provider_mm7.receiver import CallbackCredentials

    rig.directory.entries["mm7_default"] = CallbackCredentials(login="va@sp", password="p:ä/?#%40 +")
    with serving(rig.app()) as server:
        url = f"http://va%40sp:p%3A%C3%A4%2F%3F%23%2540%20%2B@127.0.0.1:{server.port}{PATH}"
        answer = httpx.post(url, content=callbacks.report(), headers={"Content-Type": callbacks.XML})
    assert answer.status_code == 200


def test_a_stranger_is_answered_before_sending_a_body(rig: Rig, server_kind: str) -> None:
    with serving(rig.app(), http=server_kind) as server, server.connect() as connection:
        connection.sendall(head(length=5_000_000, authorization="Basic eDp5", extra="Expect: 100-continue\r\n"))
        answer = read_answer(connection)
        assert (answer.status, answer.read()) == (401, b"Unauthorized\n")
        connection.shutdown(1)


@pytest.mark.parametrize("length", [3_000_000, None])
def test_a_peer_that_sends_too_much_can_read_why(rig: Rig, server_kind: str, length: int | None) -> None:
    rig.config = ReceiverConfig(max_body_bytes=100_000)
    block = b"x" * 50_000
    with serving(rig.app(), http=server_kind) as server, server.connect() as connection:
        connection.sendall(head(length=length))
        # All of it is sent, deaf to any answer, as simple clients do.
        for _ in range(60):
            connection.sendall(block if length else b"%x\r\n%s\r\n" % (len(block), block))
        if length is None:
            connection.sendall(b"0\r\n\r\n")
        answer = read_answer(connection)
        assert (answer.status, answer.read()) == (413, b"Content too large\n")


def test_a_body_that_never_ends_is_given_up(rig: Rig, server_kind: str) -> None:
    rig.config = ReceiverConfig(body_timeout_s=0.3)
    with serving(rig.app(), http=server_kind) as server, server.connect() as connection:
        connection.sendall(head(length=1000) + b"<")
        answer = read_answer(connection)
        assert answer.status == 408
        answer.read()
        assert connection.recv(1) == b""


def test_a_peer_that_hangs_up_midway_harms_nobody(rig: Rig, server_kind: str) -> None:
    body = callbacks.report()
    rig.config = ReceiverConfig(max_concurrent=1)
    with serving(rig.app(), http=server_kind) as server, httpx.Client(base_url=server.url) as client:
        with server.connect() as connection:
            connection.sendall(head(length=len(body)) + body[:100])
        # Its place is free as soon as the server has noticed.
        for _ in range(1000):
            answer = client.post(PATH, content=callbacks.report("m-2"), headers=callbacks.headers())
            if answer.status_code != 503:
                break
        assert answer.status_code == 200
    assert [one.message_id for one in rig.store.reports()] == ["m-2"]


def test_what_was_sent_whole_is_stored_even_if_nobody_waits_for_the_answer(rig: Rig, server_kind: str) -> None:
    body, content_type = callbacks.deliver()
    rig.sink.go.clear()
    with serving(rig.app(), http=server_kind) as server:
        with server.connect() as connection:
            wire = head(length=len(body)).replace(callbacks.XML.encode(), content_type.encode())
            connection.sendall(wire + body)
            assert rig.sink.reached.wait(WAIT_S)
        rig.sink.go.set()
    assert len(rig.store.inbound()) == 1


def test_shutdown_finishes_what_is_under_way(rig: Rig, server_kind: str) -> None:
    body, content_type = callbacks.deliver()
    rig.sink.go.clear()
    before = set(threading.enumerate())
    server = LiveServer(rig.app(), http=server_kind)
    server.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            httpx.post, server.url + PATH, content=body, headers=callbacks.headers(content_type), timeout=WAIT_S
        )
        assert rig.sink.reached.wait(WAIT_S)
        server.begin_stop()
        rig.sink.go.set()
        answer = waiting.result(WAIT_S)
    server.stop()
    assert (answer.status_code, len(rig.store.inbound())) == (200, 1)
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("mm7-")]


def test_many_at_once_are_stored_once_each(rig: Rig, server_kind: str) -> None:
    rig.config = ReceiverConfig(max_concurrent=100)

    def send(number: int) -> int:
        # Each report twice, from two clients.
        return client.post(PATH, content=callbacks.report(f"m-{number // 2}"), headers=callbacks.headers()).status_code

    with (
        serving(rig.app(), http=server_kind) as server,
        httpx.Client(base_url=server.url, timeout=WAIT_S) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        assert set(pool.map(send, range(400))) == {200}
    assert len(rig.store.reports()) == 200
