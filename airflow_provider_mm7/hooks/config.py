"""The ``[mm7]`` section of Airflow's configuration, read when it is asked for.

Nothing is read at import time: a DAG file's import must not touch secrets backends, and a test may set an environment
variable after it.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow_provider_mm7.exceptions import InputError

SECTION = "mm7"

#: Where the ledger is kept: one file beside Airflow's own, right for one machine.
DEFAULT_STORE_URL = "sqlite:///{AIRFLOW_HOME}/mm7.db"
#: Where pictures from handsets are kept; an object store in production.
DEFAULT_INBOUND_MEDIA_URI = "file://{AIRFLOW_HOME}/mm7/inbound"
#: Where copies of the media that are sent are kept, for people to look at.
DEFAULT_SENT_MEDIA_URI = "file://{AIRFLOW_HOME}/mm7/sent"
#: Bytes of a callback: carriers allow messages of about 1 MB, base64 adds a third, a few handsets send several parts.
DEFAULT_MAX_CALLBACK_BYTES = 10 * 1024 * 1024
#: Callbacks worked on at one time; more are asked to come again. Each holds its body in memory.
DEFAULT_MAX_CONCURRENT_CALLBACKS = 32


def store_url() -> str:
    """Return ``[mm7] sql_alchemy_conn``, the SQLAlchemy URL of the ledger. It may hold a password: do not log it."""
    return _text("sql_alchemy_conn", DEFAULT_STORE_URL)


def inbound_media_uri() -> str:
    """Return ``[mm7] inbound_media_uri``, the folder for media from handsets, without a final slash."""
    return _folder(_text("inbound_media_uri", DEFAULT_INBOUND_MEDIA_URI))


def sent_media_uri() -> str | None:
    """Return ``[mm7] sent_media_uri``, the folder for copies of sent media, without a final slash; None: not kept."""
    value = _folder(_given("sent_media_uri", DEFAULT_SENT_MEDIA_URI))
    return None if value.lower() in ("", "none") else value


def max_callback_bytes() -> int:
    """Return ``[mm7] max_callback_bytes``: bytes; a larger callback is answered 413."""
    return _positive("max_callback_bytes", DEFAULT_MAX_CALLBACK_BYTES)


def max_concurrent_callbacks() -> int:
    """Return ``[mm7] max_concurrent_callbacks``: more at one time are answered 503."""
    return _positive("max_concurrent_callbacks", DEFAULT_MAX_CONCURRENT_CALLBACKS)


def airflow_home() -> Path:
    """Return AIRFLOW_HOME as Airflow resolves it: the environment variable, else ``~/airflow``."""
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser()


def _text(option: str, default: str) -> str:
    return _given(option, default) or _at_home(default)


def _given(option: str, default: str) -> str:
    # Airflow is imported here and not above, so that describing the options costs nothing.
    from airflow.providers.common.compat.sdk import conf

    # The fallback holds where the package is on the path but not installed, so that no metadata gives a default.
    return _at_home(str(conf.get(SECTION, option, fallback=default) or "").strip())


def _at_home(value: str) -> str:
    return value.replace("{AIRFLOW_HOME}", str(airflow_home()))


def _folder(uri: str) -> str:
    # The slashes of a scheme stay: without them it would be a path.
    scheme, separator, path = uri.rpartition("://")
    return scheme + separator + path.rstrip("/")


def _positive(option: str, default: int) -> int:
    text = _text(option, str(default))
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise InputError(
            f"[{SECTION}] {option}", f"{text!r} is not a whole number above 0", f"The default is {default}"
        )
    return value
