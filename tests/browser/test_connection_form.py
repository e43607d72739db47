"""The connection form in Airflow's own UI: every field, its help, its default; secrets; and the Test button."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow import __version__ as airflow_version
from packaging.version import Version
from playwright.sync_api import Locator, Page, expect

from airflow_provider_mm7.provider_info import CONN_FIELDS
from tests.support.api_server import ApiServer
from tests.support.sandbox import RunningSandbox

pytestmark = pytest.mark.e2e

#: Milliseconds for a page of Airflow's own on two busy cores.
expect.set_options(timeout=60_000)

PASSWORD, HEADER, CALLBACK = "marker-pass-81", "marker-head-82", "marker-call-83"
MARKERS = (PASSWORD, HEADER, CALLBACK)
HIDES_WHAT_IS_TYPED = Version(airflow_version) >= Version("3.3")


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def mmsc(make_sandbox: Callable[..., RunningSandbox]) -> RunningSandbox:
    return make_sandbox(login="vasp", password=PASSWORD)


def begin(page: Page, conn_id: str) -> Locator:
    """Open the form of a new connection of our type."""
    page.get_by_role("button", name="Add Connection").first.click()
    form = page.get_by_role("dialog")
    kind = form.get_by_role("combobox", name="Connection Type")
    kind.fill("MM7")
    kind.press("Enter")
    form.get_by_label("Connection ID").fill(conn_id)
    return form


def fill(form: Locator, mmsc: RunningSandbox, password: str) -> None:
    """The standard fields."""
    form.get_by_label("MMSC URL").fill(mmsc.url)
    form.get_by_label("Login").fill("vasp")
    form.get_by_label("Password", exact=True).fill(password)
    # Airflow 3.3.2 tests no stored connection without a port (apache/airflow 73298).
    form.get_by_label("Port").fill(str(urlsplit(mmsc.url).port))


def field(form: Locator, label: str) -> Locator:
    """One of our own fields: label, control and help."""
    return form.get_by_role("group").filter(has=form.page.get_by_text(label, exact=True)).last


def save(page: Page, form: Locator) -> None:
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()


def press_test(page: Page, conn_id: str) -> Locator:
    """Press Test beside a connection; what Airflow says then."""
    row = page.get_by_role("row").filter(has_text=conn_id)
    row.get_by_role("button", name="Test Connection").click()
    return page.get_by_role("status").filter(has_text="Test Connection")


def test_every_field_has_a_label_a_help_and_a_default(api_server: ApiServer, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{api_server.url}/connections")
    form = begin(page, "shown")
    expect(form.get_by_label("MMSC URL")).to_have_attribute("placeholder", "https://mmsc.example.com/mm7")
    expect(form.get_by_label("Schema")).to_have_count(0)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for name, definition in CONN_FIELDS.items():
        shown, schema = field(form, definition["label"]), definition["schema"]
        expect(shown).to_contain_text(definition["description"])
        default: Any = schema.get("default")
        if "enum" in schema:
            expect(shown).to_contain_text(str(default))
            shown.get_by_role("combobox").click()
            options = form.page.get_by_role("option").all_inner_texts()
            assert set(schema["enum"]) <= set(options), name
            form.page.get_by_role("option", name=str(default)).click()
        elif "boolean" in schema["type"]:
            expect(shown.get_by_role("checkbox")).to_be_checked(checked=bool(default))
        elif "integer" in schema["type"] or "number" in schema["type"]:
            expect(shown.get_by_role("spinbutton")).to_have_value("" if default is None else str(default))
        else:
            box = shown.get_by_role("textbox")
            expect(box).to_have_value("" if default is None else str(default))
            # Airflow 3.2's form shows what is typed; what is stored it hides.
            secret = "password" if schema.get("format") == "password" and HIDES_WHAT_IS_TYPED else "text"
            assert (box.get_attribute("type") or "text") == secret, name


def test_the_test_button_tells_success_and_wrong_credentials_apart(
    api_server: ApiServer, mmsc: RunningSandbox, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{api_server.url}/connections")
    for conn_id, password in (("works", PASSWORD), ("denied", "wrong-one-9")):
        form = begin(page, conn_id)
        fill(form, mmsc, password)
        save(page, form)
    expect(press_test(page, "works")).to_contain_text("reached, not refused (HTTP 405 to a GET)")
    expect(press_test(page, "denied").filter(has_text="401")).to_contain_text("credentials or IP allow list")
    assert mmsc.health()["unauthorized"] == 1
    assert mmsc.messages() == []


def test_secrets_go_in_and_never_come_out(
    api_server: ApiServer, mmsc: RunningSandbox, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{api_server.url}/connections")
    form = begin(page, "secretive")
    fill(form, mmsc, PASSWORD)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for label, value in (
        ("HTTP headers", json.dumps({"X-Gate": HEADER})),
        ("Callback login", "cb"),
        ("Callback password", CALLBACK),
    ):
        field(form, label).get_by_role("textbox").fill(value)
    save(page, form)
    answers: list[str] = []
    page.on("response", lambda answer: answers.append(answer.text()) if "/api/v2/" in answer.url else None)
    page.reload()
    expect(press_test(page, "secretive")).to_contain_text("reached, not refused")

    # Changing another field keeps what is hidden.
    row = page.get_by_role("row").filter(has_text="secretive")
    row.get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    field(form, "VASP ID").get_by_role("textbox").fill("TNN")
    save(page, form)
    expect(press_test(page, "secretive")).to_contain_text("reached, not refused")

    shown = json.dumps(api_server.api("GET", "connections/secretive"))
    logs = "".join(path.read_text(errors="replace") for path in (api_server.home / "process-logs").glob("*.log"))
    audit = json.dumps(api_server.api("GET", "eventLogs"))
    for text in (shown, logs, audit, page.content(), *answers):
        assert [marker for marker in MARKERS if marker in text] == []
    assert '\\"vaspid\\": \\"TNN\\"' in shown
    told = api_server.cli("connections", "export", "-", "--file-format", "json")
    # Behind what Airflow 3.2 logs to the same place.
    exported = json.loads(told[re.search(r"^\{", told, re.MULTILINE).start() :])["secretive"]  # type: ignore[union-attr]
    extra = json.loads(exported["extra"])
    assert json.loads(extra["headers"]) == {"X-Gate": HEADER}
    assert (exported["password"], extra["callback_password"]) == (PASSWORD, CALLBACK)
    with sqlite3.connect(api_server.home / "airflow.db") as database:
        stored = database.execute("select password, extra from connection where conn_id = 'secretive'").fetchone()
    assert not [marker for marker in MARKERS if marker in repr(stored)]
