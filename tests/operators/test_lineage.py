"""What OpenLineage's listener hears of a run, in a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.dag_file import TAIL, run_dag_file


def named(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


def test_what_openlineage_hears(tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.openlineage.extractors")
    result, output = run_dag_file(Path(__file__).parent / "dags" / "lineage.py", tmp_path)

    ended = {event["job"]["name"]: event for event in result["events"] if event["eventType"] in ("COMPLETE", "FAIL")}
    assert {"lineage.one", "lineage.many", "lineage.wrong", "lineage.shown"} <= set(ended), output[-TAIL:]
    sent = (f"mm7://{result['host']}", "TNN/News")
    picture = ("file", result["picture"])

    one = ended["lineage.one"]
    assert named(one["inputs"]) == [picture]
    assert named(one["outputs"]) == [sent]
    assert one["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2

    many, home = ended["lineage.many"], result["home"]
    assert named(many["inputs"]) == [("file", f"{home}/people.csv"), picture, ("file", str(Path(picture[1]).parent))]
    assert named(many["outputs"]) == [sent, ("file", f"{home}/people.results.csv")]
    assert many["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1

    # All of them ran in one process, so what others wrote is collected for these two.
    for task in ("lineage.wrong", "lineage.shown"):
        assert sent not in named(ended[task]["outputs"])
    told = str(result["events"])
    assert "hunter2" not in told
