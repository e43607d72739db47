"""Callers who mean harm, over a real socket to a receiver that is a process of its own.

Each is answered within a second or has its connection closed; the process does not grow; nothing is written but where
messages are kept; and the next good report is stored.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from airflow_provider_mm7.receiver import heads
from airflow_provider_mm7.receiver.config import MAX_CONCURRENT
from airflow_provider_mm7.store import open_store
from tests.protocol.test_hostile import CASES, nested
from tests.receiver import callbacks
from tests.receiver.conftest import Rig
from tests.receiver.test_process import running
from tests.support.asgi import WAIT_S, read_answer, serving

PATH = "/mm7/callback"
#: Seconds to an answer: of the receiver's own time, since others may have the machine, and of anybody's.
SOON_S, LATE_S = 1.0, 10.0
#: Bytes that the process may grow by, whatever comes.
GROWTH = 64 * 1024 * 1024
MIB = 1024 * 1024


@dataclass
class Target:
    """A receiver that is attacked."""

    folder: Path
    port: int
    pid: int
    reports: list[str] = field(default_factory=list)

    def cpu_s(self) -> float:
        used = psutil.Process(self.pid).cpu_times()
        return used.user + used.system

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)

    def resident(self, name: str = "VmRSS") -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def files(self) -> set[Path]:
        return {path.relative_to(self.folder) for path in self.folder.rglob("*")}

    def takes_a_report(self) -> bool:
        self.reports.append(f"good-{len(self.reports)}")
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}") as client:
            answer = client.post(PATH, content=callbacks.report(self.reports[-1]), headers=callbacks.headers())
        return answer.status_code == 200 and b">1000<" in answer.content


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    with running(folder) as receiver, (folder / "log").open("w") as log:
        # Its log must not fill a pipe that nobody empties.
        receiver.drain(log)
        target = Target(folder, int(receiver.url.rpartition(":")[2]), receiver.process.pid)
        body, content_type = callbacks.deliver()
        httpx.post(receiver.url + PATH, content=body, headers=callbacks.headers(content_type))
        assert target.takes_a_report()
        yield target
        stored = {one.message_id for one in open_store(f"sqlite:///{folder}/mm7.db").reports()}
        assert stored == set(target.reports)


@contextlib.contextmanager
def unharmed(target: Target, *, files: int = 0) -> Iterator[None]:
    """Check a receiver after an attack.

    :param files: that the attack may have left in the folder of inbound media.
    """
    tree, before = target.files(), target.resident()
    target.forget_peak()
    began, used = time.monotonic(), target.cpu_s()
    yield
    assert target.takes_a_report()
    assert target.cpu_s() - used < SOON_S
    assert time.monotonic() - began < LATE_S
    assert target.resident("VmHWM") - before < GROWTH
    new = target.files() - tree
    database = {Path(f"mm7.db{suffix}") for suffix in ("", "-wal", "-shm", "-journal")}
    assert all(path.parts[0] == "mm7_inbound" for path in new - database)
    assert len([path for path in new - database if (target.folder / path).is_file()]) == files


def head(*fields: str, authorization: str | None = None) -> bytes:
    lines = (
        f"POST {PATH} HTTP/1.1",
        "Host: mm7.test",
        f"Authorization: {authorization or callbacks.authorization()}",
        'SOAPAction: ""',
        *fields,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def exchange(target: Target, wire: bytes, *, ends: bool = False) -> tuple[int | None, bytes]:
    """Send bytes as they are.

    :param ends: whether the caller closes its side then.
    :return: status and body of the answer; None: closed without one.
    """
    with target.connect() as connection:
        # It may be closed while more is sent.
        with contextlib.suppress(ConnectionError):
            connection.sendall(wire)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        try:
            answer = read_answer(connection)
            return answer.status, answer.read()
        except ConnectionError:
            return None, b""


def post(target: Target, body: bytes, content_type: str | None) -> tuple[int | None, bytes]:
    fields = [f"Content-Length: {len(body)}"]
    fields += [f"Content-Type: {content_type}"] if content_type is not None else []
    return exchange(target, head(*fields) + body)


def is_an_error(status: int | None, body: bytes) -> bool:
    return status is None or status >= 400 or (status == 200 and b">2007<" in body)


#: Cases that no HTTP header could carry.
NOT_IN_HTTP = {case for case, made in CASES.items() if not (made()[1] or "").isascii()}


@pytest.mark.parametrize("case", sorted(CASES.keys() - NOT_IN_HTTP))
def test_a_body_made_to_hurt(target: Target, case: str) -> None:
    body, content_type = CASES[case]()
    if content_type is not None and len(content_type) > heads.MAX_HEAD_BYTES:
        content_type = content_type[:16_000]
    with unharmed(target):
        status, answer = post(target, body, content_type)
        assert is_an_error(status, answer)


def deliver(parts: bytes) -> tuple[bytes, str]:
    """Return a DeliverReq around parts whose boundary is ``p``."""
    soap = callbacks.envelope(
        f'<DeliverReq xmlns="{callbacks.MM7}"><MM7Version>6.8.0</MM7Version><LinkedID>../../../tmp/evil</LinkedID>'
        f"<Sender><Number>{callbacks.RECIPIENT}</Number></Sender><Subject>../../evil</Subject></DeliverReq>",
        transaction_id="../../tx",
    )
    return (
        b"--p\r\nContent-Type: text/xml\r\n\r\n" + soap + b"\r\n" + parts + b"--p--\r\n",
        "multipart/related; boundary=p",
    )


def part(*fields: str, body: bytes = b"GIF89a") -> bytes:
    return b"--p\r\n" + "\r\n".join(fields).encode() + b"\r\n\r\n" + body + b"\r\n"


EVIL = "../../../../../../../../tmp/evil"


def test_names_that_are_paths_name_nothing(target: Target) -> None:
    parts = (
        part("Content-Type: image/gif", f"Content-Location: {EVIL}.gif"),
        part("Content-Type: image/gif", "Content-Location: /etc/cron.d/evil"),
        part("Content-Type: image/gif", f"Content-ID: <{EVIL}>"),
        part(f'Content-Type: image/gif; name="{EVIL}"'),
        part("Content-Type: image/gif", f'Content-Disposition: attachment; filename="{EVIL}"'),
        part("Content-Type: image/gif", "Content-Location: file:///etc/passwd"),
        part("Content-Type: image/gif", "Content-Location: ..\\..\\evil.gif"),
        part("Content-Type: image/gif", "Content-Location: %2e%2e%2fevil", "Content-ID: <a\0b>"),
        part(f"Content-Type: ../../{EVIL}"),
        part("Content-Type: image/gif", "Content-Location: " + "x" * 5000),
    )
    before = set(Path("/tmp").glob("evil*"))
    with unharmed(target, files=len(parts)):
        status, answer = post(target, *deliver(b"".join(parts)))
    assert (status, b">1000<" in answer) == (200, True)
    assert set(Path("/tmp").glob("evil*")) == before
    stored = open_store(f"sqlite:///{target.folder}/mm7.db").inbound(limit=1000)[-1].message
    assert [Path(one.uri.removeprefix("file://")).parent for one in stored.parts] == [
        target.folder / "mm7_inbound"
    ] * len(parts)


@pytest.mark.parametrize("count", [1_001, 10_000])
def test_thousands_of_parts(target: Target, count: int) -> None:
    with unharmed(target):
        status, answer = post(target, *deliver(part("Content-Type: image/gif") * count))
    assert is_an_error(status, answer)


def test_200_nested_multiparts_in_a_message(target: Target) -> None:
    inner = b"--p\r\nContent-Type: multipart/mixed; boundary=b0\r\n\r\n" + nested(200) + b"\r\n"
    with unharmed(target):
        status, answer = post(target, *deliver(inner))
    assert is_an_error(status, answer)


BODY = callbacks.report("never")
XML = f"Content-Type: {callbacks.XML}"

WIRES: dict[str, Callable[[], tuple[bytes, bool]]] = {
    "longer than announced": lambda: (head(XML, f"Content-Length: {len(BODY) - 20}") + BODY + b"\0" * 100, False),
    "shorter than announced": lambda: (head(XML, f"Content-Length: {len(BODY) + 20}") + BODY, True),
    "2 GB announced": lambda: (head(XML, "Content-Length: 2147483648") + BODY, False),
    "more than a number holds announced": lambda: (head(XML, "Content-Length: " + "9" * 40) + BODY, False),
    "less than nothing announced": lambda: (head(XML, "Content-Length: -1") + BODY, False),
    "no number announced": lambda: (head(XML, "Content-Length: 0x10") + BODY, False),
    "two lengths": lambda: (head(XML, "Content-Length: 5", f"Content-Length: {len(BODY)}") + BODY, False),
    "length and chunks": lambda: (
        head(XML, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + BODY,
        False,
    ),
    "a chunk of 2 GB": lambda: (head(XML, "Transfer-Encoding: chunked") + b"80000000\r\n" + BODY, True),
    "a chunk of more than a number holds": lambda: (
        head(XML, "Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n" + BODY,
        False,
    ),
    "chunks cut off": lambda: (head(XML, "Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(BODY), BODY), True),
    "chunks without end": lambda: (
        head(XML, "Transfer-Encoding: chunked") + b"100000\r\n%b\r\n" % (b"x" * MIB) * 11,
        False,
    ),
    "a million chunks": lambda: (
        head(XML, "Transfer-Encoding: chunked") + b"1\r\n<\r\n" * 1_000_000 + b"0\r\n\r\n",
        False,
    ),
    "trailers": lambda: (
        head(XML, "Transfer-Encoding: chunked") + b"1\r\n<\r\n0\r\n" + b"Authorization: x\r\n" * 500_000,
        False,
    ),
    "compressed": lambda: (head(XML, "Content-Encoding: gzip", "Content-Length: 3") + b"\x1f\x8b\x08", False),
    "a huge header": lambda: (head(XML, "X: " + "x" * 80 * MIB, "Content-Length: 0"), False),
    "a huge header of a stranger": lambda: (
        head(XML, "X: " + "x" * 80 * MIB, authorization="Basic eDp5"),
        False,
    ),
    "a million headers": lambda: (head(*(f"X{number}: x" for number in range(1_000_000))), False),
    "a huge address": lambda: (b"POST /" + b"x" * 80 * MIB + b" HTTP/1.1\r\n\r\n", False),
    "no HTTP": lambda: (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, True),
    "an upgrade": lambda: (
        head("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"),
        False,
    ),
    "an announced excess of a stranger": lambda: (
        head(XML, "Content-Length: 2147483648", authorization="Basic eDp5") + b"x" * MIB,
        False,
    ),
}


@pytest.mark.parametrize("case", sorted(WIRES))
def test_wrong_lengths_and_heads(target: Target, case: str) -> None:
    wire, ends = WIRES[case]()
    with unharmed(target):
        status, answer = exchange(target, wire, ends=ends)
        assert is_an_error(status, answer)


def test_a_flood_of_slow_callers_keeps_nobody_out(target: Target) -> None:
    slow = [target.connect() for _ in range(2 * MAX_CONCURRENT)]
    try:
        with unharmed(target):
            for number, connection in enumerate(slow):
                # Half of them stop in the head, the others are strangers who stop in the body.
                wire = head(XML, "Content-Length: 1000", authorization="Basic eDp5")
                connection.sendall(wire[:-2] if number % 2 else wire + b"<")
    finally:
        for connection in slow:
            connection.close()


class Impatient(heads.BoundedHeads):
    head_timeout_s = 0.3


def test_a_head_that_trickles_is_given_up(rig: Rig) -> None:
    with serving(rig.app(), http=Impatient) as server, server.connect() as connection:
        connection.sendall(head(XML, "Content-Length: 5")[:-2])
        assert read_answer(connection).status == 408
        assert connection.recv(1) == b""


def test_who_connects_and_says_nothing_is_given_up(rig: Rig) -> None:
    with serving(rig.app(), http=Impatient) as server, server.connect() as connection:
        assert read_answer(connection).status == 408


def test_a_second_head_that_trickles_is_given_up(rig: Rig) -> None:
    body = callbacks.report()
    with serving(rig.app(), http=Impatient) as server, server.connect() as connection:
        wire = head(XML, f"Content-Length: {len(body)}")
        connection.sendall(wire + body)
        answer = read_answer(connection)
        assert (answer.status, b">1000<" in answer.read()) == (200, True)
        connection.sendall(wire[:20])
        assert read_answer(connection).status == 408
