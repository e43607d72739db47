"""A loopback MMSC whose answer to each SubmitReq is a function of the test, and which is asked what it received."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.protocol import Envelope, Message, RSErrorRsp, Status, SubmitReq, SubmitRsp
from tests.support.scripted import Exchange, ScriptedServer, scripted

VERSION = "5.3.0"


@dataclass(frozen=True)
class Received:
    """One SubmitReq as it came in, in the order of arrival."""

    envelope: Envelope
    recipients: tuple[str, ...]
    body: bytes

    @property
    def transaction_id(self) -> str:
        assert self.envelope.transaction_id is not None
        return self.envelope.transaction_id


#: What to do with a request: answer with a message, with raw HTTP (status line, body, headers), or misbehave.
Answer = Message | tuple[str, bytes, dict[str, str]] | Callable[[Exchange], None]


@dataclass
class MMSC:
    """Answers with ``answer(received)``; by default every message is accepted.

    The next ``cut`` requests are reset when their head was read, before their body.
    """

    answer: Callable[[Received], Answer]
    cut: int = 0
    #: Requests that were begun, those cut included.
    posts: int = 0
    received: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""
    server: ScriptedServer | None = None

    @property
    def numbers(self) -> list[str]:
        """Every recipient of every request, in order of arrival."""
        return [number for item in self.received for number in item.recipients]

    def serve(self, peer: Exchange) -> None:
        while True:
            if self.cut:
                self.cut -= 1
                self.posts += 1
                peer.read_head()
                peer.reset()
                return
            request = peer.read()
            if len(request.body) < int(request.header("Content-Length") or 0) or not request.head:
                # The client went away, or died in the middle of its request.
                return
            envelope = protocol.load(request.body, request.header("Content-Type"))
            assert isinstance(envelope.message, SubmitReq)
            received = Received(envelope, tuple(item.value for item in envelope.message.recipients.all), request.body)
            with self.lock:
                self.received.append(received)
                self.posts += 1
            answer = self.answer(received)
            if isinstance(answer, Message):
                body = protocol.dump(answer, transaction_id=envelope.transaction_id).body
                peer.answer(body=body, headers={"Content-Type": 'text/xml; charset="utf-8"'})
            elif isinstance(answer, tuple):
                peer.answer(answer[0], answer[1], headers=answer[2])
            else:
                answer(peer)
                return


def accept(received: Received) -> SubmitRsp:
    """Accept, with a MessageID derived from the TransactionID."""
    return SubmitRsp(
        mm7_version=VERSION,
        status=Status(status_code=1000, status_text="Success"),
        message_id=f"m-{received.transaction_id}",
    )


def status(code: int, text: str = "no", details: str | None = None) -> Callable[[Received], Answer]:
    """Answer every request with a status; without MessageID where it is an error."""

    def answer(received: Received) -> Answer:
        told = Status(status_code=code, status_text=text, details=details)
        if code < 2000:
            return SubmitRsp(mm7_version=VERSION, status=told, message_id=f"m-{received.transaction_id}")
        return RSErrorRsp(mm7_version=VERSION, status=told)

    return answer


@contextmanager
def mmsc(answer: Callable[[Received], Answer] = accept, *, cut: int = 0, port: int = 0) -> Iterator[MMSC]:
    """Run an MMSC for the length of a ``with`` block."""
    centre = MMSC(answer, cut)
    with scripted(centre.serve, port=port) as server:
        centre.url, centre.server = server.url, server
        yield centre
