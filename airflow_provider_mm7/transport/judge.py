"""An HTTP answer read as MM7, or as the error that it is."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.defaults import DOUBTFUL_STATUSES
from airflow_provider_mm7.exceptions import AccessDenied, NotAnMM7Server, OutcomeUnknown, ProtocolError, ThrottledOrDown
from airflow_provider_mm7.protocol import Envelope, Fault, Response, Verdict

#: Statuses by which an HTTP server says "later", with nothing accepted. 409 is one MMSC's throttle answer.
THROTTLE_STATUSES = frozenset({408, 409, 425, 429})
#: The server, or a proxy before it, takes no message of this size.
CONTENT_TOO_LARGE = 413
#: What SOAP itself says a Fault comes with (SOAP 1.1 section 6.2; SOAP 1.2 part 2 section 7.5.2.2).
FAULT_STATUSES = frozenset({400, 500})
#: Seconds beyond which a Retry-After is not believed.
MAX_RETRY_AFTER_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MM7Answer(Envelope):
    """An MM7 answer, and what the HTTP around it adds.

    :ivar retry_after_s: seconds that the server asks to wait, whatever its status; None when it asks for nothing.
    """

    retry_after_s: float | None = None


def read_answer(
    http_status: int,
    content_type: str | None,
    body: bytes,
    retry_after: str | None,
    *,
    doubtful: Container[int] = DOUBTFUL_STATUSES,
) -> MM7Answer:
    """Read an answer.

    An error status may come with any HTTP status. A success counts with HTTP 2xx only: with another, the server
    contradicts itself and the outcome is unknown. A Fault without MM7 status says no more than which side erred: beside
    it, an HTTP status that says more counts.

    :param doubtful: HTTP errors after which the MMSC may have the message.
    :raises ThrottledOrDown: HTTP 408, 409, 425, 429, other 5xx without MM7; carries ``retry_after_s``.
    :raises AccessDenied: HTTP 401, 403 without MM7.
    :raises NotAnMM7Server: another HTTP error, or a redirect, without MM7.
    :raises OutcomeUnknown: HTTP 2xx without a readable MM7 answer, or a doubtful HTTP error without MM7.
    """
    succeeded = 200 <= http_status < 300
    try:
        envelope = protocol.load(body, content_type)
    except ProtocolError as exc:
        if succeeded:
            raise OutcomeUnknown(f"HTTP {http_status} with an answer that is not MM7 ({type(exc).__name__})") from exc
        raise _http_error(http_status, retry_after, doubtful) from exc
    message = envelope.message
    if not succeeded and isinstance(message, Fault) and http_status not in FAULT_STATUSES:
        raise _http_error(http_status, retry_after, doubtful)
    if not succeeded and isinstance(message, Response):
        code = message.status.status_code
        if protocol.verdict(code) in (Verdict.ACCEPTED, Verdict.PARTIAL):
            raise OutcomeUnknown(f"HTTP {http_status} carries MM7 status {code}")
    return MM7Answer(
        message=message,
        transaction_id=envelope.transaction_id,
        parts=envelope.parts,
        dialect=envelope.dialect,
        retry_after_s=parse_retry_after(retry_after, now=datetime.now(UTC)),
    )


def _http_error(http_status: int, retry_after: str | None, doubtful: Container[int]) -> Exception:
    if http_status in (401, 403):
        return AccessDenied(
            f"HTTP {http_status}: the MMSC does not accept the credentials or this machine's IP address",
            http_status=http_status,
        )
    if http_status in doubtful:
        return OutcomeUnknown(f"HTTP {http_status}: a gateway got no answer of the MMSC, which may have the message")
    if http_status in THROTTLE_STATUSES or http_status >= 500:
        return ThrottledOrDown(
            f"HTTP {http_status}: the MMSC takes nothing now",
            http_status=http_status,
            retry_after_s=parse_retry_after(retry_after, now=datetime.now(UTC)),
        )
    if http_status == CONTENT_TOO_LARGE:
        remedy = "the message is too large for this server; send smaller media, or lower max_message_bytes"
    else:
        remedy = "check the connection's host and path"
    return NotAnMM7Server(f"HTTP {http_status} without an MM7 answer; {remedy}", http_status=http_status)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date (RFC 9110 clause 10.2.3).

    :return: seconds from now, 0 to one day; None where absent or unreadable.
    """
    if value is None:
        return None
    try:
        seconds = float(int(value))
    except OverflowError:
        return MAX_RETRY_AFTER_S
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
