"""Records become rows and problems."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.sending import Profile
from airflow_provider_mm7.sending.recipients.intake import Intake
from airflow_provider_mm7.sending.recipients.reader import Record
from airflow_provider_mm7.sending.recipients.results import COLUMNS
from airflow_provider_mm7.sending.recipients.spool import Rejection, Spool
from airflow_provider_mm7.sending.recipients.templates import Templates, compile_templates

NUMBER = "+64211234567"


def take(spool: Spool, records: Iterable[dict[str, object]], text: str = "hello", column: str | None = None) -> None:
    renderer = compile_templates(Templates(text=(text,)), {"ds": "2026-01-02"})
    intake = Intake(spool=spool, renderer=renderer, profile=Profile(), recipient_column=column)
    intake.take(Record(line=line, values=values) for line, values in enumerate(records, start=1))


def test_a_column_may_be_called_like_a_function_of_jinja() -> None:
    with Spool() as spool:
        take(spool, [{"to": NUMBER, "range": "5"}], "{{ range }} km on {{ ds }}")
        assert spool.content(1).text == ("5 km on 2026-01-02",)
    with Spool() as spool:
        take(spool, [{"to": NUMBER}], "{% for n in range(3) %}{{ n }}{% endfor %}")
        assert spool.content(1).text == ("012",)


def test_a_number_that_is_half_a_character_is_a_problem_of_its_line() -> None:
    with Spool() as spool:
        take(spool, [{"to": "\ud800"}, {"to": NUMBER}])
        assert [(item.line, item.number) for item in spool.problems(Rejection.INVALID, limit=9)] == [(1, "?")]
        assert spool.count() == 1


def test_a_number_that_became_a_float_is_told_as_such() -> None:
    with Spool() as spool:
        take(spool, [{"to": 64211234567.0}, {"to": None}])
        first, second = spool.problems(Rejection.INVALID, limit=9)
    assert first.number == "64211234567.0"
    assert "empty" not in first.text
    assert "empty" in second.text


def test_results_are_not_taken_for_recipients() -> None:
    row = dict.fromkeys(COLUMNS) | {"recipient": NUMBER}
    with Spool() as spool:
        with pytest.raises(InputError, match="results of an earlier sending"):
            take(spool, [row])
        take(spool, [row], column="recipient")
        assert spool.count() == 1
