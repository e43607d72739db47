"""The harness itself, with tiny numbers: what the sink says is true, and a run ends in a table and a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from airflow_provider_mm7.protocol import SubmitRsp, load
from tests.benchmarks import message, slow_disk
from tests.benchmarks.__main__ import run_suites
from tests.benchmarks.bench import Bench, Suite
from tests.benchmarks.figures import TARGETS, Figure, Outcome, at_least, at_most
from tests.benchmarks.processes import ROOT, SinkProcess
from tests.benchmarks.rounds import Contender, Unfair
from tests.benchmarks.sent import SQLiteLedgers
from tests.benchmarks.spec import Run
from tests.benchmarks.suites import receiving

pytestmark = pytest.mark.long


@pytest.fixture
def sink() -> Iterator[SinkProcess]:
    with SinkProcess() as running:
        yield running


def post(sink: SinkProcess, index: int, session: requests.Session, padding: int = 0) -> requests.Response:
    return session.post(sink.url, data=message.soap(index).encode() + b"x" * padding, timeout=10)


def test_the_sink_accepts_as_an_mmsc_does(sink: SinkProcess) -> None:
    with requests.Session() as session:
        answer = post(sink, 1, session, padding=3_000_000)
        again = post(sink, 2, session)

    envelope, second = (load(one.content, one.headers["Content-Type"]) for one in (answer, again))
    assert isinstance(envelope.message, SubmitRsp)
    assert isinstance(second.message, SubmitRsp)
    assert envelope.message.status.status_code == 1000
    assert envelope.message.message_id != second.message.message_id
    sent = answer.request.body
    assert isinstance(sent, bytes)
    assert envelope.transaction_id is not None
    assert envelope.transaction_id.encode() in sent
    assert sink.stats() == {
        "requests": 2,
        "duplicates": 0,
        "without_transaction_id": 0,
        "connections": 1,
        "per_connection": [2],
        "peak_in_flight": 1,
    }


def test_the_sink_tells_what_came_twice_and_what_had_no_name(sink: SinkProcess) -> None:
    body = message.soap(1).encode()
    for data in (body, body, b"no name"):
        requests.post(sink.url, data=data, timeout=10)

    found = sink.stats(arrivals=True)
    assert (found["requests"], found["duplicates"], found["without_transaction_id"]) == (3, 1, 1)
    assert found["per_connection"] == [1, 1, 1]
    assert found["arrivals"] == sorted(found["arrivals"])

    sink.reset(latency_ms=0)
    assert sink.stats()["requests"] == 0


def test_a_slow_answer_holds_up_no_other_connection(tmp_path: Path) -> None:
    with Bench(rounds=1, folder=tmp_path) as bench:
        many = Contender(name="many", way="urllib3", connections=8, image_bytes=1000, messages=16)
        series = bench.arena().compete([many], latency_ms=500, seconds=0, rounds=1)["many"]

    (result,) = series.results
    # Two turns of eight at once.
    assert result.elapsed_s >= 1
    assert result.counts["peak_in_flight"] == 8


@pytest.mark.parametrize("ledger", ["sqlite", "none"])
def test_ours_sends_with_either_ledger_and_is_measured(tmp_path: Path, ledger: str) -> None:
    with Bench(rounds=2, folder=tmp_path) as bench:
        ours = Contender(name="ours", way="mm7", connections=2, image_bytes=1000, messages=6, ledger=ledger)
        naive = Contender(name="naive", way="naive", image_bytes=1000, messages=3)
        series = bench.arena().compete([ours, naive], latency_ms=0, seconds=0, rounds=2)

    assert [result.messages for result in series["ours"].results] == [6, 6]
    assert all(result.cpu_us > 0 and result.rss_peak_bytes > 1e6 for result in series["ours"].results)
    first, second = series["ours"].times(series["naive"])
    assert first == series["ours"].results[0].rate / series["naive"].results[0].rate
    assert second == series["ours"].results[1].rate / series["naive"].results[1].rate


def test_it_tells_where_the_cpu_goes(tmp_path: Path) -> None:
    with Bench(folder=tmp_path) as bench:
        ours = Contender(name="ours", way="mm7", image_bytes=1000, messages=10, ledger="sqlite", steps=True)
        (result,) = bench.arena().compete([ours], latency_ms=0, seconds=0, rounds=1)["ours"].results

    calls = {step: calls for step, _, calls in result.steps}
    assert calls["payload"] == calls["client"] == 1
    assert sum(took_us for _, took_us, _ in result.steps) == pytest.approx(result.cpu_us)


def test_a_contender_that_sends_less_than_it_says_is_found_out(tmp_path: Path) -> None:
    with Bench(folder=tmp_path) as bench:
        arena = bench.arena()
        # The way to somewhere else.
        with SinkProcess() as elsewhere:
            run = Run(way="urllib3", url=elsewhere.url, image_bytes=1000)
            with pytest.raises(Unfair):
                arena.once(Contender(name="stray", way="urllib3"), run, 0)


def test_a_run_prints_tables_and_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def tiny(bench: Bench) -> Outcome:
        growth = Figure(key="memory/growth", title="how much more", unit="MB", values=(3.0, 4.0, 11.0))
        return Outcome(figures=(growth,), raw={"rounds": bench.rounds})

    def broken(_bench: Bench) -> Outcome:
        raise Unfair("nothing arrived")

    suites = [Suite(name=name, title=f"about {name}", run=run) for name, run in (("bad", broken), ("tiny", tiny))]
    with Bench(rounds=3, folder=tmp_path) as bench:
        status = run_suites(bench, suites)

    said = capsys.readouterr().out
    assert status == 1
    assert "about bad: FAILED" in said
    assert "nothing arrived" in said
    (line,) = (line for line in said.splitlines() if line.startswith("how much more"))
    assert line.split() == ["how", "much", "more", "4", "MB", "3", "to", "11", "<=", "10", "met"]
    found = json.loads((tmp_path / "tiny.json").read_text())
    assert found["machine"]["cores"] >= 1
    assert found["raw"] == {"rounds": 3}
    assert found["figures"] == [
        {
            "key": "memory/growth", "title": "how much more", "unit": "MB", "median": 4.0, "values": [3.0, 4.0, 11.0],
            "target": "<= 10", "met": True,
        }
    ]  # fmt: skip
    assert not (tmp_path / "bad.json").exists()


def test_the_command_line_compares_by_hand(tmp_path: Path) -> None:
    arguments = ["--ways", "naive,urllib3", "--image", "1", "--latency", "0", "--connections", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "sending", *arguments, "--rounds", "1", "--seconds", "0.05",
         "--folder", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    _, naive, urllib3 = (line.split() for line in done.stdout.splitlines())
    assert (naive[0], float(naive[2]), urllib3[0]) == ("naive", 1, "urllib3")


def test_a_figure_is_the_median_and_is_held_against_its_target() -> None:
    figure = Figure(key="sequential/100/naive", title="", unit="x", values=(9.0, 5.0, 6.0))
    assert figure.value == 6
    assert figure.verdict == ("met" if TARGETS[figure.key].met(6) else "not met")
    assert (at_least(6).met(6), at_least(6).met(5.9), at_most(6).met(6), at_most(6).met(6.1)) == (
        True, False, True, False,
    )  # fmt: skip
    assert Figure(key="none", title="", unit="", values=(1.0,)).verdict == ""


@pytest.mark.parametrize("way", ["parse", "each", "group"])
def test_what_a_receiver_acknowledges_it_has_stored(way: str, tmp_path: Path) -> None:
    ledger = SQLiteLedgers(tmp_path / "ledgers").ledger
    contender = receiving.Contender(name=way, way=way, ledger=ledger)
    taken = receiving.one_round(contender, tmp_path / "receiver", 0.2)
    assert taken.answers.acknowledged > 0
    assert taken.answers.others == 0
    assert 0 < taken.answers.p50_ms <= taken.answers.p99_ms <= taken.answers.most_ms
    assert not list((tmp_path / "ledgers").glob("1.db*"))


def test_a_slow_disk_is_slow(tmp_path: Path) -> None:
    try:
        env = slow_disk.environment(tmp_path)
    except slow_disk.NoSlowDisk as exc:
        pytest.skip(str(exc))
    assert slow_disk.fsync_us(tmp_path, env) >= slow_disk.FSYNC_US
