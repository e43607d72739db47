"""The same POST a million times: what requests works out for each request is worked out once.

A session's adapter gives its pool, with its proxies and TLS settings, and urllib3 beneath does the rest. Digest, which
answers a challenge with a second request, needs requests as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Timeout

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.protocol import Payload
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.wire import Answer, Connection, Outgoing, read_whole

#: What :func:`protocol.http_headers` says of every payload; nobody else may say it.
_OURS = frozenset(name.lower() for name in protocol.http_headers(Payload(content_type="text/xml", chunks=())))


class Direct:
    """POSTs to one URL through the pool of a session's adapter.

    :raises requests.RequestException: URL, headers or TLS settings cannot be used.
    """

    def __init__(self, session: requests.Session, endpoint: Endpoint) -> None:
        prepared = session.prepare_request(requests.Request("POST", endpoint.url))
        url = str(prepared.url)
        adapter = session.get_adapter(url)
        if not isinstance(adapter, HTTPAdapter):
            raise TypeError(f"{type(adapter).__name__} has no pool")
        self._headers = {name: value for name, value in prepared.headers.items() if name.lower() not in _OURS}
        self._pool: Any = adapter.get_connection_with_tls_context(
            prepared, session.verify, proxies=session.proxies, cert=session.cert
        )
        adapter.cert_verify(self._pool, url, session.verify, session.cert)  # type: ignore[no-untyped-call]
        #: Whether its connections are ours, and their answers whole; those through SOCKS are not.
        self._ours = issubclass(getattr(self._pool, "ConnectionCls", object), Connection)
        self._read_timeout_s = endpoint.read_timeout_s
        self._settings: Mapping[str, Any] = {
            "url": adapter.request_url(prepared, session.proxies),
            "timeout": Timeout(connect=endpoint.connect_timeout_s, read=endpoint.read_timeout_s),
            "retries": adapter.max_retries,
            "redirect": False,
            "assert_same_host": False,
            "preload_content": False,
            "decode_content": False,
            "release_conn": self._ours,
        }

    def post(self, body: Outgoing, headers: Mapping[str, str]) -> Answer:
        """Send a request and read its answer.

        :param headers: say how long the body is.
        :raises urllib3.exceptions.HTTPError: no answer came.
        :raises OutcomeUnknown: an answer came that has no end.
        """
        answer = self._pool.urlopen("POST", body=body, headers={**self._headers, **headers}, **self._settings)
        return answer if self._ours else read_whole(answer, self._read_timeout_s)
