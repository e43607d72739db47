"""Bounds on what is read. Beyond any of them reading stops with LimitExceeded."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mm7.exceptions import LimitExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a peer may send. The defaults are far above any real message and far below harm."""

    #: Bytes of the whole body. Carriers stop at a few MiB.
    body_bytes: int = 64 * 1024 * 1024
    #: Bytes of the SOAP part: 10,000 recipients make 0.4 MiB.
    soap_bytes: int = 4 * 1024 * 1024
    #: Elements of the SOAP part, closing tags counted.
    xml_tags: int = 100_000
    #: Attributes of the SOAP part, told by their equals signs: each takes 350 bytes. 10,000 recipients with all that an
    #: address can have make 30,000.
    xml_attributes: int = 100_000
    #: Namespace declarations of the SOAP part: looking names up among many takes long. A real message has 5.
    namespaces: int = 1000
    #: Nested elements. A real message has 8, and Extension may hold more.
    xml_depth: int = 64
    #: Nested multiparts. A real message has 2.
    mime_depth: int = 8
    #: Parts of all levels, containers counted.
    parts: int = 1000
    #: Bytes of the headers of one part, or of an HTTP message.
    header_bytes: int = 16 * 1024
    #: Lines of them.
    header_lines: int = 256


DEFAULT_LIMITS = Limits()


def exceeded(limit: str, allowed: int) -> LimitExceeded:
    """Make the error for a bound that was passed.

    :param limit: name of the field of :class:`Limits`.
    :param allowed: its value.
    """
    return LimitExceeded(f"{limit}: more than {allowed}", limit=limit, allowed=allowed)
