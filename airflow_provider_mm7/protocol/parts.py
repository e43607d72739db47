"""What travels beside the SOAP part: MIME parts as values, and a whole message as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider_mm7.protocol.messages import Message

#: SOAP 1.1.
SOAP_NAMESPACE = "http://schemas.xmlsoap.org/soap/envelope/"
#: Rel-5, which the vendor's page names (with ``https://``; the registered name is ``http://``).
MM7_NAMESPACE = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"
MM7_VERSION = "5.3.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Which spelling of MM7 a peer speaks. All three are free, because peers differ."""

    soap_namespace: str = SOAP_NAMESPACE
    mm7_namespace: str = MM7_NAMESPACE
    mm7_version: str = MM7_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One MIME leaf: its decoded bytes and what its headers say.

    :ivar content_type: the whole header value, ``text/plain; charset=utf-8``.
    :ivar body: decoded bytes (no transfer encoding).
    :ivar content_id: without ``<>``; None when absent.
    :ivar content_location: the header's value; None when absent.
    :ivar name: ``name`` of Content-Type or ``filename`` of Content-Disposition; None when absent.
    """

    content_type: str
    body: bytes
    content_id: str | None = None
    content_location: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A whole MM7 message as it was read.

    :ivar message: the operation.
    :ivar transaction_id: of the SOAP header, stripped; None when absent.
    :ivar parts: the decoded leaves in the order of the wire, without the SOAP part.
    :ivar dialect: namespaces and version as the peer wrote them, for the answer.
    """

    message: Message
    transaction_id: str | None = None
    parts: tuple[Part, ...] = ()
    dialect: Dialect = Dialect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Bytes to put on the wire. Iterating does not join them, so that shared media are never copied.

    ``len(payload)`` is the Content-Length, known before anything is sent.

    :ivar content_type: value of the Content-Type header.
    :ivar chunks: the body in pieces; blocks that many payloads share are shared here too.
    """

    content_type: str
    chunks: tuple[bytes, ...]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def __len__(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def body(self) -> bytes:
        """The body as one bytes object (a copy)."""
        return b"".join(self.chunks)
