"""Who gets in, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.types import ASGIApp

from airflow_provider_mm7.receiver import ReceiverConfig
from tests.receiver import callbacks
from tests.receiver.conftest import Rig

URL = "/mm7/callback"


class Exchange:
    """One ASGI request, fed by hand, so that a test sees what was read and when."""

    def __init__(self, app: ASGIApp, headers: dict[str, str], *, path: str = URL, method: str = "POST") -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = 0
        self._body: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 40000),
            "headers": raw,
        }
        self.task: asyncio.Task[None] = asyncio.ensure_future(self._run(app, scope))

    def feed(self, body: bytes, *, more: bool = False) -> None:
        self._body.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._body.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self.reads += 1
        return await self._body.get()

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(dict(message))


async def test_every_wrong_way_gets_the_same_401(rig: Rig) -> None:
    async with rig.client() as client:
        answers = [
            await client.post(url, content=callbacks.report(), headers=headers)
            for url, headers in [
                (URL, {"Authorization": ""}),
                (URL, {"Authorization": "Basic ???"}),
                (URL, callbacks.headers(password="wrong")),
                (URL, callbacks.headers(login="b", password="bb")),
                (f"{URL}/unknown", callbacks.headers()),
                (f"{URL}/carrier_b", callbacks.headers()),
                (f"{URL}/{'x' * 3000}", callbacks.headers()),
                (f"{URL}/..%2e", callbacks.headers()),
            ]
        ]
    assert {(one.status_code, one.content, tuple(one.headers.multi_items())) for one in answers} == {
        (answers[0].status_code, answers[0].content, tuple(answers[0].headers.multi_items()))
    }
    assert answers[0].status_code == 401
    assert answers[0].headers["www-authenticate"].startswith('Basic realm="')
    assert rig.store.reports() == []


async def test_the_body_of_a_stranger_is_not_read_before_the_401(rig: Rig) -> None:
    app = rig.app()
    for length in ("100", "100000000"):
        exchange = Exchange(app, {"authorization": "Basic eDp5", "content-length": length})
        while len(exchange.sent) < 2:
            await asyncio.sleep(0.001)
        assert exchange.status == 401
        assert exchange.body == b"Unauthorized\n"
        exchange.hang_up()
        await exchange.task
    # The short one was left to the server; the long one is thrown away after the answer, so that the answer arrives.
    assert exchange.reads == 1
    assert exchange.headers["connection"] == "close"


async def test_each_connection_has_its_own_credentials(rig: Rig) -> None:
    async with rig.client() as client:
        answer = await client.post(
            f"{URL}/carrier_b", content=callbacks.report(), headers=callbacks.headers(login="b", password="bb")
        )
    assert answer.status_code == 200
    assert rig.store.reports()[0].conn_id == "carrier_b"


@pytest.mark.parametrize("path", ["/mm7/callback/", "/mm7/callback/mm7_default", "/mm7/callback/mm7_default/"])
async def test_other_spellings_of_the_address_are_no_redirects(rig: Rig, path: str) -> None:
    async with rig.client() as client:
        assert (await client.post(path, content=callbacks.report())).status_code == 200


@pytest.mark.parametrize(("method", "path", "status"), [("GET", URL, 405), ("PUT", URL, 405), ("POST", "/mm7", 404)])
async def test_nothing_else_is_here(rig: Rig, method: str, path: str, status: int) -> None:
    async with rig.client() as client:
        assert (await client.request(method, path)).status_code == status


@pytest.mark.parametrize(
    ("address", "password", "status"),
    [
        ("10.1.2.3", "secret", 200),
        ("::ffff:10.1.2.3", "secret", 200),
        ("192.0.2.1", "secret", 403),
        ("::ffff:192.0.2.1", "secret", 403),
        ("2001:db8::1", "secret", 403),
        ("192.0.2.1", "wrong", 401),
        ("10.1.2.3", "wrong", 401),
    ],
)
async def test_only_right_credentials_are_told_about_networks(
    rig: Rig, address: str, password: str, status: int
) -> None:
    async with rig.client(address=address) as client:
        answer = await client.post(
            f"{URL}/narrow", content=callbacks.report(), headers=callbacks.headers(password=password)
        )
    assert answer.status_code == status


async def test_forwarded_headers_are_the_servers_business(rig: Rig) -> None:
    async with rig.client(address="192.0.2.1") as client:
        headers = callbacks.headers() | {"X-Forwarded-For": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
        answer = await client.post(f"{URL}/narrow", content=callbacks.report(), headers=headers)
    assert answer.status_code == 403


async def test_nobody_knows_is_not_wrong_credentials(rig: Rig) -> None:
    rig.directory.failure = ConnectionError("the metadata database is down")
    async with rig.client() as client:
        answer = await client.post(URL, content=callbacks.report())
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        rig.directory.failure = None
        assert (await client.post(URL, content=callbacks.report())).status_code == 200


async def test_a_burst_looks_a_connection_up_once(rig: Rig) -> None:
    async with rig.client() as client:
        answers = await asyncio.gather(
            *(client.post(URL, content=callbacks.report(f"m-{number}")) for number in range(20))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert rig.directory.asked == ["mm7_default"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_compressed_bodies_are_refused(rig: Rig, encoding: str) -> None:
    async with rig.client() as client:
        answer = await client.post(
            URL, content=callbacks.report(), headers=callbacks.headers() | {"Content-Encoding": encoding}
        )
    assert answer.status_code == 415
    assert rig.store.reports() == []


async def test_an_announced_excess_is_refused_before_it_is_read(rig: Rig) -> None:
    rig.config = ReceiverConfig(max_body_bytes=1000)
    exchange = Exchange(rig.app(), callbacks.headers() | {"Content-Length": "1001"})
    await exchange.task
    assert (exchange.status, exchange.reads) == (413, 0)


async def test_an_excess_that_nobody_announced_is_refused_at_its_first_byte(rig: Rig) -> None:
    rig.config = ReceiverConfig(max_body_bytes=1000)
    exchange = Exchange(rig.app(), callbacks.headers() | {"Transfer-Encoding": "chunked"})
    for _ in range(11):
        exchange.feed(b"x" * 100, more=True)
    while len(exchange.sent) < 2:
        await asyncio.sleep(0.001)
    assert exchange.status == 413
    exchange.hang_up()
    await exchange.task


async def test_a_body_of_exactly_the_limit_is_taken(rig: Rig) -> None:
    body = callbacks.report()
    rig.config = ReceiverConfig(max_body_bytes=len(body))
    async with rig.client() as client:
        assert (await client.post(URL, content=body)).status_code == 200
        assert (await client.post(URL, content=body + b"\n")).status_code == 413


async def test_a_body_that_trickles_is_given_up(rig: Rig) -> None:
    rig.config = ReceiverConfig(body_timeout_s=0.2)
    exchange = Exchange(rig.app(), callbacks.headers() | {"Content-Length": "1000"})
    exchange.feed(b"<", more=True)
    async with asyncio.timeout(10):
        await exchange.task
    assert (exchange.status, exchange.headers["connection"]) == (408, "close")


async def test_more_than_may_be_worked_on_are_asked_to_come_again(rig: Rig) -> None:
    rig.config = ReceiverConfig(max_concurrent=2)
    app = rig.app()
    slow = [Exchange(app, callbacks.headers()) for _ in range(2)]
    while not all(exchange.reads for exchange in slow):
        await asyncio.sleep(0.001)
    async with rig.client(app=app) as client:
        answer = await client.post(URL, content=callbacks.report("m-3"))
        assert (answer.status_code, b"Envelope" in answer.content) == (503, False)
        assert int(answer.headers["retry-after"]) > 0
        for number, exchange in enumerate(slow):
            exchange.feed(callbacks.report(f"m-{number}"))
            await exchange.task
            assert exchange.status == 200
        assert (await client.post(URL, content=callbacks.report("m-3"))).status_code == 200
    assert {one.message_id for one in rig.store.reports()} == {"m-0", "m-1", "m-3"}


async def test_media_that_hang_hold_up_no_report(rig: Rig) -> None:
    """They take half of the places at most, and count among all."""
    rig.config = ReceiverConfig(max_concurrent=6)
    rig.sink.go.clear()
    app = rig.app()
    async with rig.client(app=app) as client:

        async def deliver(number: int) -> int:
            body, content_type = callbacks.deliver(transaction_id=f"tx-{number}")
            return (await client.post(URL, content=body, headers=callbacks.headers(content_type))).status_code

        hanging = [asyncio.ensure_future(deliver(number)) for number in range(3)]
        while app.state.receiver._keeping < 3:
            await asyncio.sleep(0.001)
        assert await deliver(4) == 503
        slow = [Exchange(app, callbacks.headers()) for _ in range(2)]
        while not all(exchange.reads for exchange in slow):
            await asyncio.sleep(0.001)
        assert (await client.post(URL, content=callbacks.report())).status_code == 200
        slow.append(Exchange(app, callbacks.headers()))
        while not slow[-1].reads:
            await asyncio.sleep(0.001)
        assert (await client.post(URL, content=callbacks.report("m-2"))).status_code == 503
        for exchange in slow:
            exchange.feed(callbacks.report())
            await exchange.task
        rig.sink.go.set()
        assert await asyncio.gather(*hanging) == [200, 200, 200]
        assert await deliver(4) == 200
    assert len(rig.store.inbound()) == 4


async def test_a_client_that_goes_away_frees_its_place(rig: Rig) -> None:
    rig.config = ReceiverConfig(max_concurrent=1)
    app = rig.app()
    exchange = Exchange(app, callbacks.headers())
    exchange.feed(callbacks.report()[:100], more=True)
    exchange.hang_up()
    await exchange.task
    async with rig.client(app=app) as client:
        assert (await client.post(URL, content=callbacks.report("m-2"))).status_code == 200
    assert [one.message_id for one in rig.store.reports()] == ["m-2"]
