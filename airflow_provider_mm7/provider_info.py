"""What Airflow is told about this package: the connection form, the ``[mm7]`` section, the command line.

Valid against Airflow's ``provider_info.schema.json`` and ``provider.yaml.schema.json``. It is read at every start of
every Airflow process, so it imports nothing heavy and holds only literals. Not here: ``plugins`` (Airflow loads that
key only where ``lazy_load_providers`` is off, and would then meet the plugin twice; the entry point ``airflow.plugins``
is always loaded) and ``hook-class-names`` (the predecessor of ``connection-types``).
"""

from __future__ import annotations

from typing import Any

from airflow_provider_mm7 import __version__

INTEGRATION = "MM7"

_SPEC_URL = "https://www.3gpp.org/ftp/Specs/archive/23_series/23.140/"


def _field(label: str, description: str, kind: str | list[str] = "string", **schema: Any) -> dict[str, Any]:
    """Return one field of the form. Every field may stay empty, so every type takes null."""
    kinds = [kind] if isinstance(kind, str) else kind
    return {"label": label, "description": description, "schema": {"type": [*kinds, "null"], **schema}}


_SENDER_FIELDS: dict[str, dict[str, Any]] = {
    "vaspid": _field("VASP ID", "Who sends, as the carrier named you (VASPID)."),
    "vasid": _field("VAS ID", "Which of your services sends (VASID)."),
    "sender_address": _field("Sender address", "Number, short code or e-mail address that handsets show."),
    "service_code": _field("Service code", "Billing code that goes with every message (ServiceCode)."),
}

_DIALECT_FIELDS: dict[str, dict[str, Any]] = {
    "mm7_version": _field("MM7 version", "MM7Version element.", default="5.3.0"),
    "namespace": _field(
        "MM7 namespace",
        "XML namespace of what is sent; any is understood in answers.",
        default="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3",
    ),
    "soap_namespace": _field(
        "SOAP namespace",
        "XML namespace of the SOAP envelope.",
        default="http://schemas.xmlsoap.org/soap/envelope/",
    ),
    "auth": _field(
        "Authentication", "How login and password are presented.", default="basic", enum=["basic", "digest"]
    ),
    "number_format": _field(
        "Number format",
        "plus: +64211234567; digits: 64211234567.",
        default="plus",
        enum=["plus", "digits"],
    ),
    "strict_numbers": _field(
        "Strict numbers",
        "Refuse numbers that no numbering plan has. Off: they are warned of; E.164 syntax is always checked.",
        "boolean",
        default=False,
    ),
}

_PACE_FIELDS: dict[str, dict[str, Any]] = {
    "recipients_per_request": _field(
        "Recipients per request",
        "More than 1 where the MMSC takes it; one that answers 3003 gets 1 by itself. Never above the rate.",
        "integer",
        default=1,
        minimum=1,
        maximum=10000,
    ),
    "rate_per_s": _field(
        "Messages per second", "Over all tasks and workers. Empty: as fast as the MMSC answers.", "number"
    ),
    "max_connections": _field(
        "Connections", "Requests to the MMSC at one time, per task.", "integer", default=16, minimum=1, maximum=1000
    ),
    "connect_timeout_s": _field("Connect time-out", "Seconds to establish a connection.", "number", default=10),
    "read_timeout_s": _field(
        "Read time-out",
        "Seconds to wait for an answer. A message without an answer has an unknown outcome.",
        "number",
        default=60,
    ),
}

_HTTP_FIELDS: dict[str, dict[str, Any]] = {
    "verify": _field("Verify TLS", "Check the MMSC's certificate.", "boolean", default=True),
    "ca_bundle": _field("CA bundle", "Path of a PEM file on the workers, for a private certificate authority."),
    "client_cert": _field(
        "Client certificate", "Path of a PEM file with certificate and key, or of two files separated by a comma."
    ),
    "source_address": _field(
        "Source address", "Address of the worker to send from, where the MMSC allows only listed ones."
    ),
    "headers": _field(
        "HTTP headers",
        'JSON object of extra headers, such as {"X-Api-Key": "..."}. The values are treated as secrets.',
        format="password",
    ),
}

_MESSAGE_FIELDS: dict[str, dict[str, Any]] = {
    "max_message_bytes": _field(
        "Largest message",
        "Bytes of a whole message after encoding; a larger one is refused before anything is sent.",
        "integer",
        default=1048576,
        minimum=1,
        maximum=1073741824,
    ),
    "media_types": _field(
        "Media types",
        "registered: video/mp4 and the like; vendor: the literal spellings of the carrier's table.",
        default="registered",
        enum=["registered", "vendor"],
    ),
    "status_overrides": _field(
        "Status overrides",
        'JSON object: status code to retry or permanent, such as {"3001": "permanent", "2569": "retry"}; '
        'HTTP server error without MM7 to retry or unknown, such as {"502": "unknown"}.',
        ["object", "string"],
    ),
}

