"""One MMSC: a request out, its answer in, and certainty about whether the request was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from airflow_provider_mm7 import __version__, protocol
from airflow_provider_mm7.exceptions import AnswerMismatch, ConnectionConfigError, OutcomeUnknown
from airflow_provider_mm7.protocol import Envelope, Imprint, Payload
from airflow_provider_mm7.transport.direct import Direct
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.judge import read_answer
from airflow_provider_mm7.transport.session import open_session
from airflow_provider_mm7.transport.translate import not_sent

#: Bytes of an answer that are read; a SubmitRsp has about 1 KB.
MAX_ANSWER_BYTES = 1 << 20
READ_CHUNK_BYTES = 1 << 16
#: Bytes handed to the socket at once. The connect time-out bounds each piece, so that a large message may take a slow
#: line, and one that does not move ends.
SEND_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What the server said, before it is read as MM7."""

    status: int
    content_type: str | None
    retry_after: str | None
    body: bytes


class _Outgoing:
    """A request body that knows whether its last byte was handed to the socket.

    With a Content-Length announced, a server that got less than the whole cannot have accepted the message (RFC 9112
    clause 8): a failure before the end is safe to send again, one after it is not.
    """

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.complete = False

    def __len__(self) -> int:
        return len(self._payload)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for chunk in self._payload:
            if len(chunk) <= SEND_CHUNK_BYTES:
                yield chunk
                continue
            # Not copied: a hundred requests may share a megabyte.
            whole = memoryview(chunk)
            for start in range(0, len(whole), SEND_CHUNK_BYTES):
                yield whole[start : start + SEND_CHUNK_BYTES]
        # Reached when the last send() has returned.
        self.complete = True

    def tell(self) -> int:
        """Tell Digest where to begin again."""
        return 0

    def seek(self, _: int) -> None:
        """Begin again: the server answered with HTTP 4xx, so nothing that was sent before counts."""
        self.complete = False


class MMSCClient:
    """A pooled HTTP client for one MMSC. Safe to share between threads; close it, or use it in ``with``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session = open_session(endpoint, version=__version__)
        self._direct: Direct | None = None
        #: HTTP status and Content-Type of the last answer that was read, and what the next ones may share with it.
        self._imprint: tuple[int, str | None, Imprint | None] = (0, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection of the pool."""
        self._direct = None
        self._session.close()

    def exchange(self, payload: Payload, *, transaction_id: str | None = None) -> Envelope:
        """POST a message and read the MM7 answer, whatever HTTP status carries it (TS 23.140 clause 8.7.1.2).

        :param payload: made by :func:`airflow_provider_mm7.protocol.dump`.
        :param transaction_id: of the message; an answer that carries another is not taken for its answer.
        :return: the answer; its status may be an error.
        :raises NotSent: nothing was accepted; sending again is safe.
        :raises AccessDenied: HTTP 401 or 403.
        :raises NotAnMM7Server: an HTTP error that holds no MM7.
        :raises ConnectionConfigError: the URL or a header cannot be sent at all.
        :raises AnswerMismatch: the answer is one to another request.
        :raises OutcomeUnknown: the whole request was sent and no whole, readable answer came.
        """
        answer = self.post(payload)
        if transaction_id and (known := self._recognise(answer, transaction_id)):
            return known
        envelope = read_answer(answer.status, answer.content_type, answer.body, answer.retry_after)
        # Some MMSCs leave it out, or fold it over lines.
        if transaction_id and envelope.transaction_id and _plain(envelope.transaction_id) != _plain(transaction_id):
            raise AnswerMismatch("the MMSC's answer carries the TransactionID of another request")
        self._imprint = answer.status, answer.content_type, Imprint.of(answer.body, envelope)
        return envelope

    def _recognise(self, answer: HttpAnswer, transaction_id: str) -> Envelope | None:
        status, content_type, imprint = self._imprint
        if imprint is None or (answer.status, answer.content_type) != (status, content_type):
            return None
        return imprint.read(answer.body, transaction_id)

    def post(self, payload: Payload) -> HttpAnswer:
        """POST a message and return the HTTP answer as it came.

        :raises NotSent: nothing was accepted.
        :raises OutcomeUnknown: the whole request was sent and no whole answer came.
        """
        outgoing = _Outgoing(payload)
        try:
            with self._open(outgoing, protocol.http_headers(payload)) as response:
                if response.status < 200:
                    # http.client takes 102 and 103 for the answer. The real one follows: this connection is closed.
                    raise OutcomeUnknown(f"HTTP {response.status} in place of an answer")
                return HttpAnswer(
                    status=response.status,
                    content_type=response.headers.get("Content-Type"),
                    retry_after=response.headers.get("Retry-After"),
                    body=_read_bounded(response, self.endpoint.read_timeout_s),
                )
        except (requests.RequestException, HTTPError, OSError) as exc:
            if outgoing.complete:
                raise OutcomeUnknown(f"the MMSC took the request and gave no whole answer ({_cause(exc)})") from exc
            error = not_sent(exc, self.endpoint)
            # The text of what a header or URL is refused for quotes it, and it may be a secret.
            raise error from None if isinstance(error, ConnectionConfigError) else exc
        except UnicodeError:
            raise ConnectionConfigError(
                "headers", "a header or the login cannot be sent", "Use characters of Latin-1"
            ) from None

    def _open(self, outgoing: _Outgoing, headers: dict[str, str]) -> BaseHTTPResponse:
        if self.endpoint.auth == "digest":
            answer = self._session.post(
                self.endpoint.url,
                data=outgoing,  # type: ignore[arg-type]  # memoryviews go to the socket like bytes
                headers=headers,
                timeout=(self.endpoint.connect_timeout_s, self.endpoint.read_timeout_s),
                allow_redirects=False,
                stream=True,
            )
            raw: BaseHTTPResponse = answer.raw
            return raw
        if self._direct is None:
            # Not when the client is made: an unusable URL or header is an error of the first request.
            self._direct = Direct(self._session, self.endpoint)
        return self._direct.post(outgoing, headers)


def _read_bounded(response: BaseHTTPResponse, timeout_s: float) -> bytes:
    deadline = time.monotonic() + timeout_s
    unframed = "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers
    body = bytearray()
    while True:
        try:
            chunk = response.read1(READ_CHUNK_BYTES, decode_content=True)
        except ReadTimeoutError:
            # Such an answer ends with its connection (RFC 9112 clause 6.3), which this server leaves open. Whether it
            # is whole is told by its XML.
            if unframed:
                return bytes(body)
            raise
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise OutcomeUnknown(f"the MMSC's answer is longer than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > deadline:
            raise OutcomeUnknown("the MMSC's answer did not end within the read time-out")


def _plain(transaction_id: str) -> str:
    return "".join(transaction_id.split()).casefold()


def _cause(error: Exception) -> str:
    # The text of a requests error may quote the URL; its type says enough.
    return "read time-out" if isinstance(error, (requests.Timeout, ReadTimeoutError)) else "connection lost"
