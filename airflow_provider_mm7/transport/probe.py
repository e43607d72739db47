"""Is the MMSC there, and does it take the credentials? Sends nothing to anyone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import requests

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


class Reach(StrEnum):
    """How far a probe came."""

    CONFIG = "config"
    DNS = "dns"
    REFUSED = "refused"
    TLS = "tls"
    LOST = "lost"
    DENIED = "denied"
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
    """GET the MMSC's URL with the credentials; MM7 itself only knows POST, so nothing can be submitted by this."""
    with open_session(endpoint, version=__version__) as session:
        try:
            with session.get(
                endpoint.url,
                timeout=(endpoint.connect_timeout_s, endpoint.read_timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                status = response.status_code
        except requests.ReadTimeout:
            return ProbeResult(
                reach=Reach.LOST, text=f"connected, but no answer to a GET within {endpoint.read_timeout_s:g} s"
            )
        except requests.RequestException as exc:
            error = not_sent(exc, endpoint)
            return ProbeResult(reach=_REACH_OF_ERROR[type(error)], text=str(error))
    if status in (401, 403):
        return ProbeResult(
            reach=Reach.DENIED,
            http_status=status,
            text=f"HTTP {status}: credentials or IP allow list: the MMSC does not accept login and password, "
            "or this machine's address is not on its list",
        )
    return ProbeResult(reach=Reach.REACHED, http_status=status, text=f"reached, not refused (HTTP {status} to a GET)")
