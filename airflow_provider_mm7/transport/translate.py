"""requests' and urllib3's errors as ours: the one place where they are told apart."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
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
from airflow_provider_mm7.transport.wire import HandshakeRefused

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
    if isinstance(error, requests.exceptions.ProxyError) or _any(causes, ProxyError):
        return ConnectFailed(_proxy_problem(endpoint, place, causes))
    if isinstance(error, requests.exceptions.SSLError) or _any(causes, ssl.SSLError) or _any(causes, SSLError):
        return TlsFailed(f"TLS with {place} failed: {tls_problem(causes)}")
    if _any(causes, ConnectionRefusedError):
        return ConnectFailed(f"{place} refused the connection; check host and port")
    if _errno(causes) == errno.EADDRNOTAVAIL and endpoint.source_address:
        return ConnectFailed(f"this machine does not have the address {endpoint.source_address}; check source_address")
    if _errno(causes) in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return ConnectFailed(f"this machine has no route to {place}; check host and network")
    # urllib3 derives NewConnectionError from ConnectTimeoutError, so it is asked for first.
    if _any(causes, NewConnectionError) and _errno(causes) != errno.ETIMEDOUT:
        return ConnectFailed(f"no connection to {place} could be made")
    if isinstance(error, requests.ConnectTimeout) or _any(causes, ConnectTimeoutError):
        return ConnectFailed(
            f"{place} did not answer within {endpoint.connect_timeout_s:g} s; check host and port, and whether a "
            "firewall or the carrier's allow list lets this machine in"
        )
    if _any(causes, EmptyPoolError):
        return NotSent(f"none of the connections to {place} became free in time; check max_connections")
    return NotSent(f"the connection to {place} was lost before the request was whole")


def handshake_refused(error: BaseException) -> bool:
    """Whether the server refused the handshake of the very connection, and so read nothing of what came after it."""
    return _any(tuple(_chain(error)), HandshakeRefused)


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


def _errno(causes: tuple[BaseException, ...]) -> int | None:
    return next((one.errno for one in causes if isinstance(one, OSError) and one.errno), None)


def _proxy_problem(endpoint: Endpoint, place: str, causes: tuple[BaseException, ...]) -> str:
    """What is the matter with the proxy: named by host and port, never by its credentials."""
    proxy = select_proxy(endpoint.url, get_environ_proxies(endpoint.url))
    name = f"the proxy {_place(proxy if '://' in proxy else f'http://{proxy}')}" if proxy else "the proxy"
    # http.client says what a proxy answered to CONNECT in the text of a bare OSError alone.
    said = next((match for one in causes if (match := _TUNNEL.search(str(one)))), None)
    if said is None:
        return f"{name} on the way to {place} cannot be used; check HTTPS_PROXY, or name the host in NO_PROXY"
    if said[1] == "407":
        return f"{name} on the way to {place} wants credentials (HTTP 407); put them into HTTPS_PROXY"
    return f"{name} does not let through to {place} (HTTP {said[1]}); ask who runs it, or name the host in NO_PROXY"


#: OpenSSL's X509_V_ERR_* codes (x509_vfy.h), and what a person can do.
_UNTRUSTED = {
    **dict.fromkeys(
        (18, 19), "its certificate is self-signed; give that certificate, or its authority's, as ca_bundle"
    ),
    **dict.fromkeys(
        (2, 20, 21), "its certificate comes from an authority that is not known here; give the authority's as ca_bundle"
    ),
    10: "its certificate has expired; the carrier must renew it (or this machine's clock is wrong)",
    9: "its certificate is not valid yet; check this machine's clock",
    **dict.fromkeys((62, 64), "its certificate is for another name; check the host"),
}
#: OpenSSL's reasons, by what they begin with or hold.
_HANDSHAKE = (
    (
        re.compile("WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG"),
        "the port does not speak TLS; check the port, or begin the host with http://",
    ),
    (
        re.compile("PEM|NO_START_LINE|NO_CERTIFICATE_OR_CRL|KEY_VALUES_MISMATCH|BAD_BASE64"),
        "a file of ours holds no usable certificate and key; check ca_bundle and client_cert",
    ),
    (
        re.compile("ALERT.*(CERTIFICATE|HANDSHAKE_FAILURE|UNKNOWN_CA|ACCESS_DENIED)"),
        "the MMSC does not take our certificate, or wants one; check client_cert",
    ),
)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def tls_problem(causes: tuple[BaseException, ...]) -> str:
    """What is the matter with TLS, and what to do.

    :param causes: the error and all that it wraps.
    """
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            told = cause.verify_message or "the certificate is not trusted"
            return _UNTRUSTED.get(cause.verify_code, f"{told}; check verify, ca_bundle and client_cert")
    for cause in causes:
        if not isinstance(cause, ssl.SSLError):
            continue
        # What cannot be read from a PEM file has no reason, only a text.
        known = next((words for pattern, words in _HANDSHAKE if pattern.search(cause.reason or str(cause))), None)
        if known or cause.reason:
            return known or f"{cause.reason.lower().replace('_', ' ')}; check verify, ca_bundle and client_cert"
    return "the handshake did not complete; check verify, ca_bundle and client_cert"
