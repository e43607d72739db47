"""The same POST a million times: what requests works out for each request is worked out once.

Of requests' road the session's half (merging of settings, cookies, redirects, hooks) is left out; the adapter's half
stays, with its pools, proxies, TLS settings and errors. Digest, which answers a challenge with a second request, needs
both halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from urllib3.util import Timeout

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.protocol import Payload
from airflow_provider_mm7.transport.endpoint import Endpoint

#: What :func:`protocol.http_headers` says of every payload; nobody else may say it.
_OURS = frozenset(name.lower() for name in protocol.http_headers(Payload(content_type="text/xml", chunks=())))


class Direct:
    """POSTs to one URL through a session's adapter.

    :raises requests.RequestException: URL or headers cannot be used.
    """

    def __init__(self, session: requests.Session, endpoint: Endpoint) -> None:
        self._prepared = session.prepare_request(requests.Request("POST", endpoint.url))
        self._headers = {name: value for name, value in self._prepared.headers.items() if name.lower() not in _OURS}
        self._adapter = session.get_adapter(str(self._prepared.url))
        self._settings: Mapping[str, Any] = {
            "stream": True,
            "timeout": Timeout(connect=endpoint.connect_timeout_s, read=endpoint.read_timeout_s),
            "verify": session.verify,
            "cert": session.cert,
            "proxies": session.proxies,
        }

    def post(self, body: Any, headers: Mapping[str, str]) -> requests.Response:
        """Send a request; the answer's body is not read yet.

        :param body: an iterable of bytes-like pieces.
        :param headers: say how long the body is.
        :raises requests.RequestException: as a session would.
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = "POST", self._prepared.url, self._prepared.hooks
        # A plain dict: the names differ in more than their case.
        request.headers = {**self._headers, **headers}  # type: ignore[assignment]
        request.body = body
        return self._adapter.send(request, **self._settings)
