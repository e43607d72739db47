"""STOP, posted to a real receiver while a batch of 5,000 is sent: what the MMSC received afterwards."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import httpx
import pytest

from airflow_provider_mm7.sending import send
from airflow_provider_mm7.store import State, Store, open_store
from tests.receiver import callbacks
from tests.receiver.test_process import running
from tests.support.mmsc import Answer, Received, accept, mmsc
from tests.support.sending import client, message, numbers

pytestmark = pytest.mark.long

COUNT = 5_000
CONNECTIONS = 16
#: Seconds that the MMSC takes for an answer: the batch is under way for about 16 s.
LATENCY_S = 0.05
#: What is promised, in seconds after the receiver's 1000.
WITHIN_S = 1.0
#: Messages that have left when a STOP is posted, and its distance to the number's turn in messages: far away, about
#: twice the promise, and in its midst.
FIRST, STEP = 300, 220
AHEAD = (2_500, 700, 320, 160)


def send_in_process(store_url: str, url: str) -> None:
    with client(url, max_connections=CONNECTIONS) as opened:
        send(message(numbers(COUNT)), store=open_store(store_url), client=opened, key="k", conn_id="mm7_default")


class Centre:
    """Notes when each request had arrived, on the clock of this process."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[float]] = {}
        self._count = threading.Condition()

    def answer(self, received: Received) -> Answer:
        now = time.monotonic()
        with self._count:
            for number in received.recipients:
                self.arrived.setdefault(number, []).append(now)
            self._count.notify_all()
        time.sleep(LATENCY_S)
        return accept(received)

    def wait_for(self, count: int) -> None:
        with self._count:
            assert self._count.wait_for(lambda: len(self.arrived) >= count, timeout=60)


def test_no_post_begins_more_than_a_second_after_the_receivers_1000(
    store: Store, either_ledger_url: str, tmp_path: Path
) -> None:
    to = numbers(COUNT)
    moments = range(FIRST, COUNT - max(AHEAD), STEP)
    stops = {to[moment + ahead]: moment for moment in moments for ahead in AHEAD}
    acknowledged: dict[str, float] = {}
    centre = Centre()
    with (
        running(tmp_path, MM7_SQL_ALCHEMY_CONN=either_ledger_url) as receiver,
        mmsc(centre.answer) as server,
        httpx.Client(base_url=receiver.url) as handset,
    ):
        process = multiprocessing.get_context("spawn").Process(
            target=send_in_process, args=(either_ledger_url, server.url)
        )
        process.start()
        for number, moment in sorted(stops.items(), key=lambda item: item[1]):
            centre.wait_for(moment)
            body, content_type = callbacks.say("Stop", sender=number, transaction_id=f"tx-{number}")
            answer = handset.post("/mm7/callback", content=body, headers=callbacks.headers(content_type))
            acknowledged[number] = time.monotonic()
            assert b"<StatusCode>1000</StatusCode>" in answer.content
        process.join(120)
        assert process.exitcode == 0
    late = {
        number: moment - acknowledged[number]
        for number, moments_ in centre.arrived.items()
        for moment in moments_
        if number in acknowledged and moment > acknowledged[number] + WITHIN_S
    }
    assert late == {}
    rows = {row.recipient: row.state for row in store.submissions(store.list_batches()[0].batch_id, limit=COUNT)}
    got = set(centre.arrived)
    assert len(rows) == COUNT
    assert {number for number, state in rows.items() if state is State.SUPPRESSED} == set(stops) - got
    assert {number for number, state in rows.items() if state is State.ACCEPTED} == got
    assert [moments_ for moments_ in centre.arrived.values() if len(moments_) > 1] == []
    # Not vacuous: those far ahead were all in time, and their turn came in this very run.
    assert not got & {to[moment + ahead] for moment in moments for ahead in AHEAD[:1]}
    assert len(set(stops) - got) >= len(stops) // 2
