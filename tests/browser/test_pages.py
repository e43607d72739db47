"""The pages in a real browser: the ways through them, how they look, and hostile messages that stay still."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from airflow_provider_mm7.store import NewInbound, Store
from tests.pages.test_app import HOSTILE, HTML, SVG
from tests.support.page_server import PageServer, User, keep, pages_of
from tests.support.seeding import seed

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SATURN = ROOT / "example_dags" / "media" / "saturn.gif"

#: Messages of each of two batches: pages of 100 go on.
EACH = 500

SMIL = b"""<smil><body>
<par dur="8s"><img src="cid:saturn.gif"/><text src="words.txt"/></par>
<par><text src="javascript:alert(1)"/><img src="http://evil.test/x.gif" onload="alert(1)"/><ref src="s.svg"/></par>
</body></smil>"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("pages")
    store = Store(f"sqlite:///{home}/mm7.db")
    store.upgrade()
    seed(store, batches=2, each=EACH, newest=datetime.now(UTC) - timedelta(minutes=30))
    parts = [
        ("saturn.gif", "image/gif", SATURN.read_bytes()),
        ("words.txt", "text/plain; charset=utf-8", HOSTILE.encode()),
        ("s.svg", "image/svg+xml", SVG),
        (f"{HOSTILE}.html", "text/html", HTML),
        ("lies.gif", "image/gif", HTML),
        ("p.smil", "application/smil", SMIL),
    ]
    store.add_inbound(
        [
            NewInbound(conn_id="mm7_default", digest="d", transaction_id="t", sender="+64215550123",
                       recipients=("5555",), subject=HOSTILE, linked_id=HOSTILE, date=None, text=HOSTILE,
                       parts=keep(home, parts)),
        ]
    )  # fmt: skip
    yield store
    store.close()


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with PageServer(pages_of(store, User())) as server:
        yield server.url


def test_from_the_overview_to_a_message_and_back(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/")
    expect(page.locator(".tile", has_text="messages")).to_contain_text("1,000")
    page.get_by_role("link", name="campaign_1 · send").click()
    expect(page.get_by_role("heading", name="send")).to_be_visible()
    page.get_by_role("link", name="Failed 25").click()
    rows = page.locator("#messages tbody tr")
    expect(rows).to_have_count(25)
    for text in rows.locator(".pill").all_inner_texts():
        assert text in ("Expired", "Rejected")
    rows.first.get_by_role("link").click()
    expect(page.get_by_text("Accepted by the MMSC")).to_be_visible()
    page.get_by_role("link", name="send", exact=True).first.click()
    expect(page.locator("#messages tbody tr")).to_have_count(100)


def test_pages_and_the_search_for_a_number(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/batches")
    page.get_by_role("link", name="campaign_0 · send").click()
    first = page.locator("#messages tbody tr").first
    expect(first).to_contain_text("+64211000000")
    page.get_by_role("link", name="Next").click()
    expect(first).to_contain_text("+64211000100")
    page.get_by_role("link", name="Next").click()
    expect(first).to_contain_text("+64211000200")
    page.get_by_role("link", name="Previous").click()
    expect(first).to_contain_text("+64211000100")
    page.get_by_label("Number of a recipient").fill("64211000321")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#messages tbody tr")).to_have_count(1)
    expect(first).to_contain_text("+64211000321")
    page.get_by_label("Find a MessageID or a batch").fill("m-b0000000000000000000000007")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Message to .*64211000007"))).to_be_visible()


def test_causes_and_tiles_lead_to_their_messages(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/batches")
    page.get_by_role("link", name="campaign_0 · send").click()
    page.get_by_role("link", name="Refused: 3002 message rejected").click()
    expect(page.locator("#messages tbody tr")).to_have_count(5)
    page.locator("a.tile", has_text="refused").click()
    expect(page.locator("#messages tbody tr")).to_have_count(15)


def test_the_keyboard_is_enough(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Batches", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Batches")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_cut_off(store: Store, url: str, open_page: Callable[..., Page], scheme: str, width: int) -> None:
    batch_id = store.list_batches()[0].batch_id
    (first,) = store.submissions(batch_id, limit=1)
    page = open_page(f"{url}/", width=width, color_scheme=scheme)
    for path in (
        "",
        "batches",
        f"batches/{batch_id}",
        f"batches/{batch_id}/messages/{first.id}",
        "inbound",
        "inbound/1",
    ):
        page.goto(f"{url}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert page.evaluate(CONTRAST) >= 4.5, path


#: Contrast of the text with what is behind it (WCAG 1.4.3): the least of all elements with text of their own.
CONTRAST = """() => {
  const shade = (color) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) { layers.push(shade(getComputedStyle(one).backgroundColor)); }
    return layers.reverse().reduce((under, [r, g, b, a]) =>
      [r, g, b].map((c, i) => c * a / 255 + under[i] * (1 - a / 255)), [255, 255, 255]);
  };
  let least = 21;
  for (const element of document.querySelectorAll("main *, header *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("svg, .off") || !element.checkVisibility()) { continue; }
    const [a, b] = [light(shade(getComputedStyle(element).color)), light(behind(element))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
}"""


def test_a_hostile_message_stays_still(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/inbound")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator("tbody a").first.click()
    expect_stillness(page, url, asked)


def expect_stillness(page: Page, url: str, asked: Sequence[str]) -> None:
    """Look at a page that shows a message of hostile parts: all is there, and nothing of it runs.

    :param asked: addresses of all requests that it made.
    """
    slides = page.locator(".slide")
    # What the SMIL shows; then what it does not name.
    expect(slides).to_have_count(3)
    expect(slides.first.locator("img")).to_have_js_property("naturalWidth", 640)
    expect(slides.first.get_by_text(HOSTILE)).to_be_visible()
    expect(page.get_by_role("heading", name=HOSTILE).first).to_be_visible()
    # One script, which is ours; nothing of the message became an element, and nothing was asked of anybody else.
    assert page.locator("script").count() == 1
    assert page.locator("[onload], [onerror], svg script, main img[src^='http']").count() == 0
    assert [one for one in asked if not one.startswith(url)] == []
    with page.expect_download() as download:
        slides.get_by_role("link", name="s.svg").click()
    assert download.value.path().read_bytes() == SVG


@pytest.mark.parametrize("index", range(6))
def test_parts_of_a_hostile_message_run_nothing_by_themselves(
    store: Store, url: str, open_page: Callable[..., Page], index: int
) -> None:
    # Chromium shows an image alone in a page of its own making, whose style our policy forbids it too.
    page = open_page(f"{url}/inbound", may_complain=True)
    (found,) = store.inbound()
    part = found.message.parts[index]
    answer = page.request.get(f"{url}/inbound/1/parts/{index}")
    if "content-disposition" in answer.headers:
        return
    # An image that is a page: shown as an image, it is a broken one.
    page.goto(f"{url}/inbound/1/parts/{index}")
    assert part.content_type == "image/gif"
    assert page.locator("script").count() == 0
    assert page.evaluate("window.origin") == "null"


def test_without_our_script_all_is_there(url: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{url}/", java_script_enabled=False)
    page.get_by_role("link", name="campaign_1 · send").click()
    page.get_by_role("link", name="Failed 25").click()
    expect(page.locator("#messages tbody tr")).to_have_count(25)
