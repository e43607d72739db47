"""A sandbox MMSC for tests, and a plain class for whoever else needs one in a process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from airflow_provider_mm7.sandbox import SandboxServer, Settings

#: Loopback answers within milliseconds; this is for a machine that is busy with other things.
PATIENCE_S = 20.0


class RunningSandbox:
    """The sandbox in a thread, and what tests ask of it.

    :param settings: as :class:`airflow_provider_mm7.sandbox.Settings`; the port is a free one unless given, and
        reports come sooner than to people.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(
            **{"port": 0, "login": "sandbox", "report_delay": 0.02, "report_retry_delay": 0.05, **settings}
        )
        self._server = SandboxServer(self.settings)
        #: ``http://127.0.0.1:PORT/mm7``.
        self.url = self._server.url
        self.base_url = self._server.base_url
        self.login, self.password = self.settings.login, self.settings.password

    def __enter__(self) -> RunningSandbox:
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.stop()

    def ask(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """One request below ``/_sandbox``; its JSON, or None without content."""
        answer = requests.request(method, f"{self.base_url}/_sandbox{path}", json=json, timeout=PATIENCE_S, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def messages(self, after: int = 0) -> list[dict[str, Any]]:
        """What was received, in order."""
        received: list[dict[str, Any]] = self.ask("GET", f"/messages?after={after}")
        return received

    def accepted(self) -> list[dict[str, Any]]:
        """What was accepted, whether or not the client could know it."""
        return [one for one in self.messages() if one["accepted"]]

    def raw(self, seq: int) -> bytes:
        """The HTTP body of a request as it came."""
        answer = requests.get(f"{self.base_url}/_sandbox/messages/{seq}/raw", timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.content

    def reports(self) -> list[dict[str, Any]]:
        """Callbacks and the answers they got."""
        sent: list[dict[str, Any]] = self.ask("GET", "/reports")
        return sent

    def settled_reports(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many callbacks and none is on its way."""
        settled: list[dict[str, Any]] = wait_for(
            self.reports, lambda sent: len(sent) >= count and all(one["state"] != "scheduled" for one in sent)
        )
        return settled

    def script(self, *items: dict[str, Any]) -> None:
        """Force the answers to the next requests."""
        self.ask("POST", "/script", json=list(items))

    def deliver(self, **message: Any) -> dict[str, Any]:
        """Send a message from a handset; the callback's entry."""
        entry: dict[str, Any] = self.ask("POST", "/deliver", json=message)
        return entry

    def report(self, **report: Any) -> dict[str, Any]:
        """Send one report; the callback's entry."""
        entry: dict[str, Any] = self.ask("POST", "/report", json=report)
        return entry

    def clear(self) -> None:
        """Forget everything."""
        self.ask("DELETE", "/messages")

    def health(self) -> dict[str, Any]:
        """Counts."""
        counts: dict[str, Any] = self.ask("GET", "/health")
        return counts


def wait_for(look: Callable[[], Any], enough: Callable[[Any], bool], *, patience_s: float = PATIENCE_S) -> Any:
    """Look again until it is enough; fails with what was seen last."""
    end = time.monotonic() + patience_s
    while not enough(seen := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience_s} s, and saw {seen!r}")
        time.sleep(0.01)
    return seen


@pytest.fixture(scope="session")
def one_sandbox() -> Iterator[RunningSandbox]:
    """The sandbox behind :func:`sandbox`, started once."""
    with RunningSandbox() as running:
        yield running


@pytest.fixture
def sandbox(one_sandbox: RunningSandbox) -> RunningSandbox:
    """A sandbox without callbacks that has received nothing yet."""
    one_sandbox.clear()
    return one_sandbox


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., RunningSandbox]]:
    """Sandboxes with settings of the test's own; all ended with it."""
    running: list[RunningSandbox] = []

    def _make(**settings: Any) -> RunningSandbox:
        one = RunningSandbox(**settings)
        running.append(one.__enter__())
        return one

    yield _make
    for one in running:
        one.__exit__()
