"""Pooled connections that are not used again once they have idled.

A server closes an idle connection when it pleases. A POST that crosses that close on the wire ends without an answer,
and nobody can tell whether it was accepted; a new connection costs one handshake and leaves no such doubt.
"""

from __future__ import annotations

import time
from typing import Any

from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

#: Seconds since its last answer after which a connection is not used again. The shortest keep-alive among common
#: servers is 2 s (gunicorn); under load a connection idles for milliseconds.
MAX_IDLE_S = 1.0


class _Connection(HTTPConnection):
    _answered_at: float | None = None

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own answer, as in its base class
        response = super().getresponse()
        self._answered_at = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before it hands out a connection that was used before."""
        idled = self._answered_at is not None and time.monotonic() - self._answered_at >= MAX_IDLE_S
        return super().is_connected and not idled


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class FreshAdapter(HTTPAdapter):
    """Sends over connections that have not idled, to one URL with one set of TLS settings."""

    _pool: Any = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pools of connections through a proxy. SOCKS has classes of its own, which are left as they are."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Find the pool, and keep it."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def close(self) -> None:
        """Close the connections, now: urllib3 does when nobody holds the pool any more, and each of its errors does."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None
        super().close()


class FreshSourceAdapter(FreshAdapter, SourceAddressAdapter):  # type: ignore[misc]
    """The same from one local address."""
