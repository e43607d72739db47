"""``airflow mm7 opt-outs``: what it prints, what it records, how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mm7.store import OptOutChange, Source, Store, connection_scope, open_store, short_code_scope
from tests.support.airflow_cli import Commands

HERE = connection_scope("mm7_default")
CODE = short_code_scope("111122")
ONE, TWO, THREE = "+64211234567", "+64211234568", "+64211234569"


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def connection(**extra: Any) -> str:
        return json.dumps({"conn_type": "mm7", "host": "http://127.0.0.1:1/mm7", "extra": extra})

    monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", connection())
    monkeypatch.setenv(
        "AIRFLOW_CONN_SHORT", connection(opt_out_scope="short_code", sender_address="111122", vaspid="x")
    )


def store(mm7: Commands) -> Store:
    return open_store(mm7.store_url)


def standing(mm7: Commands, scope: str | None = None) -> list[tuple[str, str]]:
    return [(one.scope, one.number) for one in store(mm7).opt_outs(scope)]


def test_add_list_remove(mm7: Commands) -> None:
    assert mm7.json("opt-outs", "add", ONE, "64 21-123 4568") == {"scope": HERE, "numbers": 2, "changed": 2}
    assert mm7.json("opt-outs", "add", ONE)["changed"] == 0
    first, second = mm7.json("opt-outs", "list")
    assert (first["number"], second["number"]) == (ONE, TWO)
    assert set(first) == {
        *("number", "scope", "opted_out", "changed_at", "said_at", "keyword", "source", "conn_id", "confirmation"),
    }
    assert (first["opted_out"], first["source"], first["confirmation"]) == (True, "cli", None)
    assert mm7.json("opt-outs", "remove", ONE, THREE) == {"scope": HERE, "numbers": 2, "changed": 1}
    assert [row["number"] for row in mm7.json("opt-outs", "list")] == [TWO]
    assert [row["opted_out"] for row in mm7.json("opt-outs", "list", "--returned")] == [False, True]
    assert TWO in mm7("opt-outs", "list").out


def test_scopes_by_name_and_by_connection(mm7: Commands) -> None:
    mm7.json("opt-outs", "add", ONE, "--conn-id", "short")
    mm7.json("opt-outs", "add", TWO, "--scope", "code:+33-44")
    mm7.json("opt-outs", "add", THREE)
    assert standing(mm7) == [(CODE, ONE), ("code:3344", TWO), (HERE, THREE)]
    assert [row["number"] for row in mm7.json("opt-outs", "list", "--conn-id", "short")] == [ONE]
    assert [row["number"] for row in mm7.json("opt-outs", "list", "--scope", "code:3344")] == [TWO]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("add", "12"), "7 to 15"),
        (("add", ONE, "--scope", "galaxy"), "--scope"),
        (("add", ONE, "--scope", "code:"), "--scope"),
        (("add", ONE, "--scope", "code:1", "--conn-id", "short"), "either"),
        (("add", ONE, "--conn-id", "nowhere"), "nowhere"),
        (("import", "/nowhere/file"), "No such file"),
        (("export", "/nowhere/file"), "No such file"),
    ],
)
def test_a_slip_is_one_line(mm7: Commands, args: tuple[str, ...], words: str) -> None:
    done = mm7("opt-outs", *args)
    assert done.code in (1, 2)
    assert done.err.count("\n") == 1
    assert words in done.err
    assert standing(mm7) == []


def test_none_is_recorded_where_one_is_no_number(mm7: Commands) -> None:
    assert mm7("opt-outs", "add", ONE, "0211234567").code == 1
    assert standing(mm7) == []


@pytest.mark.parametrize(
    "content",
    [
        f"{ONE}\n{TWO}\n",
        f"{ONE}\r\n\r\n{TWO}",
        f"\ufeffnumber\n{ONE}\n{TWO}\n",
        f"name;Mobile;city\nZoë;{ONE};Rome\nAda;64 21 123 4568;Oslo\n",
        f'name\tphone\n"Z\toe"\t{ONE}\nAda\t{TWO}\n',
        f"{ONE},2026-01-01,STOP\n{TWO},,\n",
    ],
    ids=["lines", "crlf", "bom", "semicolons", "tabs", "no-header"],
)
def test_import_of_what_others_write(mm7: Commands, tmp_path: Path, content: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content.encode())
    done = mm7.json("opt-outs", "import", str(file))
    assert done == {"scope": None, "numbers": 2, "invalid": 0, "changed": 2}
    assert standing(mm7) == [(HERE, ONE), (HERE, TWO)]


def test_a_column_scope_of_somebody_else_is_none_of_ours(mm7: Commands) -> None:
    content = f"number,scope\n{ONE},marketing\n{TWO},code: 11 11-22\n".encode()
    assert mm7.json("opt-outs", "import", "-", stdin=content)["changed"] == 2
    assert standing(mm7) == [(CODE, TWO), (HERE, ONE)]


def test_import_from_standard_input(mm7: Commands) -> None:
    assert mm7.json("opt-outs", "import", "-", "--scope", "code:1", stdin=ONE.encode())["changed"] == 1
    assert standing(mm7) == [("code:1", ONE)]


def test_lines_without_a_number_are_named_masked_and_the_others_recorded(mm7: Commands) -> None:
    bad = "".join(f"0021{number:07}\n" for number in range(30))
    done = mm7("opt-outs", "import", "-", "-o", "json", stdin=f"{ONE}\n{bad}{TWO}\n".encode())
    assert done.code == 1
    assert json.loads(done.out) == {"scope": None, "numbers": 2, "invalid": 30, "changed": 2}
    assert "line 2: 0021*****00 starts with 00" in done.err
    assert "30 lines hold no number" in done.err
    assert len(done.err.splitlines()) == 21
    assert len(standing(mm7)) == 2


@pytest.mark.parametrize("content", [b"\xff\xfe", f"{ONE}\n".encode() + b"\xff\n", b'"' + b"x" * 200_000 + b"\n"])
def test_what_is_no_text_ends_with_2_and_one_line(mm7: Commands, content: bytes) -> None:
    done = mm7("opt-outs", "import", "-", stdin=content)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be read" in done.err


def test_an_export_read_again_is_the_same(mm7: Commands, tmp_path: Path) -> None:
    store(mm7).record_opt_outs(
        OptOutChange(scope=scope, number=number, opted_out=True, source=Source.MESSAGE, keyword="arrêt, svp")
        for scope in (HERE, CODE)
        for number in (ONE, TWO)
    )
    store(mm7).record_opt_outs([OptOutChange(scope=HERE, number=TWO, opted_out=False, source=Source.CLI)])
    done = mm7("opt-outs", "export")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == ["number", "scope", "date", "keyword", "source"]
    assert [(row["scope"], row["number"], row["keyword"]) for row in rows] == [
        (CODE, ONE, "arrêt, svp"),
        (CODE, TWO, "arrêt, svp"),
        (HERE, ONE, "arrêt, svp"),
    ]
    before = standing(mm7)
    mm7.json("opt-outs", "remove", ONE, TWO, "--scope", CODE)
    mm7.json("opt-outs", "remove", ONE)
    file = tmp_path / "export.csv"
    file.write_text(done.out, encoding="utf-8")
    assert mm7.json("opt-outs", "import", str(file))["changed"] == 3
    assert standing(mm7) == before
    again = list(csv.DictReader(io.StringIO(mm7("opt-outs", "export").out)))
    assert [(row["number"], row["date"], row["keyword"]) for row in again] == [
        (row["number"], row["date"], row["keyword"]) for row in rows
    ]
    # Into another scope, where it is asked for.
    assert mm7.json("opt-outs", "import", str(file), "--scope", "code:9")["changed"] == 2


def test_export_as_json_and_into_a_file(mm7: Commands, tmp_path: Path) -> None:
    assert mm7.json("opt-outs", "export") == []
    store(mm7).record_opt_outs(
        OptOutChange(scope=HERE, number=f"+6421{number:07}", opted_out=True, source=Source.CLI)
        for number in range(1_500)
    )
    assert len(mm7.json("opt-outs", "export", "--scope", HERE)) == 1_500
    assert mm7.json("opt-outs", "export", "--scope", CODE) == []
    file = tmp_path / "out.csv"
    assert mm7("opt-outs", "export", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 1_501


def test_a_list_that_goes_on_says_so(mm7: Commands) -> None:
    mm7.json("opt-outs", "add", ONE, TWO, THREE)
    done = mm7("opt-outs", "list", "--limit", "2", "-o", "json")
    assert [row["number"] for row in json.loads(done.out)] == [ONE, TWO]
    assert "there are more" in done.err
    assert "there are more" not in mm7("opt-outs", "list", "--limit", "3").err
