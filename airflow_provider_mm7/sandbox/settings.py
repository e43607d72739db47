"""What the sandbox can be told, as one table: command line, Airflow's command line and Python share it."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from airflow_provider_mm7.defaults import MAX_MESSAGE_BYTES

#: Bytes of a whole HTTP body. Longer ones are not read at all (HTTP 413); between the two limits a body is read and
#: refused with status 2004.
HARD_BODY_LIMIT_BYTES = 64 * 1024 * 1024


def _option(default: Any, description: str, *, choices: tuple[str, ...] = (), metavar: str | None = None) -> Any:
    metadata = {"help": description, "choices": choices or None, "metavar": metavar}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. The defaults make a sandbox that works on a laptop as it stands."""

    host: str = _option("127.0.0.1", "address to listen on")
    port: int = _option(8077, "port to listen on; 0 picks a free one")
    login: str = _option("", "login that a client must present; empty: any Basic credentials (Digest: sandbox)")
    password: str = _option("sandbox", "password that a client must present")
    auth: str = _option("basic", "HTTP authentication asked of clients", choices=("basic", "digest"))
    digest_algorithm: str = _option("MD5", "hash of Digest authentication", choices=("MD5", "SHA-256"))
    callback_url: str = _option(
        "",
        "where delivery reports and messages from handsets are posted, with credentials in it if they are "
        "percent-encoded; empty: nowhere",
    )
    callback_login: str = _option("", "login of the callback")
    callback_password: str = _option("", "password of the callback")
    report_delay: float = _option(0.2, "seconds from the answer to the delivery report", metavar="SECONDS")
    late_seconds: float = _option(5.0, "seconds that a late report (recipient ...5106) takes", metavar="SECONDS")
    report_retries: int = _option(5, "how often a callback that was not acknowledged is sent again")
    report_retry_delay: float = _option(1.0, "seconds between those attempts", metavar="SECONDS")
    report_timeout: float = _option(10.0, "seconds in which a callback must be answered", metavar="SECONDS")
    report_connections: int = _option(4, "callbacks in flight at the same moment")
    slow_seconds: float = _option(3.0, "seconds that a slow answer (recipient ...0907) takes", metavar="SECONDS")
    quirks: str = _option(
        "none", "vendor: callbacks spelled as on the vendor's page, malformed XML too", choices=("none", "vendor")
    )
    pedantic: bool = _option(False, "refuse what the vendor's own examples do against the schema, too")
    max_message_bytes: int = _option(MAX_MESSAGE_BYTES, "longest HTTP body accepted, in bytes")
    recipients_per_request: int = _option(100, "most recipients in one SubmitReq; more are refused with 3003")
    accept_namespace: str = _option("", "one more MM7 namespace to accept besides 3GPP's", metavar="URI")
    schema: str = _option(
        "", "XML Schema file that each request is held against as well (or set MM7_XSD)", metavar="FILE"
    )
    keep: int = _option(10_000, "of how many messages the SOAP text and the raw body are kept")
    keep_bytes: int = _option(256 * 1024 * 1024, "bytes of raw bodies kept, shared media counted once")
    expose_control: bool = _option(
        False, "answer the page and /_sandbox to other machines too (they hold every message in the clear)"
    )


def option_fields() -> tuple[Field[Any], ...]:
    """The settings in the order of the help text."""
    return fields(Settings)


def flag(setting: Field[Any]) -> str:
    """``report_delay`` as ``--report-delay``."""
    return "--" + setting.name.replace("_", "-")


def argument_options(setting: Field[Any]) -> dict[str, Any]:
    """Keyword arguments for ``ArgumentParser.add_argument``."""
    if setting.default is MISSING:  # every setting has a default; a new one without would be a slip
        raise TypeError(f"setting {setting.name} has no default")
    text = str(setting.metadata["help"])
    if isinstance(setting.default, bool):
        return {"action": "store_true", "default": setting.default, "help": text}
    shown = f"{text} (default: %(default)s)" if setting.default != "" else text
    options: dict[str, Any] = {"type": type(setting.default), "default": setting.default, "help": shown}
    if setting.metadata["choices"]:
        options["choices"] = setting.metadata["choices"]
    elif setting.metadata["metavar"]:
        options["metavar"] = setting.metadata["metavar"]
    return options


def from_namespace(arguments: argparse.Namespace) -> Settings:
    """Settings from parsed arguments; names that are not settings are left alone."""
    return Settings(**{one.name: getattr(arguments, one.name) for one in option_fields()})
