"""A real browser in front of the pages. Tests here skip, saying so, where Chromium is absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page

from tests.support.chromium import launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module: while it is there, nothing else in this thread can run an event loop."""
    with launched() as running:
        yield running


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages in windows of their own; what a page complains of, or says by itself, fails the test."""
    contexts: list[BrowserContext] = []
    said: list[str] = []

    def listen(page: Page, *, may_complain: bool) -> None:
        def complained(message: ConsoleMessage) -> None:
            if message.type == "error" and not may_complain:
                said.append(message.text)

        def asked(dialog: Dialog) -> None:
            said.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", complained)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", asked)

    def open_page(
        url: str, *, width: int = 1280, height: int = 900, may_complain: bool = False, **options: Any
    ) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        listen(page, may_complain=may_complain)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
