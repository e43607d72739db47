"""What callers are told: MM7 answers, SOAP faults, and plain HTTP refusals."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.protocol import dump
from airflow_provider_mm7.protocol.messages import (
    DeliverReq,
    DeliverRsp,
    DeliveryReportReq,
    DeliveryReportRsp,
    ReadReplyReq,
    ReadReplyRsp,
    Status,
    VASPErrorRsp,
)
from airflow_provider_mm7.protocol.messages import Response as MM7Response
from airflow_provider_mm7.protocol.parts import Dialect, Envelope, Payload
from airflow_provider_mm7.receiver.body import discard_body

#: TS 23.140 clause 8.7.8.3.3.
SUCCESS = Status(status_code=1000, status_text="Success")
CORRUPT = Status(status_code=2007, status_text="Message format corrupt")
UNSUPPORTED = Status(status_code=4003, status_text="Unsupported operation")

#: By the request's name.
RESPONSE_TO: dict[str, type[MM7Response]] = {
    request.__name__: response
    for request, response in (
        (DeliverReq, DeliverRsp),
        (DeliveryReportReq, DeliveryReportRsp),
        (ReadReplyReq, ReadReplyRsp),
    )
}

#: A short body that nobody reads is thrown away by the server, and the connection lives on.
_SMALL_BODY = 65536


def mm7_response(message: MM7Response, *, transaction_id: str | None, dialect: Dialect) -> Response:
    """Return an MM7 answer over HTTP 200, faults too (docs/decisions/faults-over-http-200.rst).

    :param message: the answer.
    :param transaction_id: the request's.
    :param dialect: the request's namespaces and version.
    """
    payload = _payload(message, transaction_id=transaction_id, dialect=dialect)
    return Response(payload.body, headers={"Content-Type": payload.content_type})


def _payload(message: MM7Response, *, transaction_id: str | None, dialect: Dialect) -> Payload:
    try:
        return dump(message, transaction_id=transaction_id, dialect=dialect)
    except InputError:
        # A version or namespace that cannot be written back must not cost a stored report its acknowledgement.
        return dump(message, transaction_id=transaction_id)


def acknowledgement(envelope: Envelope) -> Response:
    """Return status 1000 in the Rsp that belongs to a request, to be sent once the request is stored.

    :param envelope: a request named in :data:`RESPONSE_TO`.
    """
    operation, transaction_id = type(envelope.message).__name__, envelope.transaction_id
    if transaction_id is None or not _PLAIN.fullmatch(transaction_id):
        return mm7_response(
            RESPONSE_TO[operation](status=SUCCESS), transaction_id=transaction_id, dialect=envelope.dialect
        )
    before, after, headers = _acknowledgement_around(operation, envelope.dialect)
    return Response(before + transaction_id.encode("ascii") + after, headers=headers)


#: What XML writes as it is.
_PLAIN = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
#: Stands for a TransactionID, and for nothing else that a dialect could hold.
_PLACE = f"place{secrets.token_hex(16)}"


@lru_cache(maxsize=64)
def _acknowledgement_around(operation: str, dialect: Dialect) -> tuple[bytes, bytes, dict[str, str]]:
    """Return what stands before and after the TransactionID: a peer's answers differ in nothing else."""
    payload = _payload(RESPONSE_TO[operation](status=SUCCESS), transaction_id=_PLACE, dialect=dialect)
    before, _, after = payload.body.partition(_PLACE.encode("ascii"))
    return before, after, {"Content-Type": payload.content_type}


def fault(status: Status, *, transaction_id: str | None, dialect: Dialect) -> Response:
    """Return a SOAP Fault with a VASPErrorRsp.

    :param status: what is wrong.
    :param transaction_id: the request's, or None when it could not be found.
    :param dialect: the request's.
    """
    return mm7_response(VASPErrorRsp(status=status), transaction_id=transaction_id, dialect=dialect)


class Refusal(Response):
    """A plain HTTP answer, given before (or instead of) the end of the request's body.

    The answer goes out at once. If the caller is still sending, what comes is thrown away for a moment and then the
    connection closed, so that the answer is read and not lost to a reset.
    """

    media_type = "text/plain"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI asks.

        :param scope: ASGI's scope.
        :param receive: ASGI's receive.
        :param send: ASGI's send.
        """
        if self.status_code != 408 and _body_is_small(scope):
            await super().__call__(scope, receive, send)
            return
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        if self.status_code != 408:
            await discard_body(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body_is_small(scope: Scope) -> bool:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return False
    length = headers.get(b"content-length", b"0")
    return length.isdigit() and int(length) <= _SMALL_BODY


def unauthorized() -> Response:
    """Return the one 401: no credentials configured, unknown connection, wrong or missing credentials."""
    return Refusal(
        "Unauthorized\n", status_code=401, headers={"WWW-Authenticate": 'Basic realm="MM7", charset="UTF-8"'}
    )


def forbidden() -> Response:
    """Return 403: right credentials from an address outside callback_networks."""
    return Refusal("Forbidden\n", status_code=403)


def too_large() -> Response:
    """Return 413."""
    return Refusal("Content too large\n", status_code=413)


def too_slow() -> Response:
    """Return 408."""
    return Refusal("Request timeout\n", status_code=408)


def encoded() -> Response:
    """Return 415 for a compressed body: its size once unpacked has no bound, and no MMSC is known to send one."""
    return Refusal("Content-Encoding is not supported\n", status_code=415, headers={"Accept-Encoding": "identity"})


def unavailable(retry_after_s: int) -> Response:
    """Return 503 without any MM7 body: nothing was stored, nothing is acknowledged, come again.

    :param retry_after_s: seconds for Retry-After.
    """
    return Refusal("Service unavailable\n", status_code=503, headers={"Retry-After": str(retry_after_s)})


def health(*, ok: bool, store: str) -> Response:
    """Return the answer of ``/health``.

    :param ok: whether callbacks can be stored.
    :param store: one word on the store.
    """
    return JSONResponse(
        {"status": "ok" if ok else "degraded", "store": store},
        status_code=200 if ok else 503,
        headers={"Cache-Control": "no-store"},
    )
