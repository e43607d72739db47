"""Every fault an MMSC is known for, and the state each ends in: in the ledger, in XCom, and for the task.

What the sandbox can show of it is a table in docs/sending.rst (test_special_recipients.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_mm7.protocol import Message, dump
from airflow_provider_mm7.sending import FailOn, OnUnknown, find_failure, patience
from airflow_provider_mm7.sending.patience import Patience
from airflow_provider_mm7.store import Store
from tests.support.mmsc import Answer, Received, accept, mmsc, status
from tests.support.scripted import Exchange
from tests.support.sending import hold, numbers, run, states

pytestmark = pytest.mark.long

#: Two tries of one message are two of a row of failures, and no outage.
TRIES = 2
PATIENCE = Patience(tries=TRIES, first_pause_s=0.01, longest_pause_s=0.02)


def http(line: str, body: bytes = b"", **headers: str) -> Callable[[Received], Answer]:
    return lambda received: (line, body, {name.replace("_", "-"): value for name, value in headers.items()})


def beside(retry_after: str, answer: Callable[[Received], Answer], line: str) -> Callable[[Received], Answer]:
    """The same MM7 answer, in an HTTP answer with Retry-After."""

    def with_header(received: Received) -> Answer:
        message = answer(received)
        assert isinstance(message, Message)
        body = dump(message, transaction_id=received.transaction_id).body
        return line, body, {"Retry-After": retry_after}

    return with_header


def does(act: Callable[[Exchange], None]) -> Callable[[Received], Answer]:
    return lambda received: act


def half_an_answer(peer: Exchange) -> None:
    peer.answer(body=b"<?xml", length=1000)
    peer.reset()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the MMSC does to every request, and what becomes of one message.

    :ivar posts: requests that it got of one run.
    :ivar counted: where XCom counts the message.
    :ivar lasting_s: seconds that the run takes at least.
    :ivar told: what the task's failure says, None when it succeeds.
    :ivar retryable: whether Airflow is to try again.
    :ivar then: state after the fault was gone and a second run; where it is the first one's, nothing more was sent.
    """

    answer: Callable[[Received], Answer] = accept
    cut: int = 0
    text: str = "hello"
    state: str
    code: int | None = None
    posts: int = 1
    counted: str
    told: str | None
    retryable: bool = True
    then: str
    read_timeout_s: float = 5
    lasting_s: float = 0


RETRY: dict[str, Any] = {"state": "retry", "posts": TRIES, "counted": "planned", "then": "accepted"}
UNKNOWN: dict[str, Any] = {
    "state": "unknown",
    "counted": "unknown",
    "told": "outcome of 1 of 1 is unknown",
    "retryable": False,
}
REFUSED: dict[str, Any] = {
    "state": "refused",
    "counted": "refused",
    "told": "1 of 1 refused",
    "retryable": False,
    "then": "refused",
}
CLOSED: dict[str, Any] = {"state": "retry", "counted": "planned", "retryable": False, "then": "accepted"}

FAULTS = {
    "429, Retry-After: 1": Fault(answer=http("429 No", Retry_After="1"), told="HTTP 429", lasting_s=1, **RETRY),
    "429, Retry-After: 3600": Fault(
        answer=http("429 No", Retry_After="3600"), told="HTTP 429.* asks to wait 3600 s", **RETRY | {"posts": 1}
    ),
    "503": Fault(answer=http("503 No", b"<html/>"), told="HTTP 503", **RETRY),
    "503, Retry-After: 1": Fault(answer=http("503 No", Retry_After="1"), told="HTTP 503", lasting_s=1, **RETRY),
    "409": Fault(answer=http("409 No"), told="HTTP 409", **RETRY),
    "504": Fault(answer=http("504 No"), then="unknown", **UNKNOWN),
    "401": Fault(answer=http("401 No"), told="HTTP 401", **CLOSED),
    "403": Fault(answer=http("403 No"), told="HTTP 403", **CLOSED),
    "404": Fault(answer=http("404 No"), told="HTTP 404", **CLOSED),
    "3000": Fault(answer=status(3000), code=3000, told="3000", **RETRY),
    "4000": Fault(answer=status(4000), code=4000, told="4000", **RETRY),
    "3000, Retry-After: 1": Fault(
        answer=beside("1", status(3000), "200 OK"), code=3000, told="3000", lasting_s=1, **RETRY
    ),
    "4006 with 503, Retry-After: 3600": Fault(
        answer=beside("3600", status(4006), "503 No"),
        code=4006,
        told="4006.* asks to wait 3600 s",
        **RETRY | {"posts": 1},
    ),
    "4006": Fault(answer=status(4006), code=4006, told="4006", **RETRY),
    "reset before the body": Fault(cut=TRIES, text="x" * (1 << 24), told="lost before the request was whole", **RETRY),
    "reset after the body": Fault(answer=does(Exchange.reset), then="unknown", **UNKNOWN),
    "read time-out": Fault(answer=does(hold), then="unknown", read_timeout_s=0.2, **UNKNOWN),
    "garbage": Fault(answer=http("200 OK", b"\0\xff<<>"), then="unknown", **UNKNOWN),
    "a page": Fault(answer=http("200 OK", b"<html/>"), then="unknown", **UNKNOWN),
    "half an answer": Fault(answer=does(half_an_answer), then="unknown", **UNKNOWN),
    "garbage with 500": Fault(answer=http("500 No", b"\0\xff<<>"), told="HTTP 500", **RETRY),
    "1100": Fault(answer=status(1100), state="accepted", code=1100, counted="accepted", told=None, then="accepted"),
    "1100 that names it": Fault(answer=status(1100, details=numbers(1)[0]), code=1100, **REFUSED),
    "3003": Fault(answer=status(3003), code=3003, **REFUSED),
    "2000": Fault(answer=status(2000), code=2000, **REFUSED),
    "2002": Fault(answer=status(2002), code=2002, **REFUSED),
    "4004": Fault(answer=status(4004), code=4004, **REFUSED),
}


@pytest.fixture(autouse=True)
def _two_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", PATIENCE)


@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS.items()])
def test_each_fault_ends_in_its_state_and_is_counted(store: Store, fault: Fault) -> None:
    began = time.monotonic()
    with mmsc(fault.answer, cut=fault.cut) as centre:
        result = run(store, centre.url, numbers(1), text=fault.text, read_timeout_s=fault.read_timeout_s)
    assert time.monotonic() - began >= fault.lasting_s
    (sent,) = result.messages
    assert (sent.state, sent.status_code) == (fault.state, fault.code)
    assert centre.posts == sent.attempts == fault.posts

    counted = {"accepted": 0, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0} | {fault.counted: 1}
    assert result.as_xcom(messages=False) == {"batch_id": result.summary.batch_id, "total": 1, **counted}

    failure = find_failure(result, fail_on=FailOn.ANY, on_unknown=OnUnknown.HOLD)
    assert (failure is None) == (fault.told is None)
    if failure is not None and fault.told is not None:
        assert failure.retryable == fault.retryable
        assert re.search(fault.told, failure.text)
        assert numbers(1)[0].lstrip("+") not in failure.text

    with mmsc() as mended:
        assert states(run(store, mended.url, numbers(1), text=fault.text)) == {fault.then: 1}
    assert mended.posts == (fault.then != fault.state)
