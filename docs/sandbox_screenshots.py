"""Pictures of the sandbox's phones and of the connection form for the documentation, made from the running product.

``python -m docs.sandbox_screenshots``, with Chromium on the machine. To be looked at before they are committed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.sandbox.callback import CallbackServer
from tests.sandbox.client import post, slide_message, submit
from tests.support.api_server import ApiServer
from tests.support.chromium import launched
from tests.support.sandbox import RunningSandbox

IMAGES = Path(__file__).parent / "images"
SATURN = (Path(__file__).parents[1] / "example_dags" / "media" / "saturn.gif").read_bytes()
SMIL = b"""<smil><head><layout><root-layout width="240" height="320"/><region id="Image" top="0" height="240"/>
<region id="Text" top="240" height="80"/></layout></head><body>
<par dur="8s"><img src="cid:saturn.gif" region="Image"/><text src="cid:one.txt" region="Text"/></par>
<par dur="8s"><text src="cid:two.txt" region="Text"/></par></body></smil>"""
FIRST, SECOND, THIRD = "+64211234567", "+64211234568", "+15005552002"


def keep(page: Page, name: str, **options: Any) -> None:
    """Write a picture, small: a palette of 256 colours does for pages."""
    with Image.open(BytesIO(page.screenshot(**options))) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(IMAGES / f"{name}.png", "PNG", optimize=True)
    print(f"{name}.png: {(IMAGES / f'{name}.png').stat().st_size // 1000} kB")


def message(to: str) -> bytes:
    """Two slides."""
    return slide_message(
        "Science news",
        ("application/smil", SMIL, "smil"),
        ("image/gif", SATURN, "saturn.gif"),
        ("text/plain", b"Saturn has 274 known moons. Reply MORE for the list.", "one.txt"),
        ("text/plain", b"Next week: its rings.", "two.txt"),
        to=to,
    )


@contextmanager
def phones() -> Iterator[str]:
    """A sandbox that has something to show.

    :return: its address.
    """
    with CallbackServer() as callback, RunningSandbox(callback_url=callback.url) as sandbox:
        submit(sandbox, THIRD)
        post(sandbox, message(SECOND))
        sandbox.settled_reports(1)
        sandbox.report(message_id=sandbox.accepted()[-1]["message_id"], recipient=SECOND, mm_status="Expired")
        post(sandbox, message(FIRST))
        sandbox.settled_reports(3)
        sandbox.deliver(sender=FIRST, recipient="+6421999", text="MORE", linked_id=sandbox.accepted()[-1]["message_id"])
        yield sandbox.base_url


def shoot_phones(browser: Browser) -> None:
    """Light, dark, and at the width of a phone."""
    with phones() as url:
        for scheme, width, height in (("light", 1180, 900), ("dark", 1180, 900), ("dark", 390, 860)):
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(url)
            expect(page.locator("section")).to_have_count(3)
            page.wait_for_load_state("load")
            keep(page, f"sandbox-{scheme}" + ("-narrow" if width < 600 else ""))
            context.close()


def shoot_form(browser: Browser) -> None:
    """The form with its fields, a Test that succeeds, and one that is refused."""
    with (
        tempfile.TemporaryDirectory() as home,
        RunningSandbox(login="vasp", password="right") as mmsc,  # noqa: S106  # of nobody
        ApiServer(Path(home) / "airflow") as airflow,
    ):
        for conn_id, password in (("mm7_default", "right"), ("mm7_denied", "wrong")):
            connection = {"connection_id": conn_id, "conn_type": "mm7", "host": mmsc.url, "login": "vasp"}
            connection |= {"password": password, "port": urlsplit(mmsc.url).port, "description": "News"}
            airflow.api("POST", "connections", json_body=connection)
        context = browser.new_context(viewport={"width": 1180, "height": 860})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(f"{airflow.url}/connections")
        page.get_by_role("row").filter(has_text="mm7_default").get_by_role("button", name="Edit Connection").click()
        form = page.get_by_role("dialog")
        expect(form.get_by_label("MMSC URL")).to_be_visible(timeout=60_000)
        page.wait_for_timeout(700)
        keep(page, "connection-form")
        form.get_by_role("button", name="Extra Fields", exact=True).click()
        page.wait_for_timeout(700)
        keep(page, "connection-fields")
        page.keyboard.press("Escape")
        expect(form).to_be_hidden(timeout=60_000)
        for conn_id, name, said in (
            ("mm7_default", "connection-test", "reached, not refused"),
            ("mm7_denied", "connection-test-401", "HTTP 401"),
        ):
            row = page.get_by_role("row").filter(has_text=conn_id)
            row.get_by_role("button", name="Test Connection").click()
            expect(page.get_by_role("status").filter(has_text=said)).to_be_visible(timeout=60_000)
            page.mouse.move(600, 700)
            page.wait_for_timeout(1000)  # the notice slides in, the tooltip goes
            keep(page, name)
        context.close()


def main(wanted: list[str]) -> int:
    """Make the pictures.

    :param wanted: ``phones``, ``form``; none: both.
    :return: exit code.
    """
    with launched() as browser:
        if "phones" in wanted or not wanted:
            shoot_phones(browser)
        if "form" in wanted or not wanted:
            shoot_form(browser)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
