"""A burst of messages from handsets, while what stands between them and a DAG is killed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import ProtocolError
from airflow_provider_mm7.protocol import (
    Address,
    DeliverReq,
    DeliverRsp,
    Part,
    Payload,
    Recipients,
    dump,
    encode_content,
    http_headers,
    load,
)
from airflow_provider_mm7.store import ClaimState, Store, open_store
from tests.support.stage import Stage

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "mms_inbox.py"

MESSAGES = 1000
#: Connections of the MMSC.
POSTERS = 8
#: Seconds between two tries of the MMSC.
RETRY_S = 0.5
#: Bytes of a picture; each is of its own.
PICTURE = 12_000
#: Seconds for all of it, on two busy cores.
DEADLINE_S = 300.0

GIF = b"GIF89a"


def picture(number: int) -> bytes:
    return GIF + random.Random(number).randbytes(PICTURE)


def sent_by(number: int) -> str:
    return f"+1202{5_600_000 + number}"


def message(number: int) -> Payload:
    parts = [
        Part(body=f"picture {number}".encode(), content_type="text/plain; charset=utf-8", content_id="text"),
        Part(body=picture(number), content_type="image/gif", content_id="picture", content_location="../../etc/x.gif"),
    ]
    return dump(
        DeliverReq(
            sender=Address(value=sent_by(number)),
            recipients=Recipients(to=(Address(value="4242"),)),
            subject=f"n{number}",
        ),
        transaction_id=f"burst-{number}",
        content=encode_content(parts, content_id="content", boundary="innerofaburst"),
    )


class Handsets:
    """An MMSC with a thousand messages to deliver: each is posted until it is answered 1000."""

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        self._url, self._auth = url, auth
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self.acknowledged = 0
        self.posts = 0

    def post_all(self) -> None:
        with ThreadPoolExecutor(POSTERS) as pool:
            for future in [pool.submit(self._post_some) for _ in range(POSTERS)]:
                future.result()

    def _post_some(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                with self._lock:
                    number = next(self._numbers)
                if number >= MESSAGES:
                    return
                payload = message(number)
                until = time.monotonic() + DEADLINE_S
                while not self._delivered(session, payload):
                    assert time.monotonic() < until, f"message {number} was never acknowledged"
                    time.sleep(RETRY_S)
                with self._lock:
                    self.acknowledged += 1

    def _delivered(self, session: requests.Session, payload: Payload) -> bool:
        with self._lock:
            self.posts += 1
        try:
            answer = session.post(
                self._url, data=payload.body, headers=http_headers(payload), auth=self._auth, timeout=30
            )
            response = load(answer.content, answer.headers.get("Content-Type")).message
        except (requests.RequestException, ProtocolError):
            return False
        return isinstance(response, DeliverRsp) and response.status.status_code == 1000


@pytest.fixture(scope="module")
def inbox_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An Airflow of its own: asset events make runs only where schedules do, and those would start other DAGs too."""
    home = tmp_path_factory.mktemp("inbox")
    (home / "dags").mkdir()
    shutil.copy(EXAMPLE, home / "dags")
    extra = {
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
        "AIRFLOW__MM7__INBOUND_MEDIA_URI": "s3://inbound/mms",
        "AIRFLOW_CONN_PICTURES_DB": json.dumps({"conn_type": "sqlite", "host": str(home / "pictures.db")}),
    }
    with Stage(home, home / "dags", extra_env=extra) as running:
        running.s3.upload("inbound", {})
        running.s3.upload("pictures", {})
        yield running


def states(store: Store) -> dict[int, ClaimState]:
    ids = [one.id for one in store.inbound(2 * MESSAGES)]
    return {key: claim.state for key, claim in store.inbound_claims("pictures", ids).items()}


def kill_the_task(stage: Stage) -> None:
    """Kill the task's process: the one below the scheduler that speaks to S3."""
    for process in psutil.Process(stage.airflow.processes().pids["scheduler"]).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(one.raddr and one.raddr.port == stage.s3.port for one in process.net_connections(kind="tcp")):
                process.kill()


def reached(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {DEADLINE_S:.0f} s"
        time.sleep(0.5)


def test_a_thousand_pictures_while_triggerer_api_server_and_task_are_killed(inbox_stage: Stage) -> None:
    stage, airflow = inbox_stage, inbox_stage.airflow
    store = open_store(stage.ledger_url)
    airflow.wait_parsed("mms_inbox")
    handsets = Handsets(stage.callback_url, (stage.callback_login, stage.callback_password))
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(handsets.post_all)
        reached(lambda: posting.done() or handsets.acknowledged >= MESSAGES // 4, "a quarter")
        airflow.kill_and_restart("api-server")
        reached(lambda: posting.done() or handsets.acknowledged >= MESSAGES // 2, "a half")
        airflow.kill_and_restart("triggerer")
        reached(lambda: ClaimState.CLAIMED in states(store).values(), "some claimed")
        kill_the_task(stage)
        posting.result(DEADLINE_S)
    posted = time.monotonic() - started
    reached(lambda: list(states(store).values()) == [ClaimState.DONE] * MESSAGES, "all done")
    handled = time.monotonic() - started
    done = set(states(store))

    # Stored once each, whoever was killed between the commit and the answer.
    stored = store.inbound(2 * MESSAGES)
    assert sorted(one.message.subject or "" for one in stored) == sorted(f"n{number}" for number in range(MESSAGES))
    assert done == {one.id for one in stored}

    # One row each, and the pictures are what was sent.
    engine = sa.create_engine(f"sqlite:///{stage.home}/pictures.db")
    with engine.connect() as connection:
        rows: list[Any] = list(connection.execute(sa.text("SELECT * FROM mms_pictures")))
    engine.dispose()
    assert sorted(row.id for row in rows) == sorted(done)
    client = stage.s3.client()
    for row in rows:
        number = int(row.subject.removeprefix("n"))
        assert (row.sender, row.text) == (sent_by(number), f"picture {number}")
        kept = client.get_object(Bucket="pictures", Key=row.pictures)["Body"].read()
        assert hashlib.sha256(kept).digest() == hashlib.sha256(picture(number)).digest()

    # Handled once: a message is taken a second time only when a try of the task died with it.
    runs = airflow.api("GET", "dags/mms_inbox/dagRuns", limit=100)["dag_runs"]
    tries = [airflow.tasks("mms_inbox", run["dag_run_id"])["keep"]["try_number"] for run in runs]
    died = sum(tries) - len(tries)
    again = [claim.attempts for claim in store.inbound_claims("pictures", done).values() if claim.attempts > 1]
    print(f"{MESSAGES} acknowledged after {posted:.0f} s and {handsets.posts} posts, all done after {handled:.0f} s")
    print(f"{len(runs)} runs, {died} tries died, {len(again)} messages were handed out again")
    assert len(again) <= 50 * died
