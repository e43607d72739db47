"""The page where its users see it: in a real Airflow, behind its login, with what a real DAG run sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect

from airflow_provider_mm7.store import open_store
from tests.receiver import callbacks
from tests.support.stage import Stage

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
RECIPIENTS = ("+12025550101", "+12025550102", "+12025550103", "+12025550104", "+15005555002")
DAG_ID = "mms_campaign"

#: Seconds for a page of Airflow's own on two busy cores.
SLOW_S = 60

#: A token as Airflow's login gives it to a user with a role.
TOKEN = """
import sys
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
role = sys.argv[1] or None
manager = create_auth_manager()
manager.init()
print("TOKEN", manager.generate_jwt(SimpleAuthManagerUser(username="somebody", role=role)))
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("page"), ROOT / "example_dags") as running:
        yield running


@pytest.fixture(scope="module")
def run_id(stage: Stage) -> str:
    """A run of the campaign, its reports received."""
    files = {
        "c/recipients.txt": "\n".join(RECIPIENTS).encode(),
        "c/text.txt": b"New pictures of Saturn.",
        "c/saturn.gif": (ROOT / "example_dags" / "media" / "saturn.gif").read_bytes(),
    }
    stage.s3.upload("news", files)
    stage.airflow.wait_parsed(DAG_ID)
    run_id = stage.airflow.trigger(DAG_ID, {"bucket": "news", "folder": "c"})
    stage.airflow.wait_run(DAG_ID, run_id, 240)
    return run_id


@pytest.fixture(scope="module")
def batch_id(stage: Stage, run_id: str) -> str:
    return str(stage.airflow.xcom(DAG_ID, run_id, "send")["batch_id"])


def token(stage: Stage, role: str) -> str:
    made = subprocess.run(
        [sys.executable, "-c", TOKEN, role],
        env=stage.airflow.env,
        cwd=stage.airflow.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return next(line.split()[1] for line in made.stdout.splitlines() if line.startswith("TOKEN"))


def get(stage: Stage, path: str, bearer: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {bearer}"}
    return requests.get(f"{stage.airflow.url}/mm7/ui/{path}", headers=headers, timeout=SLOW_S, allow_redirects=False)


def test_permissions_of_airflow_are_those_of_the_page(stage: Stage, batch_id: str) -> None:
    body, content_type = callbacks.deliver()
    requests.post(
        stage.callback_url,
        data=body,
        headers=callbacks.headers(content_type, login=stage.callback_login, password=stage.callback_password),
        timeout=SLOW_S,
    ).raise_for_status()
    nobody, viewer, operator = (token(stage, role) for role in ("", "viewer", "op"))
    for path in ("", "batches", f"batches/{batch_id}", "inbound", "inbound/1/parts/2"):
        assert get(stage, path, nobody).status_code == 403
        assert get(stage, path, viewer).status_code == 200
    assert get(stage, "", "no.such.token").status_code in (401, 403)
    # Whoever may read XComs finds the numbers there.
    assert RECIPIENTS[0] in get(stage, f"batches/{batch_id}", viewer).text
    # What came in belongs to no DAG; its numbers are for those who may read the connection.
    for path in ("inbound", "inbound/1"):
        assert callbacks.RECIPIENT not in get(stage, path, viewer).text
        assert callbacks.TEXT in get(stage, path, viewer).text
        assert callbacks.RECIPIENT in get(stage, path, operator).text


def test_a_task_links_to_its_batch(stage: Stage, run_id: str, batch_id: str) -> None:
    for task_id in ("send", "arrived"):
        links = stage.airflow.api("GET", f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/links")
        assert links["extra_links"] == {"MMS": f"/mm7/ui/batches/{batch_id}"}


def test_the_way_from_airflow_to_a_message(
    stage: Stage, run_id: str, batch_id: str, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{stage.airflow.url}/", color_scheme="dark")
    page.set_default_timeout(SLOW_S * 1000)
    page.get_by_role("link", name="MMS").first.click()
    inside = page.frame_locator("iframe[title='MMS']")
    expect(inside.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    inside.get_by_role("link", name="mms_campaign").first.click()
    inside.get_by_role("link", name=RECIPIENTS[0]).click()
    expect(inside.get_by_text("Delivery report: Retrieved")).to_be_visible()
    # Airflow's own navigation stands around it; no second way there is shown.
    expect(inside.get_by_role("link", name="Airflow", exact=True)).to_be_hidden()
    # Out of the frame, to the run, in Airflow itself.
    inside.get_by_role("link", name=run_id).last.click()
    page.wait_for_url(f"**/dags/{DAG_ID}/runs/**")
    # The run's tab, which comes later than the entry of the same name in the navigation.
    page.locator("a[href$='/plugin/mms_dag_run']").click()
    page.wait_for_url("**/plugin/mms_dag_run")
    inside = page.frame_locator("iframe[title='MMS']")
    expect(inside.get_by_role("heading", name="send", exact=True)).to_be_visible()


def test_tabs(stage: Stage, run_id: str, open_page: Callable[..., Page]) -> None:
    dag = f"{stage.airflow.url}/dags/{DAG_ID}"
    for path, heading in (
        ("plugin/mms_dag", "Messages"),
        ("tasks/send/plugin/mms_task", "Messages"),
        (f"runs/{run_id}/tasks/send/plugin/mms_task_instance", "send"),
    ):
        page = open_page(f"{dag}/{path}")
        page.set_default_timeout(SLOW_S * 1000)
        inside = page.frame_locator("iframe[title='MMS']")
        expect(inside.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=SLOW_S * 1000)


def test_the_theme_is_airflows(stage: Stage, batch_id: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{stage.airflow.url}/mm7/ui/", color_scheme="light")
    shade = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade)
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    assert page.evaluate(shade) != light
    store = open_store(stage.ledger_url)
    assert store.find_batch(batch_id) is not None
    store.close()
