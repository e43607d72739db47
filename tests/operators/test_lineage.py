"""What OpenLineage's listener hears of a run that reads from a real S3 server, in a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.dag_file import TAIL, run_dag_file
from tests.support.servers import SeaweedFS

pytestmark = pytest.mark.long

PICTURE = (Path(__file__).parents[2] / "example_dags" / "media" / "saturn.gif").read_bytes()
SLIDES = (
    b'<smil><head><layout><root-layout width="176" height="208"/>'
    b'<region id="Image" left="0" top="0" width="176" height="144"/></layout></head>'
    b'<body><par dur="5s"><img src="saturn.gif" region="Image"/></par></body></smil>'
)
S3 = "s3://news"


@pytest.fixture
def news(s3_server: SeaweedFS) -> SeaweedFS:
    """A bucket with pictures, a presentation and a recipients file."""
    s3_server.upload(
        "news",
        {
            "2026/saturn.gif": PICTURE,
            "2026/rings 50%.gif": PICTURE,
            "logo.gif": PICTURE,
            "slides.smil": SLIDES,
            "lists/people.csv": b"number,name,picture\n+64211234569,Ann,saturn.gif\n+64211234570,Bob,saturn.gif\n",
        },
    )
    return s3_server


def named(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


def ordered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of a mapped task, which end in any order, by their first input."""
    return sorted(events, key=lambda event: str(event["inputs"][0]["name"]))


def accepted(kinds: dict[str, list[dict[str, Any]]]) -> list[int]:
    """How many messages the outputs of a task's events count."""
    outputs = [one for events in kinds.values() for event in events for one in event["outputs"]]
    return [one["outputFacets"]["outputStatistics"]["rowCount"] for one in outputs if one.get("outputFacets")]


@pytest.mark.s3
def test_what_openlineage_hears(news: SeaweedFS, tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.openlineage.extractors")
    result, output = run_dag_file(
        Path(__file__).parent / "dags" / "lineage.py",
        tmp_path,
        {"AIRFLOW_CONN_AWS_DEFAULT": news.airflow_connection()},
    )
    of_task: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for event in result["events"]:
        kinds = of_task.setdefault(event["job"]["name"].removeprefix("lineage."), {})
        kinds.setdefault(event["eventType"], []).append(event)
    assert of_task.keys() >= {"one", "many", "mapped", "refused", "missing", "wrong", "shown"}, output[-TAIL:]

    sent = (f"mm7://{result['host']}", "TNN/News")
    logo, people = (S3, "logo.gif"), (S3, "lists/people.csv")

    def told(task: str, kind: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        (event,) = of_task[task][kind]
        return named(event["inputs"]), named(event["outputs"])

    pictures = [(S3, "2026/rings 50%.gif"), ("file", result["picture"]), (S3, "slides.smil")]
    assert told("one", "START") == (pictures, [])
    assert told("one", "COMPLETE") == (pictures, [sent])
    assert told("many", "START") == ([people, (S3, "2026")], [])
    assert told("many", "COMPLETE") == ([people, logo, (S3, "2026")], [sent, (S3, "lists/people.results.csv")])
    for kind, outputs in (("START", []), ("COMPLETE", [sent])):
        assert [(named(event["inputs"]), named(event["outputs"])) for event in ordered(of_task["mapped"][kind])] == [
            ([(S3, "2026/saturn.gif")], outputs),
            ([logo], outputs),
        ]
    assert told("refused", "FAIL") == ([logo], [sent])
    # What fails before anything is sent has read, or tried to.
    assert told("missing", "FAIL") == ([(S3, "none.gif")], [])
    assert told("shown", "COMPLETE") == ([logo], [])
    assert {task: accepted(kinds) for task, kinds in of_task.items() if accepted(kinds)} == {
        "one": [2],
        "many": [2],
        "mapped": [1, 1],
        "refused": [0],
    }
    # Airflow's own name for what the collector heard of is ours.
    assert told("hook", "COMPLETE") == ([(S3, "2026/rings 50%.gif")], [])
    assert "hunter2" not in str(result["events"])
    assert "+6421123" not in str(result["events"])
