from __future__ import annotations

import asyncio
import base64
import threading
from ipaddress import ip_network

import pytest

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.receiver import credentials as module
from airflow_provider_mm7.receiver.credentials import (
    CallbackCredentials,
    CredentialCache,
    LookupsBusy,
    Verifier,
    address_allowed,
    parse_networks,
)


def basic(pair: str, charset: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(pair.encode(charset)).decode()


class Directory:
    """A credential source that counts, can fail, and can be held up."""

    def __init__(self, **entries: CallbackCredentials) -> None:
        self.entries = entries
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def lookup(self, conn_id: str) -> CallbackCredentials | None:
        self.asked.append(conn_id)
        assert self.go.wait(20)
        if self.failure is not None:
            raise self.failure
        return self.entries.get(conn_id)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


KNOWN = CallbackCredentials(login="vasp", password="secret")


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("vasp", "secret"),
        ("vasp", "a:b:c"),
        ("vasp", "p%40ss /+&?#=\"'"),
        ("jürgen", "grün"),
        ("名", "密码"),
        ("v", " "),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_the_right_pair_is_accepted_in_both_charsets(login: str, password: str, charset: str) -> None:
    pair = f"{login}:{password}"
    try:
        header = basic(pair, charset)
    except UnicodeEncodeError:
        header = basic(pair)
    assert Verifier(CallbackCredentials(login=login, password=password)).accepts(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Bearer abc",
        basic("vasp:secret").replace("Basic", "Digest"),
        basic("vasp:wrong"),
        basic("other:secret"),
        basic("VASP:secret"),
        basic("vasp:secre"),
        basic("vasp:secrets"),
        basic("vasp"),
        basic(":"),
        basic(""),
        basic("vasp:secret") + "=",
        "Basic \xff\xfe",
        "Basic \u4e2d",
    ],
)
def test_anything_else_is_not(header: str | None) -> None:
    assert not Verifier(KNOWN).accepts(header)
    assert not Verifier(None).accepts(header)


@pytest.mark.parametrize("scheme", ["basic ", "BASIC ", "Basic   "])
def test_the_scheme_is_read_as_http_reads_it(scheme: str) -> None:
    assert Verifier(KNOWN).accepts(basic("vasp:secret").replace("Basic ", scheme))


def test_nothing_shows_the_credentials() -> None:
    verifier = Verifier(KNOWN)
    kept = repr([getattr(verifier, name) for name in Verifier.__slots__])
    assert "secret" not in kept + repr(KNOWN)
    assert "vasp" not in kept + repr(KNOWN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("", []),
        (" , ", []),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("203.0.113.7, 2001:db8::/32 ,", ["203.0.113.7/32", "2001:db8::/32"]),
        ('["10.0.0.0/8", "192.0.2.0/24"]', ["10.0.0.0/8", "192.0.2.0/24"]),
        (["10.1.2.3/8"], ["10.0.0.0/8"]),
    ],
)
def test_networks_are_read_from_json_or_commas(text: str | list[str] | None, expected: list[str]) -> None:
    assert [str(network) for network in parse_networks(text)] == expected


@pytest.mark.parametrize("text", ["10.0.0.0/33", "carrier.example.com", "[1", '["x"]', "10.0.0.0/8;192.0.2.0/24"])
def test_a_slip_in_the_networks_is_an_error(text: str) -> None:
    with pytest.raises(ConnectionConfigError, match="callback_networks"):
        parse_networks(text)


@pytest.mark.parametrize(
    ("host", "networks", "allowed"),
    [
        ("192.0.2.1", "", True),
        (None, "", True),
        ("192.0.2.1", "192.0.2.0/24", True),
        ("192.0.3.1", "192.0.2.0/24", False),
        ("::ffff:192.0.2.1", "192.0.2.0/24", True),
        ("::ffff:192.0.3.1", "192.0.2.0/24", False),
        ("192.0.2.1", "::ffff:192.0.2.0/120", True),
        ("2001:db8::1", "192.0.2.0/24, 2001:db8::/32", True),
        ("2001:db9::1", "192.0.2.0/24, 2001:db8::/32", False),
        ("fe80::1%eth0", "fe80::/10", True),
        (None, "192.0.2.0/24", False),
        ("testclient", "192.0.2.0/24", False),
        ("192.0.2.1", "0.0.0.0/0", True),
        ("2001:db8::1", "0.0.0.0/0", False),
    ],
)
def test_addresses_are_held_to_the_networks(host: str | None, networks: str, allowed: bool) -> None:
    verifier = Verifier(CallbackCredentials(login="v", password="p", networks=parse_networks(networks)))
    assert address_allowed(host, verifier.networks) is allowed


