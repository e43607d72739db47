"""SendMMSOperator mapped, fed and read by other tasks: Airflow's own ways with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dag_file import TAIL, run_dag_file

pytestmark = pytest.mark.long


def test_in_a_dag_run(tmp_path: Path) -> None:
    result, output = run_dag_file(Path(__file__).parent / "dags" / "mapped.py", tmp_path)

    assert {state for _, _, state in result["states"]} == {"success"}, output[-TAIL:]
    first, second = "+64211234567", "+64211234568"
    assert result["received"] == sorted([first, second, first, second, first])
    xcoms = result["xcoms"]
    mapped = [xcoms["each0"], xcoms["each1"]]
    assert [[message["recipient"] for message in one["messages"]] for one in mapped] == [[first], [second]]
    batches = [one["batch_id"] for one in (*mapped, xcoms["all-1"], xcoms["named-1"])]
    assert len(set(batches)) == 4
    assert xcoms["all-1"]["accepted"] == 2
    # The item of send.output is an XCom key, not an item of the returned dictionary.
    assert xcoms["downstream-1"] == xcoms["named-1"]["batch_id"]
    assert "hunter2" not in output


def test_a_recipients_file_in_chunks(tmp_path: Path) -> None:
    result, output = run_dag_file(Path(__file__).parent / "dags" / "batch.py", tmp_path)

    assert {state for _, _, state in result["states"]} == {"success"}, output[-TAIL:]
    xcoms = result["xcoms"]
    assert len(xcoms["plan-1"]) == 3
    numbers = [f"+6421123456{n}" for n in range(9)]
    assert result["count"] == 12
    assert set(result["received"]) == {*numbers, "+64211234597", "+64211234598", "+64211234599"}
    assert result["received"][numbers[0]] == "Hello N0 of 0, batch"
    assert result["received"][numbers[8]] == "Hello N8 of 2, batch"
    assert [xcoms[f"each{index}"]["accepted"] for index in range(3)] == [3, 3, 3]
    assert xcoms["downstream-1"] == 3
    assert xcoms["whole-1"]["accepted"] == 1
    # What another task returned is data.
    assert result["received"]["+64211234599"] == "{{ this }} is data"
    assert result["received"]["+64211234598"] == "{{ late }} is data"
    assert result["received"]["+64211234597"] == "{{ dag.dag_id }} is data"
    assert "hunter2" not in output
    assert not any(number in output for number in numbers)
