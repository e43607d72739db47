from __future__ import annotations

import gc
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks.answers import AnswerQuestion, AnswerReader, find_answer, read_answer
from airflow_provider_mm7.store import Store, open_store
from tests.store.test_inbound import MESSAGE
from tests.support.empty_ledgers import empty_ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    return empty_ledger(tmp_path / "mm7.db")


def arrive(store: Store, digest: str, **fields: Any) -> int:
    store.add_inbound([replace(MESSAGE, digest=digest, **fields)])
    return store.newest_inbound_id()


def test_questions_are_values_however_numbers_are_spelled() -> None:
    one = AnswerQuestion.of(senders=["+64 21 1", "64212"], keyword="Yes!", since=datetime(2026, 1, 2, tzinfo=UTC))
    assert one == AnswerQuestion.of(senders=["64212/TYPE=PLMN", "+64211"], keyword="yes", since=one.wanted.since)
    assert AnswerQuestion.from_json(json.loads(json.dumps(one.as_json()))) == one
    assert str(one) == "from 2 numbers"
    assert str(AnswerQuestion.of(senders=["64211"], linked_ids=["m"])) == "answers to 1 messages from 1 numbers"


@pytest.mark.parametrize(
    "asked", [{}, {"keyword": "yes"}, {"senders": [""]}, {"linked_ids": [""]}, {"senders": ["1"], "keyword": "!"}]
)
def test_any_message_is_nobodys_answer(asked: Any) -> None:
    with pytest.raises(InputError):
        AnswerQuestion.of(**asked)


def test_looking_takes_nothing(url: str) -> None:
    store = open_store(url)
    question = AnswerQuestion.of(senders=["+6421"], conn_id=MESSAGE.conn_id)
    assert find_answer(url, question) is None
    first = arrive(store, "1")
    arrive(store, "2")
    for _ in range(2):
        found = find_answer(url, question)
        assert found is not None
        assert (found.id, found.text, found.attempts) == (first, "YES", 0)
    assert read_answer(url, first) == found
    assert read_answer(url, first + 9) is None


def test_a_reader_asks_only_about_what_came_since(url: str) -> None:
    store = open_store(url)
    reader = AnswerReader(url)
    mine, others = AnswerQuestion.of(senders=["1"]), AnswerQuestion.of(senders=["2"])
    heard: list[str] = []

    def listen(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM mm7_inbound" in statement:
            heard.append(statement)

    sa.event.listen(store._db.engine, "before_cursor_execute", listen)

    def ask() -> tuple[Any, Any, int]:
        heard.clear()
        answers = reader([mine, others])
        return answers[mine], answers[others], len(heard)

    assert ask() == (None, None, 1)
    arrive(store, "a", sender="3")
    assert ask() == (None, None, 3)
    assert ask() == (None, None, 1)
    wanted = arrive(store, "b", sender="1")
    arrive(store, "c", sender="1")
    for _ in range(2):
        found, none, _ = ask()
        assert (found.id, none) == (wanted, None)
    assert ask()[2] == 2, "who has an answer is answered again"
    # Equal questions of others find what came before they were asked.
    assert AnswerReader(url)([AnswerQuestion.of(senders=["3"])]) != {AnswerQuestion.of(senders=["3"]): None}


def test_a_reader_forgets_questions_that_nobody_asks_any_more(url: str) -> None:
    arrive(open_store(url), "a", sender="3")
    reader = AnswerReader(url)
    for n in range(5):
        reader([AnswerQuestion.of(senders=[f"1{n}"])])
    gc.collect()
    assert len(reader._seen) == 0
