"""SendMMSOperator mapped, fed and read by other tasks: Airflow's own ways with it."""

from __future__ import annotations

from pathlib import Path

from tests.support.dag_file import TAIL, run_dag_file


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
