"""A requests session for one MMSC, with everything that the environment says resolved once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth
from requests.utils import get_environ_proxies
from requests_toolbelt import user_agent
from urllib3.exceptions import HTTPError

from airflow_provider_mm7.exceptions import ConnectionConfigError, OutcomeUnknown
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.pool import FreshAdapter, FreshSourceAdapter
from airflow_provider_mm7.transport.wire import read_whole

#: Environment variables that name a CA bundle, in requests' own order.
CA_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class _Digest(HTTPDigestAuth):
    """Answers a challenge, and reads no more of its body than of an answer's.

    :param read_timeout_s: seconds for all of it.
    """

    def __init__(self, login: str, password: str, *, read_timeout_s: float) -> None:
        super().__init__(login, password)
        self._read_timeout_s = read_timeout_s

    def handle_401(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        """Send the request again, if that was a challenge."""
        if 400 <= r.status_code < 500 and "digest" in r.headers.get("WWW-Authenticate", "").lower():
            # The head says all: a body that cannot be read goes with its connection.
            body = b""
            with suppress(OutcomeUnknown, HTTPError):
                body = read_whole(r.raw, self._read_timeout_s).body
            r._content = body
        answered: requests.Response = super().handle_401(r, **kwargs)  # type: ignore[no-untyped-call]
        return answered


class _Session(requests.Session):
    """Follows nothing: a redirect is an answer like others, even where its Location cannot be read."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Say that there is none."""
        return None


def open_session(endpoint: Endpoint, *, version: str) -> requests.Session:
    """Return a session for this MMSC.

    ``HTTPS_PROXY`` and CA variables are read here, once; ``.netrc`` never is, since it could replace the connection's
    credentials. Nothing is retried below us: only the ledger may decide to send again.

    :param version: of this package, for the User-Agent header.
    :raises ConnectionConfigError: a file that the connection names is not on this machine.
    """
    session = _Session()
    session.trust_env = False
    session.proxies = get_environ_proxies(endpoint.url)
    session.verify = _verify(endpoint)
    session.cert = endpoint.client_cert
    _check_files("client_cert", _paths(endpoint.client_cert))
    session.auth = _auth(endpoint)
    # MM7 has no sessions. A cookie would tie all that is sent to one node of a cluster.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.headers = requests.structures.CaseInsensitiveDict(
        {"User-Agent": user_agent("airflow-provider-mm7", version), "Accept": "*/*", **endpoint.headers}
    )
    adapter = _adapter(endpoint)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _verify(endpoint: Endpoint) -> bool | str:
    if not endpoint.verify:
        return False
    if endpoint.ca_bundle:
        _check_files("ca_bundle", (endpoint.ca_bundle,))
        return endpoint.ca_bundle
    for name in CA_BUNDLE_VARIABLES:
        if path := os.environ.get(name):
            _check_files("ca_bundle", (path,), given_by=f" (from the environment's {name})")
            return path
    return True


def _paths(client_cert: str | tuple[str, str] | None) -> tuple[str, ...]:
    return (client_cert,) if isinstance(client_cert, str) else client_cert or ()


def _check_files(field: str, paths: Iterable[str], *, given_by: str = "") -> None:
    """Look for files here: requests would name no field, in a bare OSError at the first message."""
    for path in paths:
        if not os.path.exists(path):
            raise ConnectionConfigError(
                field, f"there is no file {path} on this machine{given_by}", "Put it there, on every worker"
            )


def _auth(endpoint: Endpoint) -> AuthBase | None:
    if endpoint.login is None:
        return None
    password = endpoint.password or ""
    if endpoint.auth == "digest":
        return _Digest(endpoint.login, password, read_timeout_s=endpoint.read_timeout_s)
    # RFC 7617: a user name outside Latin-1 goes as UTF-8; requests would encode str as Latin-1.
    return HTTPBasicAuth(endpoint.login.encode(), password.encode())


def _adapter(endpoint: Endpoint) -> HTTPAdapter:
    pool: dict[str, Any] = {
        "pool_connections": 1,
        "pool_maxsize": endpoint.max_connections,
        "pool_block": True,
        "max_retries": 0,
    }
    adapter: FreshAdapter
    if endpoint.source_address:
        adapter = FreshSourceAdapter((endpoint.source_address, 0), **pool)  # type: ignore[arg-type]  # untyped toolbelt
    else:
        adapter = FreshAdapter(**pool)
    # An exchange is over by then, and its connection free.
    adapter.pool_timeout_s = endpoint.connect_timeout_s + endpoint.read_timeout_s
    return adapter
