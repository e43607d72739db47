"""What leaves and what is read in one go is what urllib3 would send and read, for any answer cut anywhere."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import MM7Error
from airflow_provider_mm7.protocol import Payload
from airflow_provider_mm7.transport import Endpoint, MMSCClient, wire
from tests.support.scripted import Exchange, scripted

PAYLOAD = Payload(content_type="text/xml", chunks=(b"<a>", b"m" * 100, b"</a>"))
BODY = b"<answer/>"
ZIPPED = gzip.compress(BODY)

#: Name, the answer's bytes, and whether it is of the usual form. Each ends with its length or with its connection.
ANSWERS: tuple[tuple[str, bytes, bool], ...] = (
    ("plain", b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n" + BODY, True),
    ("blanks", b"HTTP/1.1 500 \r\ncontent-length:9\r\nRETRY-AFTER: \t7\r\n\r\n" + BODY, True),
    ("kept", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: Keep-Alive\r\n\r\n" + BODY, True),
    ("empty", b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", True),
    ("closed", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n" + BODY, False),
    ("old", b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n" + BODY, False),
    ("lf", b"HTTP/1.1 200 OK\nContent-Type: text/xml\nContent-Length: 9\n\n" + BODY, False),
    (
        "folded",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml;\r\n charset=utf-8\r\nContent-Length: 9\r\n\r\n" + BODY,
        False,
    ),
    (
        "zipped",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
        False,
    ),
    ("in chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<ans\r\n5\r\nwer/>\r\n0\r\n\r\n", False),
    (
        "both",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n9\r\n<answer/>\r\n0\r\n\r\n",
        False,
    ),
    ("no length", b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n" + BODY, False),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 9\r\n\r\n" + BODY, False),
    ("other lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 4\r\n\r\n" + BODY, False),
    ("no number", b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n" + BODY, False),
    ("nothing", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False),
    ("go on first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + BODY, False),
    ("cut", b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + BODY, False),
    ("no head", b"<answer/>", False),
    ("silence", b"", False),
    (
        "two types",
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 9\r\n\r\n" + BODY,
        False,
    ),
    ("long", b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, False),
)
BY_NAME = {name: (answer, usual) for name, answer, usual in ANSWERS}


@contextmanager
def answered(pieces: list[bytes]) -> Iterator[str]:
    """A server that gives one answer in pieces, each of which has arrived before the next one leaves, and hangs up."""

    def script(peer: Exchange) -> None:
        peer.read()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sock.sendall(piece)
            taken.wait(0.02 if len(pieces) > 1 else 0)
        peer.sock.shutdown(socket.SHUT_WR)

    taken = threading.Event()
    with scripted(script) as server:
        yield server.url


def read_by_us(url: str) -> tuple[int, str | None, str | None, bytes] | str:
    with MMSCClient(Endpoint(url=url, connect_timeout_s=5, read_timeout_s=5)) as mmsc:
        try:
            answer = mmsc.post(PAYLOAD)
        except MM7Error as exc:
            return type(exc).__name__
        return answer.status, answer.content_type, answer.retry_after, answer.body


def read_by_urllib3(url: str) -> tuple[int, str | None, str | None, bytes] | str:
    with urllib3.PoolManager(retries=False, timeout=5) as pool:
        try:
            answer = pool.request("POST", url, body=PAYLOAD.body, redirect=False)
        except urllib3.exceptions.HTTPError:
            return "OutcomeUnknown"
        return answer.status, answer.headers.get("Content-Type"), answer.headers.get("Retry-After"), answer.data


@pytest.mark.parametrize("name", list(BY_NAME))
def test_an_answer_is_read_as_urllib3_reads_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, usual = BY_NAME[name]
    left: list[str] = []
    by_the_library = wire.Connection._read_unusual

    def note(self: wire.Connection, url: str) -> wire.Answer:
        left.append(url)
        return by_the_library(self, url)

    monkeypatch.setattr(wire.Connection, "_read_unusual", note)
    with answered([answer]) as url:
        expected = read_by_urllib3(url)
    with answered([answer]) as url:
        assert read_by_us(url) == expected
    assert bool(left) is not usual


@pytest.mark.parametrize("name", ["plain", "kept", "in chunks", "closed", "go on first", "lf", "zipped"])
def test_it_may_come_in_pieces(name: str) -> None:
    answer, _ = BY_NAME[name]
    whole = read_by_urllib3_once(answer)
    for place in range(1, len(answer), 7):
        with answered([answer[:place], answer[place:]]) as url:
            assert read_by_us(url) == whole, place


def read_by_urllib3_once(answer: bytes) -> tuple[int, str | None, str | None, bytes] | str:
    with answered([answer]) as url:
        return read_by_urllib3(url)


def test_what_follows_an_answer_is_not_taken_for_the_next_one() -> None:
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
    seen: list[bytes] = []

    def script(peer: Exchange) -> None:
        while peer.read().head:
            seen.append(b"")
            peer.sock.sendall(BY_NAME["plain"][0] + (stray if len(seen) == 1 else b""))

    with (
        scripted(script) as server,
        MMSCClient(Endpoint(url=server.url, connect_timeout_s=5, read_timeout_s=5)) as mmsc,
    ):
        assert [mmsc.post(PAYLOAD).body for _ in range(3)] == [BODY] * 3


def test_connections_are_used_again_after_answers_of_both_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", 60.0)
    order = ["plain", "in chunks", "zipped", "plain", "two types", "plain"]

    def script(peer: Exchange) -> None:
        for name in order:
            peer.read()
            peer.sock.sendall(BY_NAME[name][0])

    with (
        scripted(script) as server,
        MMSCClient(Endpoint(url=server.url, connect_timeout_s=5, read_timeout_s=5)) as mmsc,
    ):
        assert {mmsc.post(PAYLOAD).body for _ in order} == {BODY}
        assert server.connections == 1


def head_of(sent: bytes) -> tuple[bytes, set[bytes]]:
    line, *rest = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return line, set(rest)


def test_the_head_is_urllib3s() -> None:
    """Sent with a body of another class, the same request is written by urllib3."""
    heads = []
    for kind in (wire.OneGo, wire.Outgoing):
        near, far = socket.socketpair()
        connection = wire.Connection("mmsc.example", 8080, timeout=5)
        connection.sock = near
        with near, far:
            headers = {
                "Content-Length": str(len(PAYLOAD)),
                "Content-Type": "text/xml",
                "X-One": "ü",
                "SOAPAction": '""',
            }
            connection.request("POST", "/mm7?a=b", body=kind(PAYLOAD.chunks), headers=headers)
            near.shutdown(socket.SHUT_WR)
            sent = b"".join(iter(lambda far=far: far.recv(65536), b""))  # type: ignore[misc]
        assert sent.endswith(b"\r\n\r\n" + PAYLOAD.body)
        heads.append(head_of(sent))
    assert heads[0] == heads[1]
    assert heads[0][0] == b"POST /mm7?a=b HTTP/1.1"
    assert b"Host: mmsc.example:8080" in heads[0][1]


def test_a_header_that_cannot_be_sent_leaves_nothing_behind() -> None:
    near, far = socket.socketpair()
    connection = wire.Connection("mmsc.example", timeout=5)
    connection.sock = near
    with near, far:
        length = {"Content-Length": str(len(PAYLOAD))}
        with pytest.raises(ValueError, match="Invalid header"):
            connection.request("POST", "/", body=wire.OneGo(PAYLOAD.chunks), headers={**length, "X": "a\r\nb"})
        body = wire.OneGo(PAYLOAD.chunks)
        connection.request("POST", "/", body=body, headers=length)
        assert body.complete
        assert far.recv(65536).count(b"POST") == 1


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 7, 65_535, 65_536, 200_001]), max_size=300), small=st.booleans())
def test_a_body_arrives_whole_however_little_the_socket_takes_at_once(sizes: list[int], small: bool) -> None:
    pieces = [bytes([65 + index % 26]) * (size if len(sizes) < 12 else size % 1000) for index, size in enumerate(sizes)]
    near, far = socket.socketpair()
    if small:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    received = bytearray()

    def read() -> None:
        while chunk := far.recv(1 << 16):
            received.extend(chunk)

    with near, far:
        reader = threading.Thread(target=read)
        reader.start()
        connection = wire.Connection("mmsc.example", timeout=20)
        connection.sock = near
        body = wire.OneGo(pieces)
        connection.request("POST", "/", body=body, headers={"Content-Length": str(len(body))})
        near.shutdown(socket.SHUT_WR)
        reader.join(20)
    assert body.complete
    assert bytes(received).partition(b"\r\n\r\n")[2] == b"".join(pieces)


@contextmanager
def tunnel_to(port: int) -> Iterator[str]:
    """A proxy that takes any CONNECT for this port of this machine."""

    def script(peer: Exchange) -> None:
        heads.append(peer.read_head()[0].partition("\r\n")[0])
        peer.sock.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as onward:
            back = threading.Thread(target=pump, args=(onward, peer.sock))
            back.start()
            pump(peer.sock, onward)
            back.join(5)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)

    heads: list[str] = []
    with scripted(script) as proxy:
        yield proxy.url
    (head,) = heads
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.")


@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_over_tls(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_IDLE_S", 60.0)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    order = ["plain", "in chunks", "plain", "zipped"]
    large = Payload(content_type="text/xml", chunks=(b"<a>", b"m" * 300_000, b"</a>"))

    def script(peer: Exchange) -> None:
        for name in order:
            assert peer.read().body == large.body
            peer.sock.sendall(BY_NAME[name][0])

    with scripted(script, tls=context) as server, contextlib.ExitStack() as stack:
        if way == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", stack.enter_context(tunnel_to(server.port)))
        endpoint = Endpoint(
            url=f"https://localhost:{server.port}/mm7",
            ca_bundle=str(tmp_path / "ca.pem"),
            connect_timeout_s=5,
            read_timeout_s=5,
        )
        with MMSCClient(endpoint) as mmsc:
            assert [mmsc.post(large).body for _ in order] == [BODY] * 4
        assert server.connections == 1
