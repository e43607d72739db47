"""``MM7_*`` environment variables of the stand-alone receiver. No Airflow, no configuration file.

======================================  ================================================================================
variable                                meaning (default)
======================================  ================================================================================
``MM7_SQL_ALCHEMY_CONN``                SQLAlchemy URL of the store, SQLite or PostgreSQL; required
``MM7_CALLBACK_LOGIN``                  user name for ``/mm7/callback`` and ``/mm7/callback/mm7_default``
``MM7_CALLBACK_PASSWORD``               its password
``MM7_CALLBACK_NETWORKS``               CIDRs that callbacks may come from, JSON list or comma-separated (anywhere)
``MM7_OPT_OUT_SCOPE``                   what an opt-out is about, ``connection`` or ``short_code``: as the senders'
                                        connection says (``connection``)
``MM7_STOP_KEYWORDS``                   words that end messages, separated by commas; with a ``+`` in front they are
                                        added to the default, ``none`` turns it off
``MM7_START_KEYWORDS``                  words that take it back, likewise
``MM7_SENDER_ADDRESS``                  the short code; needed for ``short_code``
``MM7_CALLBACK_LOGIN__<CONN_ID>``       the same for ``/mm7/callback/<conn_id>``, each of them: the id in capitals here,
``MM7_CALLBACK_PASSWORD__<CONN_ID>``    in small letters in the URL
(and so on)
``MM7_INBOUND_MEDIA_URI``               folder for inbound media, a path or ``file://`` (``mm7_inbound`` beside the
                                        SQLite file, else in the working directory)
``MM7_HOST``, ``MM7_PORT``              address to listen on (127.0.0.1, 8080)
``MM7_MAX_CALLBACK_BYTES``              a longer body is answered 413 (10485760)
``MM7_MAX_CONCURRENT_CALLBACKS``        more at once are answered 503 (32)
======================================  ================================================================================

Behind a reverse proxy, uvicorn's own ``FORWARDED_ALLOW_IPS`` says whose ``X-Forwarded-For`` is believed (127.0.0.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol.keywords import START_KEYWORDS, STOP_KEYWORDS, Keywords, parse_keywords
from airflow_provider_mm7.receiver.app import DEFAULT_CONN_ID
from airflow_provider_mm7.receiver.config import MAX_BODY_BYTES, MAX_CONCURRENT, ReceiverConfig
from airflow_provider_mm7.receiver.consent import ConsentRules, Scope, parse_scope
from airflow_provider_mm7.receiver.credentials import CallbackCredentials, parse_networks

#: Loopback: a receiver is put behind something that speaks TLS, or told deliberately to listen elsewhere.
HOST = "127.0.0.1"
PORT = 8080

_LOGIN, _PASSWORD, _NETWORKS = "MM7_CALLBACK_LOGIN", "MM7_CALLBACK_PASSWORD", "MM7_CALLBACK_NETWORKS"
_SCOPE, _STOP, _START = "MM7_OPT_OUT_SCOPE", "MM7_STOP_KEYWORDS", "MM7_START_KEYWORDS"
_SENDER = "MM7_SENDER_ADDRESS"
#: Variables of one connection.
_STEMS = (_LOGIN, _PASSWORD, _NETWORKS, _SCOPE, _STOP, _START, _SENDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says.

    :ivar store_url: SQLAlchemy URL; may hold a password.
    :ivar media_folder: where inbound media go.
    :ivar credentials: of each connection id.
    """

    store_url: str = field(repr=False)
    media_folder: Path
    credentials: Mapping[str, CallbackCredentials]
    host: str
    port: int
    config: ReceiverConfig

    def lookup(self, conn_id: str) -> CallbackCredentials | None:
        """Return a connection's credentials (:class:`~airflow_provider_mm7.receiver.CredentialSource`).

        :param conn_id: connection id from the URL.
        """
        return self.credentials.get(conn_id)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the environment variables.

    :param environ: ``os.environ``.
    :raises InputError: a variable is missing or cannot be used.
    """
    store_url = environ.get("MM7_SQL_ALCHEMY_CONN", "").strip()
    if not store_url:
        raise InputError("MM7_SQL_ALCHEMY_CONN", "it is not set", "Name the store, as in sqlite:////var/lib/mm7/mm7.db")
    return Settings(
        store_url=store_url,
        media_folder=_media_folder(environ.get("MM7_INBOUND_MEDIA_URI", "").strip(), store_url),
        credentials=_credentials(environ),
        host=environ.get("MM7_HOST", "").strip() or HOST,
        port=_number(environ, "MM7_PORT", PORT, least=0, most=65535),
        config=ReceiverConfig(
            max_body_bytes=_number(environ, "MM7_MAX_CALLBACK_BYTES", MAX_BODY_BYTES, least=1, most=2**31),
            max_concurrent=_number(environ, "MM7_MAX_CONCURRENT_CALLBACKS", MAX_CONCURRENT, least=1, most=10_000),
        ),
    )


def _credentials(environ: Mapping[str, str]) -> dict[str, CallbackCredentials]:
    suffixes = {
        name.removeprefix(stem) for name in environ for stem in _STEMS if name == stem or name.startswith(f"{stem}__")
    }
    found: dict[str, CallbackCredentials] = {}
    for suffix in sorted(suffixes):
        conn_id = suffix.removeprefix("__").lower() or DEFAULT_CONN_ID
        login, password = environ.get(_LOGIN + suffix, ""), environ.get(_PASSWORD + suffix, "")
        for name, value in ((_LOGIN + suffix, login), (_PASSWORD + suffix, password)):
            if not value:
                raise InputError(name, "it is not set or empty", "Give a login and a password for each connection")
        if ":" in login:
            raise InputError(_LOGIN + suffix, "a user name holds no colon (RFC 7617)", "Choose another")
        if conn_id in found:
            raise InputError(_LOGIN + suffix, f"{conn_id} is configured twice", "Keep one of the two")
        networks = parse_networks(environ.get(_NETWORKS + suffix), field=_NETWORKS + suffix)
        found[conn_id] = CallbackCredentials(
            login=login, password=password, networks=networks, consent=_consent(environ, suffix)
        )
    if not found:
        raise InputError(
            _LOGIN, "no credentials are configured, so every callback would be refused", f"Set it and {_PASSWORD}"
        )
    return found


def _consent(environ: Mapping[str, str], suffix: str) -> ConsentRules:
    scope = parse_scope(environ.get(_SCOPE + suffix), field=_SCOPE + suffix)
    sender = environ.get(_SENDER + suffix, "").strip() or None
    if scope is Scope.SHORT_CODE and sender is None:
        raise InputError(_SENDER + suffix, "it is not set", f"{_SCOPE + suffix} short_code needs it")
    words = {
        kind: parse_keywords(environ.get(stem + suffix), default, field=stem + suffix)
        for kind, stem, default in (("stop", _STOP, STOP_KEYWORDS), ("start", _START, START_KEYWORDS))
    }
    # Whether it is confirmed, the connection says, which whoever confirms it can read.
    return ConsentRules(keywords=Keywords(**words), scopes=frozenset({scope}), sender_address=sender)


def _media_folder(uri: str, store_url: str) -> Path:
    if not uri:
        scheme, _, database = store_url.partition(":///")
        beside = Path(database.partition("?")[0]).parent if scheme.startswith("sqlite") else Path()
        return (beside / "mm7_inbound").absolute()
    if "://" not in uri and not uri.startswith("file:"):
        return Path(uri).absolute()
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InputError(
            "MM7_INBOUND_MEDIA_URI",
            "it is neither a path nor file:///...",
            "Object stores are reached by `airflow mm7 receiver`",
        )
    return Path(unquote(parts.path))


def _number(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise InputError(name, f"{text[:32]!r} is not a number from {least} to {most}", f"The default is {default}")
    return int(text)