async def test_answers_are_kept_for_the_time_to_live_misses_too() -> None:
    directory, clock = Directory(known=KNOWN), Clock()
    cache = CredentialCache(directory, ttl_s=60, clock=clock)
    try:
        for _ in range(3):
            assert await cache.find("known") is not None
            assert await cache.find("unknown") is None
        assert sorted(directory.asked) == ["known", "unknown"]
        clock.now += 59.9
        assert await cache.find("known") is not None
        assert len(directory.asked) == 2
        clock.now += 0.2
        directory.entries = {"unknown": KNOWN}
        assert await cache.find("known") is None
        assert await cache.find("unknown") is not None
        assert len(directory.asked) == 4
    finally:
        cache.close()


async def test_a_failure_is_raised_and_not_kept() -> None:
    directory = Directory(known=KNOWN)
    cache = CredentialCache(directory, ttl_s=60)
    try:
        directory.failure = ConnectionError("the metadata database is down")
        with pytest.raises(ConnectionError):
            await cache.find("known")
        directory.failure = None
        assert await cache.find("known") is not None
    finally:
        cache.close()


async def test_one_look_up_serves_all_who_ask_at_once_even_if_one_goes_away() -> None:
    directory = Directory(known=KNOWN)
    directory.go.clear()
    cache = CredentialCache(directory, ttl_s=60)
    try:
        # All threads are taken, so that the look-up waits: a running one could not be cancelled anyhow.
        taken = [asyncio.create_task(cache.find(f"other-{number}")) for number in range(module._LOOKUP_THREADS)]
        tasks = [asyncio.create_task(cache.find("known")) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        await asyncio.sleep(0)
        directory.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert all(isinstance(one, Verifier) for one in found[1:])
        assert directory.asked.count("known") == 1
        await asyncio.gather(*taken)
    finally:
        cache.close()


async def test_made_up_ids_are_bounded_and_push_no_real_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_UNKNOWN", 10)
    directory = Directory(known=KNOWN)
    cache = CredentialCache(directory, ttl_s=60)
    try:
        await cache.find("known")
        for number in range(50):
            assert await cache.find(f"made-up-{number}") is None
        assert len(cache._unknown) == 10
        await cache.find("known")
        assert directory.asked.count("known") == 1
    finally:
        cache.close()


async def test_too_many_look_ups_at_once_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PENDING", 3)
    directory = Directory()
    directory.go.clear()
    cache = CredentialCache(directory, ttl_s=60)
    try:
        waiting = [asyncio.create_task(cache.find(f"id{number}")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LookupsBusy):
            await cache.find("id3")
        directory.go.set()
        assert await asyncio.gather(*waiting) == [None] * 3
        assert await cache.find("id3") is None
    finally:
        directory.go.set()
        cache.close()


@pytest.mark.parametrize("conn_id", ["", "a/b", "..", "a..b", "x" * 251, "a\nb", "a b", "é", "a\\b", "a\x00"])
async def test_ids_that_no_connection_has_are_never_looked_up(conn_id: str) -> None:
    directory = Directory()
    cache = CredentialCache(directory, ttl_s=60)
    try:
        assert await cache.find(conn_id) is None
        assert directory.asked == []
    finally:
        cache.close()


def test_the_cache_serves_one_event_loop_after_another() -> None:
    directory = Directory(known=KNOWN)
    cache = CredentialCache(directory, ttl_s=60)
    try:
        for conn_id in ("known", "unknown", "known"):
            assert (asyncio.run(cache.find(conn_id)) is not None) is (conn_id == "known")
    finally:
        cache.close()


def test_networks_are_kept_as_networks() -> None:
    assert parse_networks("10.0.0.0/8") == (ip_network("10.0.0.0/8"),)
