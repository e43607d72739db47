"""Batches of text messages, sent by the real engine to whatever URL a test gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from airflow_provider_mm7.protocol import Verdict
from airflow_provider_mm7.sending import Draft, OnUnknown, Prepared, Profile, SendResult, prepare, send
from airflow_provider_mm7.store import Store
from airflow_provider_mm7.transport import Endpoint, MMSCClient
from tests.support.scripted import Exchange

NOW = datetime(2026, 1, 2, 9, 30, 47, tzinfo=UTC)
#: Bytes that a message may have here.
MAX_BYTES = 1 << 26


class NoMedia:
    """A media source for messages of text alone."""

    def fetch(self, uri: str, *, limit: int) -> object:
        raise AssertionError(uri)


def numbers(count: int) -> tuple[str, ...]:
    return tuple(f"+6421{index:07d}" for index in range(1, count + 1))


def message(to: tuple[str, ...], *, per_request: int = 1, number_format: str = "plus", text: str = "hello") -> Prepared:
    draft = Draft(to=to, subject="s", text=(text,))
    profile = Profile(recipients_per_request=per_request, number_format=number_format, max_message_bytes=MAX_BYTES)
    return prepare(draft, profile, NoMedia(), now=NOW)  # type: ignore[arg-type]


#: Seconds for an answer: some come from a test that writes to the ledger first, and a disk may take its time.
READ_TIMEOUT_S = 20


@contextmanager
def client(url: str, **settings: object) -> Iterator[MMSCClient]:
    endpoint = Endpoint(**{"url": url, "connect_timeout_s": 5, "read_timeout_s": READ_TIMEOUT_S, **settings})  # type: ignore[arg-type]
    with MMSCClient(endpoint) as opened:
        yield opened


def run(
    store: Store,
    url: str,
    to: tuple[str, ...],
    *,
    key: str = "k",
    per_request: int = 1,
    number_format: str = "plus",
    text: str = "hello",
    on_unknown: OnUnknown = OnUnknown.HOLD,
    overrides: dict[int, Verdict] | None = None,
    on_batch: Callable[[str], None] | None = None,
    stopped: Callable[[], bool] | None = None,
    rate_per_s: float | None = None,
    family: str | None = None,
    **settings: object,
) -> SendResult:
    with client(url, **settings) as mmsc_client:
        return send(
            message(to, per_request=per_request, number_format=number_format, text=text),
            store=store,
            client=mmsc_client,
            key=key,
            conn_id="mm7_default",
            on_unknown=on_unknown,
            overrides=overrides,
            on_batch=on_batch,
            stopped=stopped,
            rate_per_s=rate_per_s,
            family=family,
        )


def states(result: SendResult) -> Counter[str]:
    return Counter(str(item.state) for item in result.messages)


def hold(peer: Exchange) -> None:
    """Answer nothing until the test ends."""
    peer.server.released.wait(2 * READ_TIMEOUT_S)
