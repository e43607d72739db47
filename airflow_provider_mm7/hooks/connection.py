"""An Airflow Connection of type ``mm7``, read once into typed settings."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

from airflow_provider_mm7.defaults import (
    CONNECT_TIMEOUT_S,
    DOUBTFUL_STATUSES,
    MAX_CONNECTIONS,
    MAX_MESSAGE_BYTES,
    READ_TIMEOUT_S,
)
from airflow_provider_mm7.hooks.fields import Fields, Network, read_extra
from airflow_provider_mm7.hooks.opt_outs import OptOutSettings
from airflow_provider_mm7.hooks.url import mmsc_url
from airflow_provider_mm7.protocol.messages import Address, AddressKind, SenderIdentification
from airflow_provider_mm7.protocol.parts import MM7_NAMESPACE, MM7_VERSION, SOAP_NAMESPACE, Dialect

if TYPE_CHECKING:
    from airflow_provider_mm7.protocol import Verdict
    from airflow_provider_mm7.transport.endpoint import Endpoint

log = logging.getLogger(__name__)

CONN_TYPE = "mm7"
DEFAULT_CONN_ID = "mm7_default"

#: Seconds beyond which a time-out is a slip (milliseconds given for seconds).
MAX_TIMEOUT_S = 3600.0
#: The connection's own bounds, generous: beyond them a value is a slip.
CONNECTIONS_BOUND, RECIPIENTS_BOUND, MESSAGE_BYTES_BOUND, RATE_BOUND = 1000, 10_000, 1 << 30, 1e6

AUTH = ("basic", "digest")
NUMBER_FORMATS = ("plus", "digits")
MEDIA_TYPES = ("registered", "vendor")
OVERRIDES = ("retry", "permanent")
#: Likewise on an HTTP server error without MM7: surely not accepted, or perhaps.
HTTP_OVERRIDES = ("retry", "unknown")

#: HTTP statuses have three digits, those of MM7 four.
_LAST_HTTP = 999

#: A header field name (RFC 9110 clause 5.1, ``token``).
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Headers that describe the body: they are computed, and a wrong one would corrupt the message.
_OURS = frozenset({"content-length", "content-type", "transfer-encoding", "mime-version", "connection"})
#: Below E.164's shortest number a sender is a short code; so is a name.
_NUMBER = re.compile(r"\+?[0-9]{7,15}")

#: (conn_id, key) of Extra keys that were warned of, so that a batch does not say it a thousand times.
_warned: set[tuple[str, str]] = set()


class ConnectionLike(Protocol):
    """What is read of a Connection: the Task SDK's and the metadata database's classes both have it."""

    conn_id: Any
    host: Any
    port: Any
    schema: Any
    login: Any
    password: Any
    extra: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """What the MMSC's callbacks must present.

    Read apart from the rest, so that a slip in a field of sending never turns delivery reports away.

    :ivar login: Basic user name; None where callbacks are not accepted.
    :ivar networks: where callbacks may come from; empty: anywhere.
    """

    login: str | None = None
    password: str | None = field(default=None, repr=False)
    networks: tuple[Network, ...] = ()

    @classmethod
    def from_connection(cls, conn: ConnectionLike) -> Self:
        """Read the three ``callback_*`` fields.

        :raises ConnectionConfigError: one of them is not usable, or only one of login and password is given.
        """
        conn_id = str(conn.conn_id)
        return cls._read(Fields(conn_id, read_extra(conn_id, conn.extra)))

    @classmethod
    def _read(cls, extra: Fields) -> Self:
        login, password = extra.text("callback_login"), extra.secret("callback_password")
        if (login is None) != (password is None):
            missing = "callback_login" if login is None else "callback_password"
            raise extra.error(missing, "is empty while its twin is not", "Give both, or neither to accept no callbacks")
        if login is not None and ":" in login:
            raise extra.error(
                "callback_login", "holds a colon, which Basic credentials cannot", "Choose a login without one"
            )
        return cls(login=login, password=password, networks=extra.networks("callback_networks"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Every field of the connection form, typed and checked. Secrets stay out of its repr.

    The names are those of the form; see the connection's documentation for their meaning.

    :ivar url: the MMSC's absolute URL, from host, port and schema.
    :ivar rate_per_s: submissions per second over all tasks and workers; None: no bound.
    :ivar client_cert: path of a PEM file with certificate and key, or a (certificate, key) pair.
    :ivar headers: extra HTTP headers; their values are secrets.
    :ivar max_message_bytes: bytes of a whole encoded message.
    :ivar status_overrides: status code -> ``retry`` or ``permanent``; HTTP server error -> ``retry`` or ``unknown``.
    """

    conn_id: str
    url: str
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    vaspid: str | None = None
    vasid: str | None = None
    sender_address: str | None = None
    service_code: str | None = None
    mm7_version: str = MM7_VERSION
    namespace: str = MM7_NAMESPACE
    soap_namespace: str = SOAP_NAMESPACE
    auth: str = AUTH[0]
    number_format: str = NUMBER_FORMATS[0]
    strict_numbers: bool = False
    recipients_per_request: int = 1
    rate_per_s: float | None = None
    max_connections: int = MAX_CONNECTIONS
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    read_timeout_s: float = READ_TIMEOUT_S
    verify: bool = True
    ca_bundle: str | None = None
    client_cert: str | tuple[str, str] | None = None
    source_address: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    max_message_bytes: int = MAX_MESSAGE_BYTES
    media_types: str = MEDIA_TYPES[0]
    status_overrides: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    callback_login: str | None = None
    callback_password: str | None = field(default=None, repr=False)
    callback_networks: tuple[Network, ...] = ()
    opt_out_scope: str = OptOutSettings().opt_out_scope
    stop_keywords: frozenset[str] = OptOutSettings().stop_keywords
    start_keywords: frozenset[str] = OptOutSettings().start_keywords
    opt_out_reply: str | None = None

    @classmethod
    def from_connection(cls, conn: ConnectionLike) -> Self:
        """Read a connection.

        :param conn: an Airflow Connection.
        :raises ConnectionConfigError: naming the field, the problem and a remedy.
        """
        conn_id = str(conn.conn_id)
        values = read_extra(conn_id, conn.extra)
        _warn_of_unknown(conn_id, values)
        extra = Fields(conn_id, values)
        auth, login = extra.choice("auth", AUTH), conn.login or None
        if login is None and auth == "digest":
            raise extra.error("login", "is empty, and digest authentication needs one", "Give login and password")
        if login is not None and auth == "basic" and ":" in login:
            # RFC 7617 clause 2: the user-id may not hold a colon.
            raise extra.error("login", "holds a colon, which Basic credentials cannot", "Check the login")
        callback = CallbackSettings._read(extra)
        opt_outs = OptOutSettings.read(extra)
        return cls(
            conn_id=conn_id,
            url=mmsc_url(extra, host=conn.host, port=conn.port, schema=conn.schema),
            login=login,
            password=(conn.password or "") if login is not None else None,
            vaspid=extra.text("vaspid"),
            vasid=extra.text("vasid"),
            sender_address=extra.text("sender_address"),
            service_code=extra.text("service_code"),
            mm7_version=extra.text("mm7_version") or MM7_VERSION,
            namespace=extra.uri("namespace", MM7_NAMESPACE),
            soap_namespace=extra.uri("soap_namespace", SOAP_NAMESPACE),
            auth=auth,
            number_format=extra.choice("number_format", NUMBER_FORMATS),
            strict_numbers=extra.boolean("strict_numbers", default=False),
            recipients_per_request=extra.integer("recipients_per_request", 1, most=RECIPIENTS_BOUND),
            rate_per_s=extra.positive("rate_per_s", most=RATE_BOUND),
            max_connections=extra.integer("max_connections", MAX_CONNECTIONS, most=CONNECTIONS_BOUND),
            connect_timeout_s=extra.seconds("connect_timeout_s", CONNECT_TIMEOUT_S, most=MAX_TIMEOUT_S),
            read_timeout_s=extra.seconds("read_timeout_s", READ_TIMEOUT_S, most=MAX_TIMEOUT_S),
            verify=extra.boolean("verify", default=True),
            ca_bundle=extra.text("ca_bundle"),
            client_cert=_client_cert(extra),
            source_address=_source_address(extra),
            headers=_headers(extra),
            max_message_bytes=extra.integer("max_message_bytes", MAX_MESSAGE_BYTES, most=MESSAGE_BYTES_BOUND),
            media_types=extra.choice("media_types", MEDIA_TYPES),
            status_overrides=_status_overrides(extra),
            callback_login=callback.login,
            callback_password=callback.password,
            callback_networks=callback.networks,
            opt_out_scope=opt_outs.opt_out_scope,
            stop_keywords=opt_outs.stop_keywords,
            start_keywords=opt_outs.start_keywords,
            opt_out_reply=opt_outs.opt_out_reply,
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where and how to post."""
        # Imported here: the receiver reads connections too, and needs no HTTP client for it.
        from airflow_provider_mm7.transport.endpoint import Endpoint

        return Endpoint(**{item.name: getattr(self, item.name) for item in fields(Endpoint)})

    @property
    def dialect(self) -> Dialect:
        """Which spelling of MM7 the MMSC speaks."""
        return Dialect(soap_namespace=self.soap_namespace, mm7_namespace=self.namespace, mm7_version=self.mm7_version)

    @property
    def verdicts(self) -> Mapping[int, Verdict]:
        """The status overrides as :func:`airflow_provider_mm7.protocol.verdict` takes them."""
        from airflow_provider_mm7.protocol import Verdict

        return {code: Verdict[word.upper()] for code, word in self.status_overrides.items() if code > _LAST_HTTP}

    @property
    def doubtful_statuses(self) -> frozenset[int]:
        """HTTP server errors after which the MMSC may have the message."""
        http = {code: word == "unknown" for code, word in self.status_overrides.items() if code <= _LAST_HTTP}
        return DOUBTFUL_STATUSES - http.keys() | {code for code, doubtful in http.items() if doubtful}

    @property
    def sender_identification(self) -> SenderIdentification:
        """Who sends, in every request that does not say so itself."""
        return SenderIdentification(
            vasp_id=self.vaspid,
            vas_id=self.vasid,
            sender_address=None if self.sender_address is None else _sender(self.sender_address),
        )

    @property
    def honoured_scope(self) -> str:
        """Whose opt-outs are honoured by what is sent, as the store names it."""
        from airflow_provider_mm7.store import connection_scope, short_code_scope

        if self.opt_out_scope == "short_code" and self.sender_address is not None:
            return short_code_scope(self.sender_address)
        return connection_scope(self.conn_id)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be logged."""
        return tuple(value for value in (self.password, self.callback_password, *self.headers.values()) if value)


#: Keys of Extra: every field but those that Airflow keeps in columns of its own.
EXTRA_KEYS = frozenset(item.name for item in fields(ConnectionSettings)) - {"conn_id", "url", "login", "password"}


def _sender(text: str) -> Address:
    if "@" in text:
        kind = AddressKind.RFC2822
    else:
        kind = AddressKind.NUMBER if _NUMBER.fullmatch(text) else AddressKind.SHORT_CODE
    return Address(value=text, kind=kind)


def _client_cert(extra: Fields) -> str | tuple[str, str] | None:
    match extra.items("client_cert"):
        case ():
            return None
        case (both,):
            return both
        case (certificate, key):
            return certificate, key
    raise extra.error("client_cert", "names more than two files", "Give one PEM file, or certificate and key")


def _source_address(extra: Fields) -> str | None:
    text = extra.text("source_address")
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise extra.error(
            "source_address", f"{text!r} is not an IP address", "Give an address of this machine"
        ) from None


def _headers(extra: Fields) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in extra.json_object("headers", '{"X-Api-Key": "..."}').items():
        if not _TOKEN.fullmatch(name):
            raise extra.error("headers", "a name is not an HTTP header name", "Use letters, digits and hyphens")
        if name.lower() in _OURS:
            raise extra.error("headers", f"{name} describes the body and is computed", "Leave it out")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise extra.error("headers", f"the value of {name} is not text", "Give text")
        text = str(value).strip()
        # RFC 9110 clause 5.5; a line break would begin another header.
        if not text.isascii() or not text.isprintable():
            raise extra.error(
                "headers", f"the value of {name} is not printable ASCII", "Remove line breaks and the like"
            )
        headers[name] = text
    return MappingProxyType(headers)


def _status_overrides(extra: Fields) -> Mapping[int, str]:
    overrides: dict[int, str] = {}
    for code, verdict in extra.json_object("status_overrides", '{"3001": "retry"}').items():
        if not re.fullmatch(r"[0-9]{4}|5[0-9]{2}", code):
            raise extra.error(
                "status_overrides", f"{code[:20]!r} is not a status code", "Give four digits, or 500 to 599 for HTTP's"
            )
        if code.startswith("1"):
            raise extra.error("status_overrides", f"{code} is a success", "Only errors can be judged otherwise")
        words = OVERRIDES if int(code) > _LAST_HTTP else HTTP_OVERRIDES
        if not isinstance(verdict, str) or verdict.strip().lower() not in words:
            raise extra.error(
                "status_overrides", f"the verdict on {code} is unknown", f"Give one of: {', '.join(words)}"
            )
        overrides[int(code)] = verdict.strip().lower()
    return MappingProxyType(overrides)


def _warn_of_unknown(conn_id: str, values: Mapping[str, Any]) -> None:
    unknown = [key for key in values if key not in EXTRA_KEYS and (conn_id, key) not in _warned]
    if unknown:
        _warned.update((conn_id, key) for key in unknown)
        log.warning("Connection %r has Extra fields that mm7 does not know: %s", conn_id, ", ".join(sorted(unknown)))
