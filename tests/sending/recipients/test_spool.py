"""Rows on disk: found by any spelling, in the order of their lines, put together with what the ledger says."""

from __future__ import annotations

import io
import json
import threading

import pytest

from airflow_provider_mm7.exceptions import InputError, StoreUnavailable
from airflow_provider_mm7.sending.recipients.results import results_uri, write_results
from airflow_provider_mm7.sending.recipients.source import Chunk
from airflow_provider_mm7.sending.recipients.spool import LineResult, Problem, Rejection, RowContent, Spool

A, B = RowContent(subject="ü", text=("a", ""), media=("m",), own=frozenset({"m"})), RowContent(text=("b",))


def outcome(number: str, state: str = "accepted") -> LineResult:
    return LineResult(line=None, recipient=number, message_id="m1", state=state, status=1000, status_text="ok")


def test_rows_and_contents() -> None:
    with Spool() as spool:
        for line, number, content in ((5, "+64211234565", A), (3, "+64211234563", B), (4, "+64211234564", A)):
            assert spool.line_of(number) is None
            spool.add(line, number, content)
        assert spool.line_of("64211234563") == 3
        assert [(row.line, row.number) for row in spool.rows()] == [
            (3, "+64211234563"), (4, "+64211234564"), (5, "+64211234565"),
        ]  # fmt: skip
        assert (spool.count(), spool.count_contents()) == (3, 2)
        found = spool.find(["64211234565", "+64219999999"])
        assert found[1] is None
        assert found[0] is not None
        assert spool.content(found[0].content) == A
        assert spool.contents(9) == [A, B]
        assert spool.known(["64211234564", "1"]) == {"64211234564"}


def test_results_stand_in_the_order_of_the_lines() -> None:
    with Spool() as spool:
        spool.add(2, "+64211234562", B)
        spool.add(5, "+64211234565", B)
        spool.reject(Problem(line=3, number="x", state=Rejection.INVALID, text="wrong"))
        spool.reject(Problem(line=4, number="+64211234562", state=Rejection.DUPLICATE, text="twice"))
        for _ in range(2):
            # The ledger may keep another spelling, and recipients that the file has no more.
            spool.record_outcomes([outcome("+64219999999", "refused"), outcome("64211234562")])
            assert [(row.line, row.recipient, row.state, row.status) for row in spool.results(unsent="planned")] == [
                (2, "64211234562", "accepted", 1000),
                (3, "x", "invalid", None),
                (4, "+64211234562", "duplicate", None),
                (5, "+64211234565", "planned", None),
                (None, "+64219999999", "refused", 1000),
            ]
        assert spool.count_elsewhere() == 1


def test_many_threads_read_while_rows_are_walked() -> None:
    with Spool() as spool:
        for n in range(3000):
            spool.add(n, f"+6421{n:07}", RowContent(text=(str(n),)))
        wrong: list[object] = []

        def look(start: int) -> None:
            for n in range(start, 3000, 50):
                (row,) = spool.find([f"+6421{n:07}"])
                if row is None or spool.content(row.content).text != (str(n),):
                    wrong.append(n)

        threads = [threading.Thread(target=look, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        assert [row.line for row in spool.rows()] == list(range(3000))
        for thread in threads:
            thread.join()
        assert wrong == []


def test_a_disk_that_is_full_is_told() -> None:
    with Spool() as spool:
        spool._db.execute("PRAGMA max_page_count = 10")
        with pytest.raises(StoreUnavailable, match="temporary folder"):
            spool.add(2, "+64211234567", RowContent(text=("x" * 1_000_000,)))


def test_results_as_csv_and_json_lines() -> None:
    rows = [
        LineResult(line=2, recipient="+1", message_id="m", state="accepted", status=1000, status_text='a "b", ü\nc'),
        LineResult(line=None, recipient="+2", message_id=None, state="refused", status=None, status_text=None),
    ]
    body = io.BytesIO()
    write_results(body, "r.csv", rows)
    assert body.getvalue().decode() == (
        "line,recipient,message_id,state,status,status_text\r\n"
        '2,+1,m,accepted,1000,"a ""b"", ü\nc"\r\n,+2,,refused,,\r\n'
    )
    body = io.BytesIO()
    write_results(body, "r.jsonl", rows)
    assert [json.loads(line) for line in body.getvalue().decode().splitlines()] == [
        {"line": 2, "recipient": "+1", "message_id": "m", "state": "accepted", "status": 1000,
         "status_text": 'a "b", ü\nc'},
        {"line": None, "recipient": "+2", "message_id": None, "state": "refused", "status": None, "status_text": None},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "source", "expected"),
    [
        (None, "s3://b/people.csv", "s3://b/people.results.csv"),
        ("", "people.JSONL", "people.results.jsonl"),
        (None, "people.ndjson.gz", "people.results.ndjson"),
        (None, None, None),
        ("None", "p.csv", None),
        ("gs://b/r.jsonl", None, "gs://b/r.jsonl"),
        (
            None,
            Chunk(uri="s3://b/p.csv", start=5, end=1000, etag="e"),
            "s3://b/p.results/000000000000005-000000000001000.csv",
        ),
        (
            "s3://b/out.jsonl",
            Chunk(uri="s3://b/p.csv", start=5, end=1000, etag="e"),
            "s3://b/out/000000000000005-000000000001000.jsonl",
        ),
    ],
)
def test_where_results_go(wanted: str | None, source: str | Chunk | None, expected: str | None) -> None:
    assert results_uri(wanted, source) == expected


@pytest.mark.parametrize("wanted", ["r.txt", "s3://b/folder/", "r.csv.gz"])
def test_results_need_a_format(wanted: str) -> None:
    with pytest.raises(InputError, match=r"^results: "):
        results_uri(wanted, None)


@pytest.mark.parametrize("source", ["s3://b/p.csv", Chunk(uri="s3://b/p.csv", start=5, end=9, etag="e")])
def test_results_do_not_replace_the_recipients(source: str | Chunk) -> None:
    with pytest.raises(InputError, match="the file of recipients itself"):
        results_uri("s3://b/p.csv", source)