_CALLBACK_FIELDS: dict[str, dict[str, Any]] = {
    "callback_login": _field("Callback login", "What the MMSC's callbacks must present. Empty: none are accepted."),
    "callback_password": _field("Callback password", "What the MMSC's callbacks must present.", format="password"),
    "callback_networks": _field(
        "Callback networks",
        "CIDRs that callbacks may come from, separated by commas, or a JSON list. Empty: anywhere.",
        ["string", "array"],
    ),
}

_OPT_OUT_FIELDS: dict[str, dict[str, Any]] = {
    "opt_out_scope": _field(
        "Opt-outs hold for",
        "connection: all messages over this one; short_code: all from the sender address, over any connection.",
        default="connection",
        enum=["connection", "short_code"],
    ),
    "stop_keywords": _field(
        "Stop keywords",
        "Words that end messages to whoever sends them, separated by commas, or a JSON list. They replace STOP, "
        "STOPALL, UNSUBSCRIBE, CANCEL, END, QUIT; with a + in front (+BAJA, PARAR) they are added. none: no word does.",
        ["string", "array"],
    ),
    "start_keywords": _field(
        "Start keywords",
        "Words that take it back; in place of START, UNSTOP, or with a + added to them.",
        ["string", "array"],
    ),
    "opt_out_reply": _field("Opt-out reply", "Text of one message that confirms an opt-out. Empty: none is sent."),
}

CONN_FIELDS: dict[str, dict[str, Any]] = {
    **_SENDER_FIELDS,
    **_DIALECT_FIELDS,
    **_PACE_FIELDS,
    **_HTTP_FIELDS,
    **_MESSAGE_FIELDS,
    **_CALLBACK_FIELDS,
    **_OPT_OUT_FIELDS,
}

_CONFIG: dict[str, Any] = {
    "mm7": {
        "description": "Options of airflow-provider-mm7: the ledger of what was sent, and the receiver of callbacks.",
        "options": {
            "sql_alchemy_conn": {
                "description": "SQLAlchemy URL of the ledger. SQLite is right for one machine and migrates itself; "
                "several machines need PostgreSQL (``airflow mm7 db upgrade``). Not Airflow's metadata database.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "postgresql+psycopg://mm7:password@db.example.com/mm7",
                "default": "sqlite:///{AIRFLOW_HOME}/mm7.db",
                "sensitive": True,
            },
            "inbound_media_uri": {
                "description": "Folder for the media of messages from handsets; in production one in an object store.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://news/inbound",
                "default": "file://{AIRFLOW_HOME}/mm7/inbound",
            },
            "sent_media_uri": {
                "description": "Folder for copies of the media that are sent, which the MMS page shows; in production "
                "one in an object store. Empty or ``none``: no copies are kept.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://news/sent",
                "default": "file://{AIRFLOW_HOME}/mm7/sent",
            },
            "max_callback_bytes": {
                "description": "Bytes of a callback; a larger one is answered 413.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": None,
                "default": "10485760",
            },
            "max_concurrent_callbacks": {
                "description": "Callbacks worked on at one time; more are answered 503 and come again.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": None,
                "default": "32",
            },
        },
    }
}

PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-mm7",
    "name": "MM7 (MMS)",
    "description": "Send picture messages (MMS) over MM7 and wait for their delivery reports.",
    "state": "ready",
    # Used by Airflow's own release tooling alone; the schema asks for it.
    "source-date-epoch": 0,
    "versions": [__version__],
    "integrations": [
        {"integration-name": INTEGRATION, "external-doc-url": _SPEC_URL, "tags": ["protocol"]},
    ],
    "hooks": [{"integration-name": INTEGRATION, "python-modules": ["airflow_provider_mm7.hooks.mm7"]}],
    "operators": [{"integration-name": INTEGRATION, "python-modules": ["airflow_provider_mm7.operators.mm7"]}],
    "sensors": [{"integration-name": INTEGRATION, "python-modules": ["airflow_provider_mm7.sensors.mm7"]}],
    "triggers": [{"integration-name": INTEGRATION, "python-modules": ["airflow_provider_mm7.triggers.mm7"]}],
    "notifications": ["airflow_provider_mm7.notifications.mm7.MMSNotifier"],
    "task-decorators": [{"name": "mms", "class-name": "airflow_provider_mm7.decorators.mm7.mms_task"}],
    "connection-types": [
        {
            "connection-type": "mm7",
            "hook-class-name": "airflow_provider_mm7.hooks.mm7.MM7Hook",
            "hook-name": "MM7 (MMS)",
            "ui-field-behaviour": {
                "hidden-fields": ["schema"],
                "relabeling": {"host": "MMSC URL"},
                "placeholders": {
                    "host": "https://mmsc.example.com/mm7",
                    "port": "443, or the URL's own; some versions cannot test without it",
                    "login": "user name the carrier gave you",
                },
            },
            "conn-fields": CONN_FIELDS,
        }
    ],
    "config": _CONFIG,
    "cli": ["airflow_provider_mm7.cli.definition.get_mm7_cli_commands"],
}
