"""Who may call back: the credentials of a connection, compared without telling anything but yes or no."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Protocol

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.receiver.consent import DEFAULT_RULES, ConsentRules

Network = IPv4Network | IPv6Network

#: What Airflow allows in a connection id, less the slashes and ``..`` that mean folders to some secrets backends.
_CONN_ID = re.compile(r"(?!.*\.\.)[A-Za-z0-9_#!()\-.:]{1,250}\Z")

#: Look-ups kept: real connections, and ids that do not exist. Apart, so that made-up ids never push out a real one.
_MAX_KNOWN = 1024
_MAX_UNKNOWN = 1024
#: Look-ups that run or wait. Each distinct id has one at most; over this a caller is told to come again.
_MAX_PENDING = 64
_LOOKUP_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackCredentials:
    """What an MMSC's callbacks must present.

    :ivar login: user name; RFC 7617 allows no colon in it.
    :ivar password: password, any characters.
    :ivar networks: where callbacks may come from; empty means anywhere.
    :ivar consent: how messages from handsets end messages to them.
    """

    login: str = field(repr=False)
    password: str = field(repr=False)
    networks: tuple[Network, ...] = ()
    consent: ConsentRules = DEFAULT_RULES


class CredentialSource(Protocol):
    """Where the credentials of a connection come from."""

    def lookup(self, conn_id: str) -> CallbackCredentials | None:
        """Return a connection's credentials, or None when there are none to accept.

        Called in a thread. Unknown ids, other connection types and connections without callback credentials are all
        None. An exception means that nobody knows (the database is down): the caller is told to come again.

        :param conn_id: connection id from the URL, already held to a safe alphabet.
        """
        ...


def parse_networks(value: str | Iterable[str] | None, *, field: str = "callback_networks") -> tuple[Network, ...]:
    """Read CIDRs from a JSON list, comma-separated text, or a list.

    :param value: ``10.0.0.0/8, 2001:db8::/32``, ``["10.0.0.0/8"]``, or such a list; None and empty mean anywhere.
    :param field: name of the field, for the error.
    :raises ConnectionConfigError: an entry is no address and no network.
    """
    if value is None:
        return ()
    entries: Iterable[Any] = value
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                entries = json.loads(text)
            except ValueError as exc:
                raise ConnectionConfigError(field, "not a JSON list", "Write CIDRs, as in 203.0.113.0/24") from exc
        else:
            entries = (entry for entry in text.split(","))
    return tuple(_network(entry, field) for entry in entries if str(entry).strip())


def _network(entry: object, field: str) -> Network:
    try:
        # Host bits are allowed: 203.0.113.7/24 says what is meant.
        return ip_network(str(entry).strip(), strict=False)
    except ValueError as exc:
        raise ConnectionConfigError(
            field, f"{str(entry)[:64]!r} is no address or CIDR", "Write CIDRs, as in 203.0.113.0/24"
        ) from exc


def _unmapped(network: Network) -> Network:
    """Return ::ffff:192.0.2.0/120 as 192.0.2.0/24: addresses are compared as IPv4 where they are."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


def address_allowed(host: str | None, networks: tuple[Network, ...]) -> bool:
    """Tell whether a client's address is in the networks.

    :param host: ASGI's client host; None when the server does not know it (a Unix socket).
    :param networks: allowed networks; empty allows every address.
    """
    if not networks:
        return True
    try:
        # A scope (fe80::1%eth0) names our interface, not the peer's network.
        address: IPv4Address | IPv6Address = ip_address((host or "").split("%", 1)[0])
    except ValueError:
        return False
    # A dual-stack socket shows IPv4 peers as ::ffff:192.0.2.1 (RFC 4291, 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((mapped or address) in network for network in networks)


