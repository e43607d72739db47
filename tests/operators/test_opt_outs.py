"""The operators and those who opted out: no failure, counted, in the results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mm7.operators.mm7 import SendMMSBatchOperator
from airflow_provider_mm7.store import OptOutChange, Source, connection_scope, open_store, short_code_scope
from tests.operators.conftest import TaskInstance
from tests.operators.test_mm7 import execute, operator
from tests.support.mmsc import mmsc

ONE, TWO = "+64211234567", "+64211234568"


def says(url: str, *numbers: str, scope: str = connection_scope("mm7_default")) -> None:
    open_store(url).record_opt_outs(
        OptOutChange(scope=scope, number=number, opted_out=True, source=Source.CLI) for number in numbers
    )


@pytest.mark.parametrize("fail_on", ["any", "all", "never"])
def test_a_message_to_who_opted_out_succeeds_and_is_not_sent(
    connect: Callable[..., None], ledger_url: str, fail_on: str
) -> None:
    says(ledger_url, ONE)
    with mmsc() as centre:
        connect(centre.url)
        result = execute(operator(to=ONE, fail_on=fail_on), TaskInstance(centre))
    assert centre.posts == 0
    assert (result["suppressed"], result["accepted"], result["planned"]) == (1, 0, 0)
    assert [(one["state"], one["status_text"]) for one in result["messages"]] == [("suppressed", "opted out")]


def test_the_connections_scope_is_honoured(connect: Callable[..., None], ledger_url: str) -> None:
    says(ledger_url, ONE)
    says(ledger_url, TWO, scope=short_code_scope("111122"))
    with mmsc() as centre:
        connect(centre.url, opt_out_scope="short_code", sender_address="111122")
        result = execute(operator(to=[ONE, TWO]), TaskInstance(centre))
    assert (centre.numbers, result["suppressed"]) == ([ONE], 1)


def test_a_recipients_file(connect: Callable[..., None], ledger_url: str, tmp_path: Path) -> None:
    says(ledger_url, TWO)
    people = tmp_path / "people.csv"
    people.write_text(f"number,name\n{ONE},Ada\n{TWO},Zoe\n")
    with mmsc() as centre:
        connect(centre.url)
        batch = SendMMSBatchOperator(task_id="batch", recipients=str(people), text="Hello {{ row.name }}")
        context: Any = {"ti": TaskInstance(centre)}
        result = batch.execute(context)
    assert (centre.numbers, result["suppressed"], result["accepted"]) == ([ONE], 1, 1)
    rows = list(csv.DictReader((tmp_path / "people.results.csv").read_text().splitlines()))
    assert [(row["recipient"], row["state"], row["status_text"]) for row in rows] == [
        (ONE, "accepted", "Success"),
        (TWO, "suppressed", "opted out"),
    ]
    assert json.dumps(result)
