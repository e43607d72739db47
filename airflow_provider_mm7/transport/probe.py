"""Is the MMSC there, and does it take the credentials? Sends nothing to anyone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import ProtocolError

from airflow_provider_mm7 import __version__
from airflow_provider_mm7.exceptions import (
    ConnectFailed,
    ConnectionConfigError,
    NameResolutionFailed,
    NotSent,
    TlsFailed,
)
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.session import open_session
from airflow_provider_mm7.transport.translate import not_sent

#: Bytes of an answer in which a web page would show.
_SNIFFED_BYTES = 512
_WEB_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
#: What a proxy or load balancer says for a server that is away.
_AWAY = frozenset({502, 503, 504})


class Reach(StrEnum):
    """How far a probe came."""

    CONFIG = "config"
    DNS = "dns"
    REFUSED = "refused"
    TLS = "tls"
    LOST = "lost"
    DENIED = "denied"
    PROXY = "proxy"
    AWAY = "away"
    PATH = "path"
    NOT_MM7 = "not-mm7"
    REACHED = "reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Outcome of a probe.

    :ivar reach: how far it came; only ``reached`` is a success.
    :ivar text: one sentence for a person.
    :ivar http_status: of the answer, where there was one.
    """

    reach: Reach
    text: str
    http_status: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the MMSC was reached and did not refuse the credentials."""
        return self.reach is Reach.REACHED


_REACH_OF_ERROR: dict[type[Exception], Reach] = {
    NameResolutionFailed: Reach.DNS,
    ConnectFailed: Reach.REFUSED,
    TlsFailed: Reach.TLS,
    ConnectionConfigError: Reach.CONFIG,
    NotSent: Reach.LOST,
}


def probe(endpoint: Endpoint) -> ProbeResult:
    """GET the MMSC's URL with the credentials; MM7 itself only knows POST, so nothing can be submitted by this.

    :raises ConnectionConfigError: a file that the connection names is not on this machine.
    """
    with open_session(endpoint, version=__version__) as session:
        try:
            with session.get(
                endpoint.url,
                timeout=(endpoint.connect_timeout_s, endpoint.read_timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                return _judge(response, endpoint)
        except requests.ReadTimeout:
            return ProbeResult(
                reach=Reach.LOST, text=f"connected, but no answer to a GET within {endpoint.read_timeout_s:g} s"
            )
        except (requests.RequestException, OSError) as exc:
            error = not_sent(exc, endpoint)
            reach = _REACH_OF_ERROR[type(error)]
            return ProbeResult(reach=reach, text=_silence(exc) if reach is Reach.LOST else str(error))
        except UnicodeError:
            # Its text quotes what cannot be sent, which may be a secret.
            return ProbeResult(
                reach=Reach.CONFIG, text="a header or the login cannot be sent; use characters of Latin-1"
            )


def _silence(error: Exception) -> str:
    """Connected, and no HTTP answer came."""
    # http.client's BadStatusLine, which urllib3 wraps; RemoteDisconnected is one too, and means the empty answer.
    if any(isinstance(one, ProtocolError) and "BadStatusLine" in repr(one) for one in error.args):
        return "connected, but what answers does not speak HTTP; check host and port"
    return "connected, but the connection was closed without an answer; check host and port"


def _judge(response: requests.Response, endpoint: Endpoint) -> ProbeResult:
    """What an HTTP answer to a GET says."""
    status = response.status_code
    reach, text = _judge_status(response, endpoint) or (None, "")
    if reach is None and status // 100 == 2 and _is_web_page(response):
        reach = Reach.NOT_MM7
        text = (
            f"not an MM7 server: it answers with a web page (HTTP {status}). Check host and path; a portal or the "
            "login page of a network may also have answered in place of the MMSC"
        )
    if reach is None:
        bare = "" if endpoint.login else "; no login is given, so none was presented"
        reach, text = Reach.REACHED, f"reached, not refused (HTTP {status} to a GET){bare}"
    return ProbeResult(reach=reach, text=text, http_status=status)


def _judge_status(response: requests.Response, endpoint: Endpoint) -> tuple[Reach, str] | None:
    status, path = response.status_code, urlsplit(endpoint.url).path or "/"
    if status in (401, 403):
        return Reach.DENIED, (
            f"HTTP {status}: credentials or IP allow list: the MMSC does not accept login and password, "
            f"or this machine's address is not on its list{_other_scheme(response, endpoint)}"
        )
    if status == 407:
        return Reach.PROXY, "HTTP 407: the proxy on the way wants credentials; put them into HTTP_PROXY or HTTPS_PROXY"
    if status in (404, 410):
        return Reach.PATH, (
            f"HTTP {status}: the server is there, and has nothing at the path {path}. Check the path of the URL "
            "(few MMSCs answer so to everything but a POST)"
        )
    if status in _AWAY:
        return (
            Reach.AWAY,
            f"HTTP {status}: a proxy or load balancer answers that the MMSC is not there; try again later",
        )
    if status // 100 == 3:
        return Reach.PATH, (
            f"HTTP {status}: this address leads on{_onward(response, endpoint)}; messages do not follow, "
            "so give the address where the MMSC itself is"
        )
    return None


def _other_scheme(response: requests.Response, endpoint: Endpoint) -> str:
    """A hint where the MMSC asks for another kind of authentication than the connection's."""
    asked = response.headers.get("WWW-Authenticate", "").lower()
    schemes = {name for name in ("basic", "digest") if re.search(rf"(?:^|,\s*){name}\b", asked)}
    if schemes and endpoint.auth not in schemes:
        return f". It asks for {' or '.join(sorted(schemes))}: set Authentication (auth) to that"
    return "" if endpoint.login else ". No login is given"


def _onward(response: requests.Response, endpoint: Endpoint) -> str:
    """Where a redirect leads: scheme, host and path; a query may hold what is nobody's business."""
    try:
        parts = urlsplit(urljoin(endpoint.url, response.headers.get("Location", "")))
        shown = f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return ""
    return f" to {shown}" if len(shown) <= 200 and shown.isprintable() and response.headers.get("Location") else ""


def _is_web_page(response: requests.Response) -> bool:
    if "html" in response.headers.get("Content-Type", "").lower():
        return True
    try:
        start = next(response.iter_content(_SNIFFED_BYTES), b"")
    except requests.RequestException:
        return False
    return _WEB_PAGE.match(start) is not None
