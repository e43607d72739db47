"""Code samples of README and docs: Python is run, commands are read by the real parsers, requests go to a sandbox."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.cli.cli_config import ActionCommand, GroupCommand
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf
from airflow.sdk import DAG, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.cli.definition import get_mm7_cli_commands
from airflow_provider_mm7.hooks.delivery import Criteria, Question, WaitFor, judge, read_store
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.hooks.reply import ReplyContent
from airflow_provider_mm7.notifications.mm7 import MMSNotifier
from airflow_provider_mm7.operators.mm7 import PlanRecipientsOperator, SendMMSBatchOperator, SendMMSOperator
from airflow_provider_mm7.provider_info import PROVIDER_INFO
from airflow_provider_mm7.receiver import settings as receiver_settings
from airflow_provider_mm7.sensors.mm7 import DeliveryReportSensor, InboundMMSSensor
from airflow_provider_mm7.store import Store
from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.store import make
from tests.support.empty_ledgers import empty_ledger
from tests.support.mmsc import mmsc
from tests.support.sandbox import RunningSandbox
from tests.support.scripted import Exchange, scripted
from tests.support.sending import numbers, run

_OPTIONS = {option for section in PROVIDER_INFO["config"].values() for option in section["options"]}
_FIELDS = PROVIDER_INFO["connection-types"][0]["conn-fields"]


def sample_id(block: Block) -> str:
    return str(block)


# --- Python -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of a sample alone."""
    url = empty_ledger(tmp_path / "sample.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return url


@pytest.fixture
def centre(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What samples call ``mm7_default``: an MMSC that takes every message back."""

    def cancelled(peer: Exchange) -> None:
        request = peer.read()
        transaction_id = protocol.load(request.body, request.header("Content-Type")).transaction_id
        answer = protocol.CancelRsp(status=protocol.Status(status_code=1000))
        peer.answer("200 OK", protocol.dump(answer, transaction_id=transaction_id).body)

    with scripted(cancelled) as server:
        monkeypatch.setenv("AIRFLOW_CONN_MM7_DEFAULT", json.dumps({"conn_type": "mm7", "host": server.url}))
        yield


def surroundings() -> dict[str, Any]:
    """What stands around the samples, and in the head of the file of whoever copies one."""

    @task
    def people() -> list[str]:
        return ["+64211234567"]

    delivery = (ROOT / "tests" / "protocol" / "vendor" / "delivery_report_req.xml").read_bytes()
    return {
        "DAG": DAG,
        "AsyncCallback": AsyncCallback,
        "DeadlineAlert": DeadlineAlert,
        "DeadlineReference": DeadlineReference,
        "MM7Hook": MM7Hook,
        "MMSNotifier": MMSNotifier,
        "SendMMSOperator": SendMMSOperator,
        "SendMMSBatchOperator": SendMMSBatchOperator,
        "PlanRecipientsOperator": PlanRecipientsOperator,
        "DeliveryReportSensor": DeliveryReportSensor,
        "InboundMMSSensor": InboundMMSSensor,
        "timedelta": timedelta,
        "customers": people,
        "numbers": ["+64211234567"],
        "draw": lambda rows: b"",
        "body": delivery,
        "content_type": "text/xml",
    }


def needs_objects(block: Block) -> bool:
    """Whether a sample reads from a bucket and sends on the spot; only its parameters are looked at then."""
    return ".reply(" in block.text


@pytest.mark.parametrize("block", [one for one in blocks("python") if not needs_objects(one)], ids=sample_id)
@pytest.mark.usefixtures("store_url", "centre")
def test_python_runs(block: Block) -> None:
    code = compile(block.text, str(block), "exec")
    names = surroundings()
    with DAG("sample", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        if "send.output" in block.text and "send =" not in block.text:
            names["send"] = SendMMSOperator(task_id="send", to="+64211234567", text="hello")
        exec(code, names)
    # An operator made is a task of the DAG, or the sample makes a DAG of its own.
    assert dag.tasks or "DAG(" in block.text or "Operator" not in block.text


@pytest.mark.parametrize("block", [one for one in blocks("python") if needs_objects(one)], ids=sample_id)
def test_parameters_of_what_is_not_run(block: Block) -> None:
    (call,) = (
        node
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reply"
    )
    known = set(inspect.signature(MM7Hook.reply).parameters) | set(ReplyContent.__annotations__)
    assert {keyword.arg for keyword in call.keywords} <= known


def test_samples_of_python_are_found() -> None:
    assert len(blocks("python")) >= 16


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(pattern: str) -> list[tuple[str, str]]:
    """Return the commands of all console blocks that begin so: where, and the whole line."""
    found = []
    for block in blocks("console"):
        joined = re.sub(r"\\\n\s*", " ", block.text)
        for line in joined.splitlines():
            match = re.match(r"\$ (.*)", line)
            if match and re.match(pattern, match[1]):
                found.append((str(block), match[1]))
    return found


def words(command: str) -> list[str]:
    """Split a command as a shell does, up to a redirection or a comment."""
    split = shlex.split(command, comments=True)
    ends = [place for place, word in enumerate(split) if word in (">", "|", "&&")]
    return split[: ends[0]] if ends else split


AIRFLOW = commands("airflow ")


@pytest.mark.parametrize(("place", "command"), AIRFLOW, ids=[f"{place} {command}" for place, command in AIRFLOW])
def test_airflows_parser_takes_the_command(place: str, command: str) -> None:
    parser: ArgumentParser = get_parser()
    assert callable(parser.parse_args(words(command)[1:]).func)


def test_commands_are_found() -> None:
    assert len(AIRFLOW) > 25


@pytest.mark.parametrize(("place", "command"), commands("make "))
def test_targets_and_variables_of_make_are_there(place: str, command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    _, target, *variables = words(command)
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert [name for name in (one.partition("=")[0] for one in variables) if f"$({name})" not in makefile] == []


@pytest.mark.parametrize(("place", "command"), commands("python -m "))
def test_modules_are_there(place: str, command: str) -> None:
    assert find_spec(words(command)[2]) is not None


@pytest.mark.parametrize(("place", "command"), commands("pip install "))
def test_the_package_and_its_extras_are_there(place: str, command: str) -> None:
    name, _, extra = words(command)[-1].rstrip("]").partition("[")
    assert name == "airflow-provider-mm7"
    assert not extra or extra in (metadata.metadata(name).get_all("Provides-Extra") or [])


@pytest.mark.parametrize(("place", "command"), commands("export "))
def test_variables_are_read_by_somebody(place: str, command: str) -> None:
    for assignment in words(command)[1:]:
        name = assignment.partition("=")[0]
        section, _, option = name.removeprefix("AIRFLOW__").lower().partition("__")
        known = (
            (section == "mm7" and option in _OPTIONS)
            or (name.startswith("MM7_") and f"``{name}``" in str(receiver_settings.__doc__))
            or name in ("FORWARDED_ALLOW_IPS", "AIRFLOW_CONN_MM7_DEFAULT")
        )
        assert known, name


CURL = commands("curl .*/_sandbox/")


@pytest.mark.parametrize(("place", "command"), CURL)
def test_the_sandbox_takes_the_request(place: str, command: str, make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(callback_url="http://127.0.0.1:9/mm7/callback")
    split = iter(words(command)[1:])
    headers, data, url = {"Content-Type": "application/x-www-form-urlencoded"}, "", ""
    for word in split:
        if word == "-H":
            name, _, value = next(split).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = next(split)
        else:
            url = word
    path = re.sub(r"^http://127\.0\.0\.1:8077", "", url)
    answer = requests.post(sandbox.base_url + path, data=data.encode(), headers=headers, timeout=20)
    assert answer.ok, answer.text


def test_requests_to_the_sandbox_are_found() -> None:
    assert len(CURL) >= 2


def _action(path: list[str]) -> ActionCommand | GroupCommand | None:
    found: Any = get_mm7_cli_commands()[0]
    for name in path:
        found = next((one for one in getattr(found, "subcommands", ()) if one.name == name), None)
    return found  # type: ignore[no-any-return]


def test_commands_within_sentences_are_there() -> None:
    """``airflow mm7 db prune`` and the like, with the options they are named with; brackets and dots are the text's."""
    wrong = []
    for page in PAGES:
        text = re.sub(r"\s+", " ", page.read_text())
        for literal in re.findall(r"`{1,2}airflow mm7 ([a-z][^`|]*)`", text):
            split = literal.split()
            path = [word for word in split[:2] if re.fullmatch(r"[a-z-]+", word)]
            command = _action(path) or _action(path[:1])
            flags = {flag for arg in getattr(command, "args", ()) for flag in arg.flags}
            if command is None or not {word for word in split if word.startswith("-")} <= flags:
                wrong.append(f"{page.name}: airflow mm7 {literal}")
    assert wrong == []


# --- options, fields and JSON -----------------------------------------------------------------------------------------


def test_options_are_there() -> None:
    known = {
        (section, option)
        for section, described in conf.configuration_description.items()
        for option in described["options"]
    }
    known |= {("mm7", option) for option in _OPTIONS}
    # What comes with providers that are not installed here.
    known.add(("celery", "worker_concurrency"))
    named = {
        (page.name, *match)
        for page in PAGES
        for match in re.findall(r"``?\[([a-z0-9_]+)\]\s+([a-z_]+)", page.read_text())
    }
    assert len(named) > 10
    assert sorted(one for one in named if one[1:] not in known) == []


def test_the_readme_lists_every_field_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(_FIELDS)


def json_block(words: str) -> Any:
    (text,) = (block.text for block in blocks("json") if words in block.text)
    return json.loads(text)


#: Values that come back, which tests below hold against real ones.
RETURNED = ('"transaction_id"', '"by_status"', '"by_read_status"', '"sha256"')


def test_fields_in_json_are_there() -> None:
    fields = [block for block in blocks("json") if not any(key in block.text for key in RETURNED)]
    assert len(fields) >= 3
    assert [(str(block), name) for block in fields for name in json.loads(block.text) if name not in _FIELDS] == []


def test_fields_on_command_lines_are_there() -> None:
    for _, command in commands("airflow connections add"):
        split = words(command)
        extra = json.loads(split[split.index("--conn-extra") + 1])
        assert [name for name in extra if name not in _FIELDS] == []


def test_what_sending_returns(store_url: str) -> None:
    sample = json_block('"transaction_id"')
    store = Store(store_url)
    with mmsc() as centre:
        result = run(store, centre.url, numbers(2)).as_xcom(messages=True)
    store.close()
    assert list(sample) == list(result)
    assert list(sample["messages"][0]) == list(result["messages"][0])


def test_what_sensors_return(store_url: str) -> None:
    store = Store(store_url)
    batch, _ = make.accepted(store, 3)
    store.close()
    verdicts = {}
    for wait_for in WaitFor:
        question = Question(batch_id=batch.batch_id)
        summary = read_store(store_url, [question])[question]
        verdict = judge(question, summary, Criteria(wait_for=wait_for), now=datetime.now(UTC))
        verdicts[wait_for] = list(verdict.result or ())
    delivered, read = list(json_block('"by_status"')), list(json_block('"by_read_status"'))
    assert verdicts[WaitFor.DELIVERED] == delivered
    assert sorted(verdicts[WaitFor.READ]) == sorted([*delivered, *read])


def test_a_message_from_a_handset_in_json() -> None:
    sample = json_block('"sha256"')
    assert InboundMMS.from_json(sample).as_json() == sample


# --- links ------------------------------------------------------------------------------------------------------------

_MARKDOWN_LINK = re.compile(r"\]\(([^)\s]+)\)")
_RST_LINK = re.compile(r"<([^<>\s]+)>`__?")
_HTTPS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w.~!$&'()*+,;=:@%/-]*)?(\?[\w=&%.-]*)?(#[\w.%-]*)?")


def test_links_lead_somewhere() -> None:
    """Links to other sites are well-formed, and nothing else is asked of them; Sphinx checks those between pages."""
    wrong, seen = [], 0
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        pattern = _MARKDOWN_LINK if page.suffix == ".md" else _RST_LINK
        for target in pattern.findall(page.read_text()):
            seen += 1
            if page.suffix == ".md" and "://" not in target:
                good = (ROOT / os.path.dirname(page.relative_to(ROOT)) / target.partition("#")[0]).exists()
            else:
                good = _HTTPS.fullmatch(target) is not None
            if not good:
                wrong.append(f"{page.name}: {target}")
    assert wrong == []
    assert seen > 8
