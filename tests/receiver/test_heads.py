"""Heads that are folded, by themselves and over a real socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_mm7.receiver.heads import BoundedHeads, Unfolder
from tests.receiver import callbacks
from tests.receiver.conftest import Rig
from tests.support.asgi import read_answer, serving

PATH = "/mm7/callback"
Http = str | type[asyncio.Protocol]


@pytest.fixture(params=["h11", BoundedHeads], ids=["h11", "httptools"])
def http(request: pytest.FixtureRequest) -> Http:
    """How connections are read: both ways that a receiver of its own has."""
    return request.param  # type: ignore[no-any-return]


def head(*fields: str, line: str = f"POST {PATH} HTTP/1.1") -> bytes:
    lines = (line, "Host: mm7.test", f"Authorization: {callbacks.authorization()}", *fields)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def unfold(*pieces: bytes) -> bytes:
    unfolder = Unfolder()
    return b"".join(unfolder.feed(piece) for piece in pieces)


FOLDED = [
    (b"P / H\r\nA: b\r\n c\r\n\r\n", b"P / H\r\nA: b c\r\n\r\n"),
    (b"P / H\r\nA: b;\r\n\t c\r\n  d\r\nE: f\r\n\r\n", b"P / H\r\nA: b;  c  d\r\nE: f\r\n\r\n"),
    (b"P / H\r\nA:\r\n b\r\n \r\n\r\n", b"P / H\r\nA: b \r\n\r\n"),
    # What follows the head is no part of it.
    (b"P / H\r\nA: b\r\n c\r\n\r\nX: y\r\n z", b"P / H\r\nA: b c\r\n\r\nX: y\r\n z"),
    (b"P / H\r\nA: b\r\n\r\n c\r\n d", b"P / H\r\nA: b\r\n\r\n c\r\n d"),
]
AS_IT_IS = [
    b"P / H\r\nA: b\r\n\r\n",
    b"P /\r\n H\r\nA: b\r\n\r\n",
    b"\r\nP /\r\n H\r\n\r\n",
    b"P:\x00\r\n\r\n",
    b"P / H\r\n A: b\r\n\r\n",
    b"P / H\r\nContent-Length:\r\n 5\r\n\r\n",
    b"P / H\r\ncontent-LENGTH: 5\r\n\t5\r\n\r\n",
    b"P / H\r\nTransfer-Encoding: chunked\r\n \r\n\r\n",
    b"P / H\r\nA b: c\r\n d\r\n\r\n",
    b"P / H\r\nA: b\n c\r d\r\n\r\n",
    b"P / H\r\n" + b"a" * 80 + b": b\r\n c\r\n\r\n",
]


@pytest.mark.parametrize(("wire", "expected"), [*FOLDED, *((wire, wire) for wire in AS_IT_IS)])
def test_folds_become_spaces_however_the_head_is_split(wire: bytes, expected: bytes) -> None:
    assert unfold(wire) == expected
    # The head ends where it ends, so what comes behind it is given as it is.
    end = wire.index(b"\r\n\r\n") + 4
    assert unfold(*(wire[at : at + 1] for at in range(end))) + wire[end:] == expected
    for at in range(1, end):
        assert unfold(wire[:at], wire[at:]) == expected


def test_folding_takes_linear_time() -> None:
    start = time.monotonic()
    unfold(*[b"\n"] * 64_000)
    unfold(*[b"a"] * 64_000)
    unfold(b"P / H\r\nA: b" + b"\r\n c" * 100_000)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("size", [1, 7, 1460, 100_000])
def test_a_folded_content_type_is_read(rig: Rig, http: Http, size: int) -> None:
    body, content_type = callbacks.deliver()
    folded = content_type.replace("; ", ";\r\n\t")
    wire = head(f"Content-Type: {folded}", 'SOAPAction:\r\n  ""', f"Content-Length: {len(body)}")
    with serving(rig.app(), http=http) as server, server.connect() as connection:
        # Twice over one connection: the second head begins where the first request ended.
        for _ in range(2):
            for at in range(0, len(wire), size):
                connection.sendall(wire[at : at + size])
            connection.sendall(body)
            answer = read_answer(connection)
            assert (answer.status, b">1000<" in answer.read()) == (200, True)
    (row,) = rig.store.inbound()
    assert (row.message.text, len(row.message.parts)) == (callbacks.TEXT, 4)


def test_a_body_that_looks_like_a_folded_head_is_left_alone(rig: Rig, http: Http) -> None:
    body, content_type = callbacks.say("Subject: a\r\n b\r\n\r\nContent-Length: 1\r\n 2")
    wire = head(f"Content-Type: {content_type}", "X: a\r\n b", f"Content-Length: {len(body)}") + body
    with serving(rig.app(), http=http) as server, server.connect() as connection:
        connection.sendall(wire)
        assert read_answer(connection).status == 200
    assert [row.message.text for row in rig.store.inbound()] == ["Subject: a\r\n b\r\n\r\nContent-Length: 1\r\n 2"]


BODY = callbacks.report("never")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
REFUSED = {
    "a length in a fold": head(f"Content-Length:\r\n {len(BODY)}") + BODY,
    "a length with a fold": head(f"Content-Length: {len(BODY)}\r\n ") + BODY,
    "a length of two lines": head(f"Content-Length: {len(BODY)}\r\n\t0") + BODY,
    "chunks in a fold": head("Transfer-Encoding:\r\n chunked") + CHUNKED,
    "chunks with a fold": head("Transfer-Encoding: x,\r\n chunked") + CHUNKED,
    "length and chunks": head("X: a\r\n b", "Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKED,
    "chunks and length": head("Transfer-Encoding: chunked", "X: a\r\n b", "Content-Length: 5") + CHUNKED,
    "a zero": head("X: a\r\n b\0", f"Content-Length: {len(BODY)}") + BODY,
    "a control character": head("X: a\r\n \x08", f"Content-Length: {len(BODY)}") + BODY,
    "a bare CR": head("X: a\r\n b\rY: c", f"Content-Length: {len(BODY)}") + BODY,
    "a bare LF": head("X: a\r\n b\n c", f"Content-Length: {len(BODY)}") + BODY,
    "a fold of LF": head("X: a\n b", f"Content-Length: {len(BODY)}") + BODY,
    "a fold before the first field": head(line=f"POST {PATH} HTTP/1.1\r\n X: y") + BODY,
    "a folded request line": head(f"Content-Length: {len(BODY)}", line=f"POST {PATH}\r\n HTTP/1.1") + BODY,
    "a field without a name": head(":\r\n a", f"Content-Length: {len(BODY)}") + BODY,
    "a name with a space": head("Content-Length : 5\r\n 6") + BODY,
}


@pytest.mark.parametrize("case", sorted(REFUSED))
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_folds_must_not_hide_stays_refused(rig: Rig, case: str, size: int) -> None:
    wire = REFUSED[case]
    with serving(rig.app(), http=BoundedHeads) as server, server.connect() as connection:
        try:
            for at in range(0, len(wire), size):
                connection.sendall(wire[at : at + size])
        except ConnectionError:
            pass
        assert read_answer(connection).status == 400
    assert rig.store.reports() == []
