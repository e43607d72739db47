"""``make screenshots``: pictures for the documentation, taken by Chromium of the running product."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from airflow_provider_mm7.media import FolderSink, LocalFiles
from airflow_provider_mm7.protocol import Address, AddressKind, SenderIdentification
from airflow_provider_mm7.sending import Draft, Profile, prepare
from airflow_provider_mm7.sending.keeping import Keeper, keeping
from airflow_provider_mm7.sending.send import work_of
from airflow_provider_mm7.store import NewInbound, Origin, Store, open_store
from tests.store.make import claim, report, settled
from tests.support.airflow_env import AirflowDeployment
from tests.support.chromium import launched
from tests.support.page_server import keep
from tests.support.seeding import seed

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
#: Colours of a picture: flat surfaces need few, and a photograph on a page keeps its look.
COLOURS = 128
SMIL = b"<smil><body><par><img src='saturn.gif'/><text src='words.txt'/></par></body></smil>"
#: Milliseconds for a page of Airflow's own on a busy machine.
SLOW_MS = 90_000


def main() -> None:
    with tempfile.TemporaryDirectory() as home, airflow(Path(home)) as deployment, launched() as browser:
        url, store_url = deployment.url, f"sqlite:///{deployment.home}/mm7.db"
        empty(browser, url)
        fill(store_url, Path(home))
        overview(browser, url)
        batch(browser, url)
        handset(browser, url)
        million(browser, url, store_url)
        # What is seeded comes before any other batch.
        send_news(store_url, Path(home))
        message(browser, url)


@contextmanager
def airflow(home: Path) -> Iterator[AirflowDeployment]:
    """Airflow with an empty ledger."""
    with AirflowDeployment(home / "airflow", ROOT / "example_dags", triggerer=False) as deployment:
        open_store(f"sqlite:///{deployment.home}/mm7.db").close()
        yield deployment


def fill(store_url: str, home: Path) -> None:
    """Record 20,000 messages, and one from a handset."""
    store = open_store(store_url)
    now = datetime.now(UTC)
    # Campaigns that grow as the day goes.
    for first, ago in enumerate((19, 14, 9, 5, 2)):
        seed(store, batches=2, each=1000 + 500 * first, newest=now - timedelta(hours=ago), first=2 * first)
    parts = [
        ("saturn.gif", "image/gif", (ROOT / "example_dags" / "media" / "saturn.gif").read_bytes()),
        ("words.txt", "text/plain; charset=utf-8", b"What a picture! Saw it last night, too."),
        ("p.smil", "application/smil", SMIL),
    ]
    store.add_inbound(
        [NewInbound(conn_id="mm7_default", digest="d", transaction_id="tx-1", sender="+12025550101",
                    recipients=("5555",), subject="Re: Saturn", linked_id=None, date=now,
                    text="What a picture! Saw it last night, too.", parts=keep(home / "inbound", parts))]
    )  # fmt: skip
    store.close()


def send_news(store_url: str, home: Path) -> None:
    """One message to a few people, recorded and kept as a sending does it; its reports take their time."""
    now = datetime.now(UTC) - timedelta(minutes=12)
    store = Store(store_url, clock=lambda: now)
    draft = Draft(
        to=tuple(f"+120255501{n:02}" for n in range(1, 6)),
        subject="Saturn tonight",
        text=("The rings are wide open: look south-east after nine.",),
        media=(str(ROOT / "example_dags" / "media" / "saturn.gif"),),
        priority="High",
        expiry=timedelta(days=2),
    )
    sender = SenderIdentification(vasp_id="news", sender_address=Address(value="5555", kind=AddressKind.SHORT_CODE))
    prepared = prepare(draft, Profile(sender=sender), LocalFiles(), now=now)
    origin = Origin(dag_id="mms_campaign", run_id="manual__evening", task_id="send", map_index=-1)
    batch = store.open_batch("mms_campaign/manual__evening/send", conn_id="mm7_default", origin=origin)
    work, keeper = work_of(prepared), Keeper(FolderSink(home / "sent"))
    numbers = store.record_contents(batch.batch_id, work.contents)
    store.plan(batch.batch_id, work.submissions, contents=numbers)
    with keeping(keeper, store, batch.batch_id, work.media):
        items = claim(store, batch)
        store.settle(batch.batch_id, settled(items))
    for status, after in (("Deferred", 2), ("Retrieved", 7)):
        now += timedelta(minutes=after)
        store.add_reports([report(f"m-{one.recipient}", status, date=now, recipient=one.recipient) for one in items])
    store.close()


def empty(browser: Browser, url: str) -> None:
    page = opened(browser, f"{url}/mm7/ui/", height=560)
    page.get_by_role("heading", name="Messages", exact=True).wait_for()
    save(page, "page-empty")


def million(browser: Browser, url: str, store_url: str) -> None:
    store = open_store(store_url)
    newest = datetime.now(UTC) - timedelta(hours=1)
    for first in (100, 101):
        seed(store, batches=1, each=490_000, newest=newest - timedelta(hours=7 * (first - 100)), first=first)
    store.close()
    page = opened(browser, f"{url}/mm7/ui/")
    page.get_by_role("heading", name="Newest batches").wait_for()
    save(page, "page-million")


def overview(browser: Browser, url: str) -> None:
    for scheme in ("light", "dark"):
        page = opened(browser, f"{url}/plugin/mms", scheme=scheme)
        page.frame_locator("iframe[title='MMS']").get_by_role("heading", name="Newest batches").wait_for()
        save(page, f"page-overview-{scheme}")


def batch(browser: Browser, url: str) -> None:
    page = opened(browser, f"{url}/mm7/ui/batches", width=390, height=780)
    page.locator("tbody a").first.click()
    page.get_by_role("heading", name="Over time").wait_for()
    save(page, "page-batch-phone")


def handset(browser: Browser, url: str) -> None:
    page = opened(browser, f"{url}/mm7/ui/inbound/1", width=1000, height=620)
    page.locator(".slide img").evaluate("image => image.decode()")
    save(page, "page-inbound")


def message(browser: Browser, url: str) -> None:
    page = opened(browser, f"{url}/mm7/ui/find?q=m-%2B12025550101", width=1000, height=940)
    page.locator(".slide img").evaluate("image => image.decode()")
    save(page, "page-message")


def opened(browser: Browser, url: str, *, scheme: str = "light", width: int = 1280, height: int = 860) -> Page:
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(SLOW_MS)
    page.goto(url)
    return page


def save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(IMAGES / f"{name}.png", optimize=True)
    print(f"docs/images/{name}.png {(IMAGES / f'{name}.png').stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
