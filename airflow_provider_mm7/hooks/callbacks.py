"""The receiver's Airflow side: credentials from connections, bounds from ``[mm7]``, media into object storage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.hooks.confirmations import Confirmer
from airflow_provider_mm7.hooks.connection import CONN_TYPE, CallbackSettings, ConnectionLike
from airflow_provider_mm7.hooks.fields import Fields, read_extra
from airflow_provider_mm7.hooks.opt_outs import OptOutSettings, read_words
from airflow_provider_mm7.hooks.sinks import media_sink
from airflow_provider_mm7.protocol.keywords import START_KEYWORDS, STOP_KEYWORDS, Keywords
from airflow_provider_mm7.receiver import CallbackCredentials, ConsentRules, ReceiverConfig, Scope, create_app
from airflow_provider_mm7.store import Store, open_store

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger(__name__)


class AirflowCredentials:
    """Callback credentials from Airflow connections, wherever Airflow keeps them: environment, secrets backend, UI."""

    def lookup(self, conn_id: str) -> CallbackCredentials | None:
        """Return a connection's callback credentials; None when it accepts no callbacks.

        :param conn_id: connection id from the URL.
        :raises Exception: a place where connections are kept could not be asked, and no other had this one.
        """
        connection = find_connection(conn_id)
        if connection is None or connection.conn_type != CONN_TYPE:
            return None
        try:
            settings = CallbackSettings.from_connection(connection)
        except ConnectionConfigError as exc:
            # A slip in the form must close the door, not open it, and callers are not told of it.
            log.error("connection %s accepts no callbacks: %s", conn_id, exc)  # noqa: TRY400
            return None
        if settings.login is None or settings.password is None:
            return None
        _mask(settings.password)
        return CallbackCredentials(
            login=settings.login,
            password=settings.password,
            networks=settings.networks,
            consent=consent_rules(connection),
        )


def consent_rules(connection: ConnectionLike) -> ConsentRules:
    """Return how a connection reads opt-outs.

    A slip in one of these fields must not cost anybody's opt-out: the field counts as empty, and where it is not known
    what an opt-out is about, it is recorded for the connection and for the short code.

    :param connection: its Extra can be read.
    """
    conn_id = str(connection.conn_id)
    extra = Fields(conn_id, read_extra(conn_id, connection.extra))
    scopes: frozenset[Scope] = frozenset(Scope)
    words = {"stop": STOP_KEYWORDS, "start": START_KEYWORDS}
    sender = reply = None
    try:
        sender = extra.text("sender_address")
        for kind, default in tuple(words.items()):
            words[kind] = read_words(extra, f"{kind}_keywords", default)
        read = OptOutSettings.read(extra)
        scopes, reply = frozenset({Scope(read.opt_out_scope)}), read.opt_out_reply
    except ConnectionConfigError as exc:
        message = "connection %s: an opt-out holds for connection and short code until this is mended: %s"
        log.error(message, conn_id, exc)  # noqa: TRY400
    keywords = Keywords(stop=words["stop"], start=words["start"])
    return ConsentRules(keywords=keywords, scopes=scopes, sender_address=sender, confirm=reply is not None)


def find_connection(conn_id: str) -> Any | None:
    """Look a connection up as Airflow's servers do: in the environment, secrets backends and the metadata database.

    ``BaseHook.get_connection`` answers "not defined" when the database is down too; here that is an error, since a
    caller whose credentials nobody could look up must come again and not be told that they are wrong.

    :param conn_id: connection id.
    :return: the connection, or None where none has this id.
    :raises Exception: what a backend raised, when no other had the connection.
    """
    from airflow.configuration import ensure_secrets_loaded

    failure: Exception | None = None
    for backend in ensure_secrets_loaded():
        try:
            connection = backend.get_connection(conn_id=conn_id)
        except Exception as exc:
            if type(exc).__name__ == "AirflowSecretsBackendAccessDenied":
                # This backend has the last word (Airflow 3.3): no other is asked.
                return None
            failure = failure or exc
            continue
        if connection is not None:
            return connection
    if failure is not None:
        raise failure
    return None


def open_airflow_store() -> Store:
    """Open the store that ``[mm7] sql_alchemy_conn`` names."""
    return open_store(config.store_url())


def create_receiver(*, prefix: str = "") -> Starlette:
    """Return the receiver, set up by Airflow's configuration.

    :param prefix: path before ``/callback``; empty where it is mounted.
    :raises InputError: an option of ``[mm7]`` cannot be used.
    """
    return create_app(
        credentials=AirflowCredentials(),
        store=open_airflow_store,
        sink=media_sink(config.inbound_media_uri()),
        config=ReceiverConfig(
            max_body_bytes=config.max_callback_bytes(), max_concurrent=config.max_concurrent_callbacks()
        ),
        prefix=prefix,
        companions=(Confirmer(open_airflow_store),),
    )


def _mask(secret: str) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret(secret)
