"""Carriers that report as fast as they are answered: many connections, one thread over epoll. A process of its own.

Each connection posts a delivery report on a message of its own, waits for the answer, and goes on with the next one;
the time of each is kept. What is not answered 200 with status 1000 is counted, never left out.

The first line on standard output is a JSON object.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from base64 import b64encode
from dataclasses import asdict, dataclass
from typing import Self

#: Bytes of an answer: an acknowledgement has under 1,000.
ANSWER_BYTES = 1 << 16
_ACKNOWLEDGED = b"<StatusCode>1000</StatusCode>"

_REPORT = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Header>'
    b'<mm7:TransactionID xmlns:mm7="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"'
    b' env:mustUnderstand="1">tx-%b</mm7:TransactionID></env:Header><env:Body>'
    b'<DeliveryReportReq xmlns="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3">'
    b"<MM7Version>5.3.0</MM7Version><MMSRelayServerID>mmsc.example.com</MMSRelayServerID>"
    b"<MessageID>m-%b</MessageID><Recipient><Number>%b</Number></Recipient><Sender><Number>111122</Number></Sender>"
    b"<Date>2026-01-02T03:04:05.678Z</Date><MMStatus>Retrieved</MMStatus><StatusText>Retrieved</StatusText>"
    b"</DeliveryReportReq></env:Body></env:Envelope>"
)


def number(index: int) -> str:
    """Return the handset that message ``index`` went to."""
    return f"+6421{index:07d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """What is to be done.

    :ivar first: number of the first message that is reported on; others have reported on those before.
    :ivar reports: that are posted at most.
    :ivar seconds: for which new ones are posted at most.
    """

    port: int
    path: str
    login: str
    password: str
    connections: int
    first: int
    reports: int
    seconds: float

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of it.

    :ivar acknowledged: reports answered 200 with status 1000.
    :ivar others: reports answered otherwise, or not at all.
    :ivar elapsed_s: from the first byte of the first to the last of the last answer.
    :ivar p50_ms: of the times from request to answer; ``p99_ms`` and ``most_ms`` likewise.
    :ivar cpu_s: CPU seconds of this process.
    """

    acknowledged: int
    others: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Acknowledged reports a second."""
        return self.acknowledged / self.elapsed_s

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))


class Caller:
    """One connection, and the report under way on it."""

    __slots__ = ("data", "sent_at", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.sent_at = 0.0


class Load:
    """The callers of one run."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        pair = b64encode(f"{calls.login}:{calls.password}".encode())
        self._head = (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic %b\r\n"
            b'Content-Type: text/xml; charset="utf-8"\r\nSOAPAction: ""\r\nContent-Length: %%d\r\n\r\n'
        ) % (calls.path.encode(), pair)
        self._next = calls.first
        self._end = calls.first + calls.reports
        self._times: list[float] = []
        self._others = 0

    def run(self) -> Answers:
        """Post until the reports or the seconds are used up, and every one under way is answered."""
        callers = [Caller(self._calls.port) for _ in range(self._calls.connections)]
        by_fd = {caller.sock.fileno(): caller for caller in callers}
        poll = select.epoll()
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        gc.disable()
        started, cpu = time.perf_counter(), time.process_time()
        until = started + self._calls.seconds
        under_way = sum(self._post(caller, until) for caller in callers)
        while under_way:
            for fd, _ in poll.poll():
                caller = by_fd[fd]
                data = caller.sock.recv(ANSWER_BYTES)
                caller.data += data
                if not data:
                    self._others += 1
                    poll.unregister(fd)
                    under_way -= 1
                elif self._answered(caller):
                    under_way -= not self._post(caller, until)
        elapsed_s = time.perf_counter() - started
        cpu_s = time.process_time() - cpu
        for caller in callers:
            caller.sock.close()
        times = sorted(self._times) or [0.0]
        return Answers(
            acknowledged=len(self._times),
            others=self._others,
            elapsed_s=elapsed_s,
            p50_ms=times[len(times) // 2] * 1000,
            p99_ms=times[len(times) * 99 // 100] * 1000,
            most_ms=times[-1] * 1000,
            cpu_s=cpu_s,
        )

    def _post(self, caller: Caller, until: float) -> bool:
        now = time.perf_counter()
        if self._next >= self._end or now >= until:
            return False
        index = self._next
        self._next += 1
        name = b"%d" % index
        body = _REPORT % (name, name, number(index).encode())
        caller.data, caller.sent_at = b"", now
        caller.sock.sendall(self._head % len(body) + body)
        return True

    def _answered(self, caller: Caller) -> bool:
        """Take note of an answer once it is whole."""
        head, found, body = caller.data.partition(b"\r\n\r\n")
        if not found:
            return False
        head = head.lower()
        at = head.index(b"content-length:") + len(b"content-length:")
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return False
        if head.startswith(b"http/1.1 200") and _ACKNOWLEDGED in body:
            self._times.append(time.perf_counter() - caller.sent_at)
        else:
            self._others += 1
        return True


if __name__ == "__main__":
    print(Load(Calls.load(sys.argv[1])).run().dump())
