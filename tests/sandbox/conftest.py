"""Fixtures of the sandbox's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.sandbox.callback import CallbackServer
from tests.support.sandbox import RunningSandbox


@pytest.fixture
def callback() -> Iterator[CallbackServer]:
    """Where the sandbox posts."""
    with CallbackServer() as server:
        yield server


@pytest.fixture
def calling(callback: CallbackServer, make_sandbox: Callable[..., RunningSandbox]) -> RunningSandbox:
    """A sandbox that calls back."""
    return make_sandbox(
        callback_url=callback.url, callback_login="mmsc", callback_password="s3cret:ü", late_seconds=0.1
    )
