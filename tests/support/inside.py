"""Whether the main thread is in a method right now: for a test that acts while it waits there.

Asked by a flag, as the frames of a thread that runs cannot be walked safely.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def inside(owner: type, name: str) -> Iterator[Callable[[], bool]]:
    """Watch a method for the length of a ``with`` block, and give what tells whether the main thread is in it."""
    real, entered = getattr(owner, name), threading.Event()

    def watched(*arguments: Any, **named: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return real(*arguments, **named)
        try:
            entered.set()
            return real(*arguments, **named)
        finally:
            entered.clear()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, watched)
        yield entered.is_set
