"""Where an MMSC is and how it wants to be spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from airflow_provider_mm7.defaults import CONNECT_TIMEOUT_S, DOUBTFUL_STATUSES, MAX_CONNECTIONS, READ_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An MMSC's URL, credentials and connection settings.

    :ivar url: absolute ``http://`` or ``https://`` URL that takes the POST.
    :ivar auth: ``basic`` or ``digest``.
    :ivar connect_timeout_s: seconds.
    :ivar read_timeout_s: seconds, also the bound for the whole answer.
    :ivar verify: whether the server's certificate is checked.
    :ivar ca_bundle: path of a PEM file; None: the environment's, then certifi's.
    :ivar client_cert: path of a PEM file with certificate and key, or a (certificate, key) pair.
    :ivar source_address: local address to send from, where the MMSC allows only listed ones.
    :ivar headers: extra HTTP headers; their values are secrets.
    :ivar max_connections: size of the connection pool.
    :ivar doubtful_statuses: HTTP errors after which the MMSC may have the message, where no MM7 comes with them.
    """

    url: str
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: str = "basic"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    verify: bool = True
    ca_bundle: str | None = None
    client_cert: str | tuple[str, str] | None = None
    source_address: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    max_connections: int = MAX_CONNECTIONS
    doubtful_statuses: frozenset[int] = DOUBTFUL_STATUSES
