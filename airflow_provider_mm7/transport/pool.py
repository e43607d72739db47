"""Pooled connections that are not used again once they have idled.

A server closes an idle connection when it pleases. A POST that crosses that close on the wire ends without an answer,
and nobody can tell whether it was accepted; a new connection costs one handshake and leaves no such doubt.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_mm7.transport.wire import Connection, TlsConnection


class _Pool(HTTPConnectionPool):
    ConnectionCls = Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class FreshAdapter(HTTPAdapter):
    """Sends over connections that have not idled, to one URL with one set of TLS settings.

    :ivar pool_timeout_s: seconds that a request waits for a connection to become free; None: for ever.
    """

    pool_timeout_s: float | None = None
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
            # requests has no name for it. Set here, it holds for every way through the pool.
            self._pool.urlopen = partial(self._pool.urlopen, pool_timeout=self.pool_timeout_s)
        return self._pool

    def close(self) -> None:
        """Close the connections, now: urllib3 does when nobody holds the pool any more, and each of its errors does."""
        if self._pool is not None:
            self._pool.close()
        self._pool = None
        super().close()


class FreshSourceAdapter(FreshAdapter, SourceAddressAdapter):  # type: ignore[misc]
    """The same from one local address."""
