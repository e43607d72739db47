"""One MMSC: a request out, its answer in, and certainty about whether the request was sent."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Self

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from airflow_provider_mm7 import __version__, protocol
from airflow_provider_mm7.exceptions import AnswerMismatch, ConnectionConfigError, OutcomeUnknown
from airflow_provider_mm7.protocol import Imprint, Payload
from airflow_provider_mm7.transport.direct import Direct
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.judge import MM7Answer, read_answer
from airflow_provider_mm7.transport.session import open_session
from airflow_provider_mm7.transport.translate import handshake_refused, not_sent
from airflow_provider_mm7.transport.wire import Answer, OneGo, Outgoing, read_whole

#: Requests whose TransactionIDs are remembered: more than there are connections, by far.
REMEMBERED = 4096

#: TransactionIDs as the ledger makes them.
_AS_OURS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]+")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What the server said, before it is read as MM7."""

    status: int
    content_type: str | None
    retry_after: str | None
    body: bytes


class MMSCClient:
    """A pooled HTTP client for one MMSC. Safe to share between threads; close it, or use it in ``with``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._session = open_session(endpoint, version=__version__)
        self._direct: Direct | None = None
        #: HTTP status and Content-Type of the last answer that was read, and what the next ones may share with it.
        self._imprint: tuple[int, str | None, Imprint[MM7Answer] | None] = (0, None, None)
        #: TransactionIDs of the last requests, each in the place of one that is older.
        self._asked: list[str | None] = [None] * REMEMBERED
        self._turn = count()
        self._told = False

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

    def exchange(self, payload: Payload, *, transaction_id: str | None = None) -> MM7Answer:
        """POST a message and read the MM7 answer, whatever HTTP status carries it (TS 23.140 clause 8.7.1.2).

        :param payload: made by :func:`airflow_provider_mm7.protocol.dump`.
        :param transaction_id: of the message; an answer with that of another request is not taken for its own.
        :return: the answer; its status may be an error.
        :raises NotSent: nothing was accepted; sending again is safe.
        :raises AccessDenied: HTTP 401 or 403.
        :raises NotAnMM7Server: an HTTP error that holds no MM7.
        :raises ConnectionConfigError: the URL or a header cannot be sent at all.
        :raises AnswerMismatch: the answer is one to another request of ours.
        :raises OutcomeUnknown: the whole request was sent and no whole, readable answer came.
        """
        if transaction_id:
            self._asked[next(self._turn) % REMEMBERED] = _plain(transaction_id)
        answer = self.post(payload)
        if transaction_id and (known := self._recognise(answer, transaction_id)):
            return known
        envelope = read_answer(
            answer.status,
            answer.content_type,
            answer.body,
            answer.retry_after,
            doubtful=self.endpoint.doubtful_statuses,
        )
        if transaction_id and envelope.transaction_id:
            self._compare(_plain(envelope.transaction_id), _plain(transaction_id))
        if envelope.retry_after_s is None:
            self._imprint = answer.status, answer.content_type, Imprint.of(answer.body, envelope)
        return envelope

    def _compare(self, answered: str, asked: str) -> None:
        """Hold an answer's TransactionID against the request's.

        Some MMSCs leave it out, fold it over lines, cut it off, or have one of their own. HTTP says what they answer,
        unless it is mixed up, and then an answer has the TransactionID of another request: this client's, or by its
        form another task's.
        """
        if answered == asked:
            return
        cut_off = asked.startswith(answered)
        if not cut_off and (answered in self._asked or _AS_OURS.fullmatch(answered)):
            raise AnswerMismatch("the MMSC's answer carries the TransactionID of another request")
        if not self._told:
            self._told = True
            log.warning("the MMSC's answers do not carry the TransactionIDs of the requests")

    def _recognise(self, answer: HttpAnswer, transaction_id: str) -> MM7Answer | None:
        status, content_type, imprint = self._imprint
        if imprint is None or answer.retry_after or (answer.status, answer.content_type) != (status, content_type):
            return None
        return imprint.read(answer.body, transaction_id)

    def post(self, payload: Payload) -> HttpAnswer:
        """POST a message and return the HTTP answer as it came.

        :raises NotSent: nothing was accepted.
        :raises OutcomeUnknown: the whole request was sent and no whole answer came.
        """
        digest = self.endpoint.auth == "digest"
        outgoing = (Outgoing if digest else OneGo)(payload.chunks)
        try:
            send = self._send_twice if digest else self._send_once
            answer = send(outgoing, protocol.http_headers(payload))
            return HttpAnswer(
                status=answer.status,
                content_type=answer.headers.get("content-type"),
                retry_after=answer.headers.get("retry-after"),
                body=answer.body,
            )
        except (requests.RequestException, HTTPError, OSError) as exc:
            if outgoing.complete and not handshake_refused(exc):
                raise OutcomeUnknown(f"the MMSC took the request and gave no whole answer ({_cause(exc)})") from exc
            error = not_sent(exc, self.endpoint)
            # The text of what a header or URL is refused for quotes it, and it may be a secret.
            raise error from None if isinstance(error, ConnectionConfigError) else exc
        except UnicodeError:
            raise ConnectionConfigError(
                "headers", "a header or the login cannot be sent", "Use characters of Latin-1"
            ) from None

    def _send_twice(self, outgoing: Outgoing, headers: dict[str, str]) -> Answer:
        """Send by requests as a whole, which answers the challenge of Digest with a second request."""
        answer = self._session.post(
            self.endpoint.url,
            data=outgoing,  # type: ignore[arg-type]  # memoryviews go to the socket like bytes
            headers=headers,
            timeout=(self.endpoint.connect_timeout_s, self.endpoint.read_timeout_s),
            allow_redirects=False,
            stream=True,
        )
        return read_whole(answer.raw, self.endpoint.read_timeout_s)

    def _send_once(self, outgoing: Outgoing, headers: dict[str, str]) -> Answer:
        if self._direct is None:
            # Not when the client is made: an unusable URL or header is an error of the first request.
            self._direct = Direct(self._session, self.endpoint)
        return self._direct.post(outgoing, headers)


def _plain(transaction_id: str) -> str:
    return "".join(transaction_id.split()).casefold()


def _cause(error: Exception) -> str:
    # The text of a requests error may quote the URL; its type says enough.
    return "read time-out" if isinstance(error, (requests.Timeout, ReadTimeoutError)) else "connection lost"
