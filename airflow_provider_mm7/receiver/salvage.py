"""What can be told of a body that could not be read, so that the peer knows which of its requests failed."""

from __future__ import annotations

import re

from airflow_provider_mm7.protocol import MM7_NAMESPACE, MM7_VERSION, SOAP_NAMESPACE, Dialect

#: Bytes looked at: the SOAP header stands first.
_WINDOW = 65536

# Bounded repetitions only: these run over hostile bytes.
_TRANSACTION_ID = re.compile(rb"<(?:[\w.\-]{1,64}:)?TransactionID(?:\s[^<>]{0,512})?>\s{0,64}([!-;=?-~ ]{1,128})</")
_SOAP = re.compile(rb"""["'](https?://schemas\.xmlsoap\.org/soap/envelope/)["']""")
_MM7 = re.compile(rb"""["'](https?://www\.3gpp\.org/[\w./\-]{1,128}/REL-\d{1,2}-MM7-[\d\-]{1,8})["']""")
_VERSION = re.compile(rb"<(?:[\w.\-]{1,64}:)?MM7Version>\s{0,64}([\d.]{1,16})\s{0,64}<")


def salvage(body: bytes) -> tuple[str | None, Dialect]:
    """Find the TransactionID, the namespaces and the version.

    :param body: a request's body.
    :return: TransactionID or None; the dialect, with defaults for what was not found.
    """

    def find(pattern: re.Pattern[bytes]) -> str | None:
        found = pattern.search(body, 0, _WINDOW)
        return found[1].decode("ascii").strip() if found else None

    dialect = Dialect(
        soap_namespace=find(_SOAP) or SOAP_NAMESPACE,
        mm7_namespace=find(_MM7) or MM7_NAMESPACE,
        mm7_version=find(_VERSION) or MM7_VERSION,
    )
    return find(_TRANSACTION_ID), dialect
