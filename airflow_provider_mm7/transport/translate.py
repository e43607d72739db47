"""requests' and urllib3's errors as ours: the one place where they are told apart."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from airflow_provider_mm7.exceptions import (
    ConnectFailed,
    ConnectionConfigError,
    NameResolutionFailed,
    NotSent,
    TlsFailed,
)
from airflow_provider_mm7.transport.endpoint import Endpoint

_UNUSABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    InvalidHeader,
    LocationValueError,
)


def not_sent(
    error: requests.RequestException | HTTPError | OSError, endpoint: Endpoint
) -> NotSent | ConnectionConfigError:
    """Name the reason why a request did not leave whole.

    :param error: raised before the last byte of the body was handed to the socket.
    :return: the error to raise; its text names host and port, never credentials.
    """
    if isinstance(error, _UNUSABLE):
        return ConnectionConfigError(
            "host", f"the URL or a header cannot be used ({type(error).__name__})", "Check host, port and headers"
        )
    place = _place(endpoint.url)
    causes = tuple(_chain(error))
    if _any(causes, NameResolutionError):
        return NameResolutionFailed(
            f"the host name of {place} does not resolve; check the connection's host and the resolver"
        )
    if isinstance(error, requests.exceptions.SSLError) or _any(causes, ssl.SSLError) or _any(causes, SSLError):
        return TlsFailed(f"TLS with {place} failed: {_tls_reason(causes)}; check verify, ca_bundle and client_cert")
    if isinstance(error, requests.exceptions.ProxyError) or _any(causes, ProxyError):
        return ConnectFailed(f"the proxy on the way to {place} cannot be used; check HTTPS_PROXY")
    if _any(causes, ConnectionRefusedError):
        return ConnectFailed(f"{place} refused the connection; check host and port")
    if isinstance(error, requests.ConnectTimeout) or _any(causes, ConnectTimeoutError):
        return ConnectFailed(f"{place} did not answer within {endpoint.connect_timeout_s:g} s")
    if _any(causes, NewConnectionError):
        return ConnectFailed(f"no connection to {place} could be made")
    return NotSent(f"the connection to {place} was lost before the request was whole")


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all it wraps: ``reason`` (urllib3), ``args`` (requests), ``__cause__``, ``__context__``."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        todo += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]


def _any(causes: tuple[BaseException, ...], kind: type[BaseException]) -> bool:
    return any(isinstance(cause, kind) for cause in causes)


def _tls_reason(causes: tuple[BaseException, ...]) -> str:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or "the certificate is not trusted"
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.lower().replace("_", " ")
    return "the handshake did not complete"
