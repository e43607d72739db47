"""What each of the sandbox's special recipients comes to: the table of docs/sending.rst, row by row."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest

from airflow_provider_mm7.sending import patience
from airflow_provider_mm7.sending.patience import Patience
from airflow_provider_mm7.store import Store
from tests.docs.pages import DOCS
from tests.support.sandbox import RunningSandbox
from tests.support.sending import run

pytestmark = pytest.mark.long

#: Fewer than ever make an outage, so that one message is tried as often as it may be.
TRIES = 3
#: A message that does not leave in one go.
LARGE = "x" * (1 << 24)
#: Whose row speaks of one.
RESET = "+15005550901"
#: Of the states of a message, where XCom counts it.
COUNTED = {"retry": "planned"}


def table() -> list[list[str]]:
    """Rows of the table: recipient, what the MMSC does, state, whether it is tried again at once and by a later run."""
    text = (DOCS / "sending.rst").read_text()
    rows = re.search(r'^   :header: "Sandbox recipient".*?\n\n(.*?)\n\n', text, re.MULTILINE | re.DOTALL)
    assert rows is not None
    return list(csv.reader(line.strip() for line in rows[1].splitlines()))


@pytest.fixture(autouse=True)
def _few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", Patience(tries=TRIES, unreached_limit=9, first_pause_s=0.01))


def test_the_table_is_read() -> None:
    assert len(table()) >= 25


@pytest.mark.parametrize(("to", "_does", "state", "again", "later"), table(), ids=[row[0] for row in table()])
def test_it_is_as_documented(
    store: Store, sandbox: RunningSandbox, to: str, _does: str, state: str, again: str, later: str
) -> None:
    ways: dict[str, Any] = {
        "text": LARGE if to == RESET else "hello",
        "login": sandbox.login,
        "password": sandbox.password,
        "max_connections": 1,
        "read_timeout_s": 1,
    }
    result = run(store, sandbox.url, (to,), **ways)
    (sent,) = result.messages
    assert sent.state == state
    counts = {"accepted": 0, "refused": 0, "unknown": 0, "suppressed": 0, "planned": 0} | {COUNTED.get(state, state): 1}
    assert result.as_xcom(messages=False) == {"batch_id": result.summary.batch_id, "total": 1, **counts}
    posted = len(sandbox.messages())
    assert (sent.attempts > 1) == (again == "yes")

    # Whatever became of it, nobody gets it twice.
    assert len(sandbox.accepted()) <= 1
    run(store, sandbox.url, (to,), **ways)
    assert (len(sandbox.messages()) > posted) == (later == "yes")
    assert len(sandbox.accepted()) <= 1