class Verifier:
    """Answers yes or no to an Authorization header in the same time for every header of a length.

    Both sides are keyed digests of equal length, so neither a common prefix nor a length shows, and the credentials
    themselves are not kept. Latin-1 is tried beside UTF-8, because RFC 7617 left the charset open and peers differ.
    """

    __slots__ = ("_digests", "consent", "networks")

    _key = secrets.token_bytes(64)

    def __init__(self, credentials: CallbackCredentials | None) -> None:
        if credentials is None:
            # Nothing digests to this: the answer is no, after the same work.
            self._digests = (secrets.token_bytes(64), secrets.token_bytes(64))
            self.networks: tuple[Network, ...] = ()
            self.consent = DEFAULT_RULES
            return
        pair = f"{credentials.login}:{credentials.password}"
        self._digests = (
            self._digest(pair.encode("utf-8", "surrogatepass")),
            self._digest(pair.encode("latin-1", "backslashreplace")),
        )
        self.networks = tuple(map(_unmapped, credentials.networks))
        self.consent = credentials.consent

    def accepts(self, authorization: str | None) -> bool:
        """Tell whether the header's value presents the credentials.

        :param authorization: value of the Authorization header; None when it is absent.
        """
        presented = self._digest(_basic_pair(authorization))
        utf8, latin1 = (hmac.compare_digest(presented, expected) for expected in self._digests)
        return utf8 | latin1

    @classmethod
    def _digest(cls, pair: bytes) -> bytes:
        # Keyed BLAKE2, not HMAC: for short input it keeps the interpreter lock, which the event loop would wait for.
        return blake2b(pair, key=cls._key).digest()


def _basic_pair(authorization: str | None) -> bytes:
    """Return ``user:password`` as bytes of a Basic header; empty for everything else (no pair is empty)."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


class LookupsBusy(Exception):
    """More look-ups wait than may."""


class CredentialCache:
    """A credential source behind a cache, with one look-up at a time for an id.

    :param source: asked in a thread of its own pool.
    :param ttl_s: seconds that an answer is kept, misses too. Failures are not kept.
    :param clock: monotonic seconds.
    """

    def __init__(self, source: CredentialSource, *, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, Verifier]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._pending: dict[str, Future[Verifier | None]] = {}
        self._pool = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="mm7-credentials")

    async def find(self, conn_id: str) -> Verifier | None:
        """Return the verifier of a connection, or None when it accepts nobody.

        :param conn_id: connection id as it stood in the URL.
        :raises LookupsBusy: too many look-ups wait.
        :raises Exception: whatever the source raised.
        """
        if not _CONN_ID.match(conn_id):
            return None
        with self._lock:
            now = self._clock()
            kept = self._known.get(conn_id)
            if kept is not None and kept[0] > now:
                return kept[1]
            if self._unknown.get(conn_id, now) > now:
                return None
            future = self._pending.get(conn_id)
            if future is None:
                if len(self._pending) >= _MAX_PENDING:
                    raise LookupsBusy
                future = self._pending[conn_id] = self._pool.submit(self._look_up, conn_id)
        # The look-up is shared: one caller that goes away must not cancel it for the others.
        return await asyncio.shield(asyncio.wrap_future(future))

    def consent_of(self, conn_id: str) -> ConsentRules:
        """Return the rules of a connection whose caller was let in; in a thread.

        :raises Exception: they were forgotten meanwhile, and the source could not be asked.
        """
        with self._lock:
            kept = self._known.get(conn_id)
        if kept is not None:
            return kept[1].consent
        found = self._source.lookup(conn_id)
        return DEFAULT_RULES if found is None else found.consent

    def close(self) -> None:
        """Wait for the look-ups under way."""
        self._pool.shutdown(wait=True)

    def _look_up(self, conn_id: str) -> Verifier | None:
        try:
            credentials = self._source.lookup(conn_id)
            verifier = None if credentials is None else Verifier(credentials)
            with self._lock:
                self._keep(conn_id, verifier)
            return verifier
        finally:
            with self._lock:
                del self._pending[conn_id]

    def _keep(self, conn_id: str, verifier: Verifier | None) -> None:
        until = self._clock() + self._ttl_s
        self._known.pop(conn_id, None)
        self._unknown.pop(conn_id, None)
        if verifier is None:
            self._unknown[conn_id] = until
            if len(self._unknown) > _MAX_UNKNOWN:
                self._unknown.popitem(last=False)
        else:
            self._known[conn_id] = (until, verifier)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
