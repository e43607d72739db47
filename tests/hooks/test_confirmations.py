"""The one message that confirms an opt-out, over a loopback MMSC and a real ledger."""

from __future__ import annotations

import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mm7.hooks import confirmations as module
from airflow_provider_mm7.hooks.callbacks import create_receiver, open_airflow_store
from airflow_provider_mm7.hooks.confirmations import Confirmer
from airflow_provider_mm7.protocol import SubmitReq
from airflow_provider_mm7.store import OptOutChange, Source, Store, connection_scope, open_store
from tests.support.empty_ledgers import empty_ledger
from tests.support.mmsc import MMSC, Answer, Received, accept, mmsc, status
from tests.support.scripted import free_port

NUMBER = "+64211234567"
HERE = connection_scope("mm7_default")
REPLY = "You get no more messages. START brings them back."


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


def connect(monkeypatch: pytest.MonkeyPatch, url: str, **extra: Any) -> None:
    extra = {"opt_out_reply": REPLY, "callback_login": "vasp", "callback_password": "secret", **extra}
    connection = {"conn_type": "mm7", "host": url, "login": "u", "password": "p", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", json.dumps(connection))


def says(ledger: Store, *numbers: str, opted_out: bool = True, conn_id: str = "mm7_default") -> None:
    ledger.record_opt_outs(
        OptOutChange(
            scope=HERE, number=one, opted_out=opted_out, source=Source.MESSAGE, conn_id=conn_id, confirm=opted_out
        )
        for one in numbers
    )


def became(ledger: Store, number: str = NUMBER) -> str | None:
    found = ledger.find_opt_out(HERE, number)
    assert found is not None
    return found.confirmation


def texts(centre: MMSC) -> list[tuple[str, bytes]]:
    return [(received.recipients[0], received.envelope.parts[0].body) for received in centre.received]


def confirmer(retry_s: float = 0.0) -> Confirmer:
    return Confirmer(open_airflow_store, poll_s=0.01, retry_s=retry_s)


def test_it_is_sent_once_although_they_opted_out(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        says(ledger, NUMBER)
        assert [confirmer().look() for _ in range(2)] == [1, 0]
        says(ledger, NUMBER)
        assert confirmer().look() == 0
    assert texts(centre) == [(NUMBER, REPLY.encode())]
    request = centre.received[0].envelope.message
    assert isinstance(request, SubmitReq)
    assert not request.delivery_report
    assert became(ledger) == "sent"
    (batch,) = ledger.list_batches()
    assert (batch.key, batch.conn_id) == (f"opt-out/{HERE}/1", "mm7_default")


def test_another_opt_out_is_confirmed_again(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        for _ in range(2):
            says(ledger, NUMBER)
            assert confirmer().look() == 1
            says(ledger, NUMBER, opted_out=False)
    assert len(centre.received) == 2


def test_a_connection_without_a_text_sends_none(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre:
        connect(monkeypatch, centre.url, opt_out_reply="")
        says(ledger, NUMBER)
        assert confirmer().look() == 1
    assert (centre.posts, became(ledger)) == (0, None)


@pytest.mark.parametrize(
    ("answer", "state"),
    [(status(2002), "refused"), (lambda _: lambda peer: peer.reset(), "unknown"), (status(4006), "due")],
    ids=["refused", "unknown", "retry"],
)
def test_what_the_mmsc_says(
    ledger: Store, monkeypatch: pytest.MonkeyPatch, answer: Callable[[Received], Answer], state: str
) -> None:
    with mmsc(answer) as centre:
        connect(monkeypatch, centre.url)
        says(ledger, NUMBER)
        confirmer().look()
        posts = centre.posts
        confirmer().look()
        # What is settled, in doubt too, is not sent again.
        assert (centre.posts == posts) is (state != "due")
    assert became(ledger) == state


def test_an_mmsc_that_comes_back_gets_it(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    connect(monkeypatch, f"http://127.0.0.1:{port}/mm7")
    says(ledger, NUMBER)
    one = confirmer(retry_s=3600)
    assert one.look() == 0
    with mmsc(port=port) as centre:
        # Not before its time; a restart begins anew.
        assert one.look() == 0
        assert confirmer().look() == 1
    assert len(centre.received) == 1


def test_what_cannot_be_sent_does_not_stand_in_the_way(
    ledger: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        says(ledger, "+64211111111", conn_id="nowhere")
        says(ledger, "somebody@example.com", NUMBER)
        assert confirmer().look() == 2
    assert (became(ledger, "+64211111111"), became(ledger, "somebody@example.com")) == ("due", "refused")
    assert became(ledger) == "sent"
    assert "nowhere" in caplog.text
    assert "64211111111" not in caplog.text


def test_a_connection_that_is_wrong_is_waited_for(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with mmsc() as centre:
        connect(monkeypatch, centre.url, opt_out_scope="galaxy")
        says(ledger, NUMBER)
        assert confirmer().look() == 0
        connect(monkeypatch, centre.url)
        assert confirmer().look() == 1
    assert len(centre.received) == 1


def test_too_late_is_never(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORTH_IT", timedelta(0))
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        says(ledger, NUMBER)
        assert confirmer().look() == 0
    assert (centre.posts, became(ledger)) == (0, "expired")


def test_several_receivers_send_it_once(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [f"+6421123{number:04}" for number in range(10)]
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        says(ledger, *numbers)
        threads = [threading.Thread(target=confirmer().look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        confirmer().look()
    assert sorted(received.recipients[0] for received in centre.received) == numbers
    assert {became(ledger, number) for number in numbers} == {"sent"}


def look_in_process() -> None:
    Confirmer(open_airflow_store).look()


def test_a_receiver_that_is_killed_while_it_sends_does_not_send_it_twice(
    ledger: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("spawn")

    def answer(received: Received) -> Answer:
        process.kill()
        process.join(60)
        return accept(received)

    with mmsc(answer) as centre:
        connect(monkeypatch, centre.url)
        says(ledger, NUMBER)
        process = context.Process(target=look_in_process)
        process.start()
        process.join(60)
        assert became(ledger) == "due"
        assert confirmer().look() == 1
    assert (len(centre.received), became(ledger)) == (1, "unknown")


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_receiver_sends_what_is_due_as_long_as_it_runs(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)
    with mmsc() as centre:
        connect(monkeypatch, centre.url)
        # Left by a receiver without Airflow, or by this one before a restart.
        says(ledger, NUMBER)
        receiver = create_receiver().state.receiver
        for opted_out in (True, False, True):
            receiver.start()
            says(ledger, NUMBER, opted_out=opted_out)
            if opted_out:
                wait_for(lambda: became(ledger) == "sent")
            receiver.close()
            assert [thread.name for thread in threading.enumerate() if thread.name == "mm7-confirm"] == []
    assert len(centre.received) == 2


def test_a_store_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    looked = threading.Semaphore(0)

    def away() -> Store:
        looked.release()
        raise OSError("+64211234567")

    caplog.set_level(logging.INFO)
    one = Confirmer(away, poll_s=0.001)
    one.start()
    for _ in range(3):
        assert looked.acquire(timeout=30)
    one.close()
    assert caplog.text.count("cannot be sent now: OSError") == 1
    assert "64211234567" not in caplog.text
