"""Messages that were sent, in a real browser: as a handset shows them, and as still as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_mm7.sending.record import content_of
from airflow_provider_mm7.store import Batch, Options, Store
from tests.browser.test_pages import CONTRAST, SATURN, SMIL, expect_stillness
from tests.pages.test_app import HOSTILE, HTML, SVG
from tests.pages.test_sent import keep, part, plan
from tests.support.page_server import PageServer, User, pages_of

PARTS = (
    part("p.smil", "application/smil", SMIL),
    part("words.txt", "text/plain; charset=utf-8", HOSTILE.encode()),
    part("saturn.gif", "image/gif", SATURN.read_bytes()),
    part("s.svg", "image/svg+xml", SVG),
    part(f"{HOSTILE}.html", "text/html", HTML),
    part("lies.gif", "image/gif", HTML),
)
OPTIONS: Options = {"sender_address": HOSTILE, "service_code": HOSTILE, "priority": "High", "expiry": "P2D"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("sent")
    store = Store(f"sqlite:///{home}/mm7.db")
    store.upgrade()
    keep(store, plan(store, [content_of(HOSTILE, OPTIONS, PARTS)]), home, PARTS[2:])
    yield store
    store.close()


@pytest.fixture(scope="module")
def batch(store: Store) -> Batch:
    (batch,) = store.list_batches()
    return batch


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with PageServer(pages_of(store, User())) as server:
        yield server.url


@pytest.fixture(params=["message", "batch"])
def path(request: pytest.FixtureRequest, store: Store, batch: Batch) -> str:
    """The pages that show a content."""
    (item,) = store.submissions(batch.batch_id)
    whole = f"batches/{batch.batch_id}"
    return f"{whole}/messages/{item.id}" if request.param == "message" else whole


def test_it_is_shown_as_a_handset_shows_it_and_stays_still(url: str, path: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/batches")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/{path}")
    expect(page.locator("dd", has_text="2 days after it is sent")).to_be_visible()
    expect(page.locator("img.thumb").first).to_have_js_property("naturalWidth", 640)
    expect_stillness(page, url, asked)


def test_an_image_that_is_a_page_runs_nothing_by_itself(url: str, batch: Batch, open_page: Callable[..., Page]) -> None:
    # Chromium shows an image alone in a page of its own making, whose style our policy forbids it too.
    page = open_page(f"{url}/batches/{batch.batch_id}/contents/1/parts/5", may_complain=True)
    assert page.locator("script").count() == 0
    assert page.evaluate("window.origin") == "null"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_cut_off(url: str, path: str, open_page: Callable[..., Page], scheme: Any, width: int) -> None:
    page = open_page(f"{url}/{path}", width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CONTRAST) >= 4.5
