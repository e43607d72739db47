"""PlanRecipientsOperator, and chunks sent by the batch operator: on S3, in files, in any other store."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_mm7.exceptions import MediaChanged
from airflow_provider_mm7.operators.mm7 import PlanRecipientsOperator
from tests.operators.conftest import TaskInstance
from tests.operators.test_batch import Bucket, Connect, bucket, operator
from tests.support.mmsc import mmsc

__all__ = ["bucket"]

NUMBERS = [f"+6421{n:07}" for n in range(100)]
BODY = "to,name\r\n" + "".join(f"{number},Person {n}\r\n" for n, number in enumerate(NUMBERS))

Put = Callable[[str, str], str]


def plan(recipients: str, **parameters: Any) -> list[dict[str, Any]]:
    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        task = PlanRecipientsOperator(task_id="plan", recipients=recipients, **parameters)
    return task.execute({})


def send(chunk: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    task = operator(recipients="placeholder", **parameters)
    task.recipients = chunk
    return task.execute({"ti": TaskInstance()})  # type: ignore[typeddict-item]


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Put]:
    """Write a file into a store; gives its URI."""
    if request.param == "s3":
        yield request.getfixturevalue("bucket").put
    elif request.param == "file":

        def into_folder(name: str, text: str) -> str:
            (tmp_path / name).write_text(text, newline="")
            return (tmp_path / name).as_uri()

        yield into_folder
    else:
        filesystem = MemoryFileSystem()
        attach("memory", fs=filesystem)
        base = f"/{secrets.token_hex(4)}"

        def into_memory(name: str, text: str) -> str:
            ObjectStoragePath(f"memory:/{base}/{name}").write_bytes(text.encode())
            return f"memory:/{base}/{name}"

        yield into_memory
        filesystem.rm(base, recursive=True)


def test_chunks_send_every_row_once(connect: Connect, put: Put) -> None:
    uri = put("people.csv", BODY)
    chunks = plan(uri, chunks=7)
    assert len(chunks) == 7
    with mmsc() as centre:
        connect(centre.url)
        results = [send(chunk, text="Dear {{ name }}") for chunk in chunks]
        again = [send(chunk, text="Dear {{ name }}") for chunk in chunks]
        texts = {item.recipients[0]: item.envelope.parts[-1].body for item in centre.received}
        assert Counter(centre.numbers) == Counter(NUMBERS)
    assert texts == {number: f"Dear Person {n}".encode() for n, number in enumerate(NUMBERS)}
    assert sum(result["accepted"] for result in results) == 100
    assert len({result["batch_id"] for result in results}) == 7
    # The same bytes, the same batch: a second run sends nothing.
    assert [result["batch_id"] for result in again] == [result["batch_id"] for result in results]
    folder = uri.removesuffix(".csv") + ".results/"
    names = [result["results"] for result in results]
    assert all(name.startswith(folder) and name.endswith(".csv") for name in names)
    assert names == sorted(names)


def test_another_file_than_was_planned_is_refused(connect: Connect, put: Put) -> None:
    uri = put("people.csv", BODY)
    chunks = plan(uri, chunks=2)
    put("people.csv", BODY.replace("Person", "Nobody!"))
    with mmsc() as centre:
        connect(centre.url)
        for chunk in chunks:
            with pytest.raises(MediaChanged, match=r"people\.csv"):
                send(chunk)
        with pytest.raises(MediaChanged, match=r"people\.csv"):
            send({**chunks[0], "end": chunks[0]["start"]})
        assert centre.received == []


def test_a_file_system_may_be_mounted_on_another_machine(connect: Connect, tmp_path: Path) -> None:
    people = tmp_path / "p.csv"
    people.write_text(BODY)
    chunks = plan(str(people), chunks=2)
    # A copy has another inode, as the same file has another device there.
    shutil.copy2(people, tmp_path / "copy")
    (tmp_path / "copy").replace(people)
    with mmsc() as centre:
        connect(centre.url)
        assert sum(send(chunk)["accepted"] for chunk in chunks) == 100


def test_a_preview_of_a_chunk_of_blank_lines(connect: Connect, tmp_path: Path) -> None:
    people = tmp_path / "p.csv"
    people.write_text("to\n+64211234567\n" + "\n" * 100)
    connect("http://127.0.0.1:9/mm7")
    assert send(plan(str(people), chunks=3)[-1], preview=True)["total"] == 0


def test_a_number_in_two_chunks_gets_one_message(connect: Connect, tmp_path: Path) -> None:
    people = tmp_path / "p.csv"
    people.write_text("to,n\n" + "".join(f"+6421123456{n % 5},{n}\n" for n in range(10)))
    chunks = plan(str(people), chunks=2)
    with mmsc() as centre:
        connect(centre.url)
        first, second = (send(chunk) for chunk in chunks)
        assert sorted(centre.numbers) == [f"+6421123456{n}" for n in range(5)]
    assert (first["accepted"], first["duplicates"]) == (5, 0)
    assert (second["total"], second["duplicates"]) == (0, 5)
    states = [line.split(",")[3] for line in Path(second["results"]).read_text().splitlines()[1:]]
    assert states == ["duplicate"] * 5


def test_a_key_of_ones_own_does_not_make_chunks_one_batch(connect: Connect, tmp_path: Path) -> None:
    people = tmp_path / "p.csv"
    people.write_text(BODY)
    chunks = plan(str(people), chunks=3)
    with mmsc() as centre:
        connect(centre.url)
        results = [send(chunk, idempotency_key="autumn") for chunk in chunks]
        assert Counter(centre.numbers) == Counter(NUMBERS)
    assert len({result["batch_id"] for result in results}) == 3


def test_a_chunk_of_blank_lines_is_sent_already(connect: Connect, tmp_path: Path) -> None:
    people = tmp_path / "p.csv"
    people.write_text("to\n+64211234567\n" + "\n" * 100)
    with mmsc() as centre:
        connect(centre.url)
        results = [send(chunk) for chunk in plan(str(people), chunks=3)]
        assert centre.numbers == ["+64211234567"]
    assert [result["total"] for result in results] == [1, 0, 0]


@pytest.mark.parametrize("text", ["", "to\n"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    people = tmp_path / "p.csv"
    people.write_text(text)
    with pytest.raises(AirflowFailException, match="no recipient"):
        plan(str(people))
    with pytest.raises(AirflowSkipException):
        plan(str(people), skip_when_empty=True)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"chunks": "many"}, "chunks: 'many'"), ({"chunks": 0}, "chunks: 0"), ({"recipients": "gone.csv"}, "gone.csv")],
)
def test_what_cannot_be_planned(tmp_path: Path, parameters: dict[str, Any], said: str) -> None:
    (tmp_path / "p.csv").write_text(BODY)
    with pytest.raises(AirflowFailException, match=said):
        plan(**{"recipients": str(tmp_path / "p.csv"), **parameters})


@pytest.mark.s3
def test_the_file_is_not_read_whole(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    uri = bucket.put("people.csv", "to\n" + "+64211234567\n" * 200_000)
    asked: list[tuple[str, int]] = []
    make = S3Hook.get_conn

    def counting(hook: Any) -> Any:
        client = make(hook)
        client.meta.events.register(
            "after-call.s3", lambda parsed, model, **_: asked.append((model.name, parsed.get("ContentLength", 0)))
        )
        return client

    monkeypatch.setattr(S3Hook, "get_conn", counting)
    assert len(plan(uri, chunks=8)) == 8
    gets = [size for name, size in asked if name == "GetObject"]
    assert sum(gets) < 10 * 16 * 1024 + 100
    assert Counter(name for name, _ in asked)["HeadObject"] == 1


def test_in_the_operators_template_fields(connect: Connect, tmp_path: Path) -> None:
    """What ``expand`` puts in is rendered by Airflow like any parameter, and stays what it is."""
    people = tmp_path / "p.csv"
    people.write_text("to,{{ nothing }}\n+64211234567,{{ row }}\n")
    (chunk,) = plan(str(people), chunks=1)
    with mmsc() as centre:
        connect(centre.url)
        task = operator(recipients="placeholder", text="{{ row['{{ nothing }}'] }}")
        task.recipients = chunk
        assert task.execute({"ti": TaskInstance()})["accepted"] == 1  # type: ignore[typeddict-item]
        assert centre.received[0].envelope.parts[-1].body == b"{{ row }}"
