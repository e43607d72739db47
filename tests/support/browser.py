"""A real browser for pages: Debian's Chromium, driven by playwright, with an eye on everything that a page does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

#: Milliseconds for anything that a page is expected to do; two busy cores need some of it.
PATIENCE_MS = 20_000
#: Names under which distributions install it.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
)


def chromium_path() -> str | None:
    """Where Chromium is; ``MM7_CHROMIUM`` names another."""
    return os.environ.get("MM7_CHROMIUM") or next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class Watch:
    """What a page did besides what it was asked to.

    :ivar requests: every URL that it asked for, whether or not it got there.
    :ivar complaints: errors of the console and of scripts, dialogs, pages opened.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        """Watch a page from before its first request."""
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("popup", lambda other: self.complaints.append(f"opened {other.url}"))
        page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def hosts(self) -> set[str]:
        """Hosts and ports that were asked, those of a page's own pictures included."""
        return {urlsplit(url).netloc for url in self.requests if urlsplit(url).scheme not in {"data", "blob"}}


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium.

    :raises FileNotFoundError: there is none on this machine.
    """
    path = chromium_path()
    if path is None:
        raise FileNotFoundError("no Chromium on this machine (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


# Once a module and not once a session: playwright keeps an event loop running, which asynchronous tests cannot have.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    if chromium_path() is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with open_browser() as browser:
        yield browser


@pytest.fixture
def watch() -> Watch:
    """What the pages of the test do."""
    return Watch()


@pytest.fixture
def open_page(chromium: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens pages in a profile of their own, watched."""
    contexts = []

    def _open(url: str, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watch.on(page)
        page.goto(url)
        return page

    yield _open
    for context in contexts:
        context.close()


def shoot(page: Page, path: Path, **options: Any) -> None:
    """A picture of a page, small: a palette of 128 colours does for pages."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(page.screenshot(**options))) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        small.save(path, "PNG", optimize=True)


__all__ = ["PATIENCE_MS", "Browser", "Page", "Request", "Watch", "chromium_path", "open_browser", "shoot"]
