"""The MM7 door: authenticate, read, judge, record, and only then answer, or fail to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from airflow_provider_mm7.protocol import status_text
from airflow_provider_mm7.sandbox import answers, wire
from airflow_provider_mm7.sandbox.answers import Verdict
from airflow_provider_mm7.sandbox.auth import Authenticator
from airflow_provider_mm7.sandbox.callbacks import CallbackQueue
from airflow_provider_mm7.sandbox.judge import Judge, Judged
from airflow_provider_mm7.sandbox.mmsc import MMSC, Decision
from airflow_provider_mm7.sandbox.record import Heavy, Record, RecordBook
from airflow_provider_mm7.sandbox.scenarios import SPECIAL_IN_BYTES, Behaviour, Scenario, scenario_of_code
from airflow_provider_mm7.sandbox.script import Script
from airflow_provider_mm7.sandbox.settings import HARD_BODY_LIMIT_BYTES, Settings
from airflow_provider_mm7.sandbox.wire import Receive, Scope, Send

#: Recipients stand in the SOAP part, which comes first: bytes searched for one that resets before the body.
HEAD_BYTES = 16 * 1024
#: How much of an answer scenario 0905 sends.
_HALF = 0.5


class Door:
    """ASGI application of ``/mm7``.

    :param settings: what the sandbox was told.
    :param authenticator: decides on credentials.
    :param judge: decides what is wrong with a request.
    :param mmsc: decides what is done about it.
    :param book: where requests are recorded.
    :param script: what is played.
    :param callbacks: where reports go.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        authenticator: Authenticator,
        judge: Judge,
        mmsc: MMSC,
        book: RecordBook,
        script: Script,
        callbacks: CallbackQueue,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._judge = judge
        self._mmsc = mmsc
        self._book = book
        self._script = script
        self._callbacks = callbacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        challenge = self._authenticator.challenge_for(
            headers.get("authorization"), method=scope["method"], target=_target(scope)
        )
        if challenge is not None:
            # The body of a stranger is not read; the connection ends with the answer.
            self._book.count_unauthorized()
            await _send_status(send, 401, {"www-authenticate": challenge, "connection": "close"})
        elif scope["method"] != "POST":
            await _send_status(send, 405, {"allow": "POST"})
        else:
            await self._post(scope, receive, send, headers)

    async def _post(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        # Not when it was read and judged: with other requests in between, that is later, and told of the sandbox.
        arrived = datetime.now(UTC)
        chosen = self._script.forced()
        if chosen is not None and chosen.behaviour is Behaviour.RESET_BEFORE_BODY:
            self._record_unread(headers, b"", "the connection was reset before the body was read", scenario=chosen)
            await wire.reset(scope, receive)
            return
        if (refused := _refused_length(headers)) is not None:
            status, problem = refused
            self._record_unread(headers, b"", problem, http_status=status)
            await _send_status(send, status, {"connection": "close"})
            return
        body, chosen = await self._read_body(receive, chosen)
        if body is None:
            return  # the client went away in the middle of its own request
        if chosen is not None and chosen.behaviour is Behaviour.RESET_BEFORE_BODY:
            self._record_unread(headers, body, "the connection was reset before the body was read", scenario=chosen)
            await wire.reset(scope, receive)
            return
        judged = self._judge.judge(body, headers)
        decision = self._mmsc.decide(judged, chosen, len(body), arrived)
        self._book.add(decision.record, _heavy(headers, judged))
        await self._answer(scope, receive, send, decision, judged)

    async def _read_body(self, receive: Receive, chosen: Scenario | None) -> tuple[bytes | None, Scenario | None]:
        """Read the body, unless a recipient asks for a reset before it is whole.

        :return: the body (None: the client went away) and what is to be played, if that is known by now.
        """
        body = bytearray()
        watching = chosen is None
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return None, chosen
            body += event.get("body", b"")
            if watching and (chosen := self._reset_within(bytes(body[:HEAD_BYTES]))) is not None:
                watching = False
                if chosen.behaviour is Behaviour.RESET_BEFORE_BODY:
                    return bytes(body), chosen
            watching = watching and len(body) < HEAD_BYTES
            if not event.get("more_body"):
                return bytes(body), chosen

    def _reset_within(self, head: bytes) -> Scenario | None:
        for match in SPECIAL_IN_BYTES.finditer(head):
            scenario = scenario_of_code(match["code"].decode())
            if scenario.behaviour is Behaviour.RESET_BEFORE_BODY:
                return self._script.turn_of(match["number"].decode(), scenario)
        return None

    async def _answer(self, scope: Scope, receive: Receive, send: Send, decision: Decision, judged: Judged) -> None:
        for callback in decision.early:
            await self._callbacks.post_now(callback)
        if decision.scenario.behaviour in (Behaviour.NEVER_ANSWERS, Behaviour.RESET_AFTER_BODY):
            self._schedule(decision)
            await self._withhold(scope, receive, decision.scenario)
            return
        await self._play(scope, receive, send, decision, judged)
        self._schedule(decision)

    def _schedule(self, decision: Decision) -> None:
        for chain in decision.later:
            self._callbacks.schedule(chain)

    async def _withhold(self, scope: Scope, receive: Receive, scenario: Scenario) -> None:
        if scenario.behaviour is Behaviour.RESET_AFTER_BODY:
            await wire.reset(scope, receive)
        else:
            await wire.until_gone(receive)

    async def _play(self, scope: Scope, receive: Receive, send: Send, decision: Decision, judged: Judged) -> None:
        scenario, record = decision.scenario, decision.record
        delay_s = scenario.delay_s or (self._settings.slow_seconds if scenario.behaviour is Behaviour.SLOW else 0.0)
        if delay_s:
            await asyncio.sleep(delay_s)
        answer = _written(record, scenario, judged)
        match scenario.behaviour:
            case Behaviour.HTTP_STATUS:
                await _send_status(send, scenario.http_status, self._headers_of(scenario))
            case Behaviour.RESET_BEFORE_BODY:
                await wire.reset(scope, receive)
            case Behaviour.GARBAGE:
                await _send(send, 200, {"content-type": "text/html"}, answers.PROXY_PAGE)
            case Behaviour.NOT_HTTP:
                await wire.write_and_close(scope, receive, answers.NOISE)
            case Behaviour.HALF_AN_ANSWER:
                await _send_half(send, answer)
                await wire.write_and_close(scope, receive, b"")
            case _:
                headers = {"content-type": answers.XML_TYPE}
                await _send(send, scenario.http_status, headers | self._headers_of(scenario), answer)

    def _headers_of(self, scenario: Scenario) -> dict[str, str]:
        headers = {"retry-after": scenario.retry_after} if scenario.retry_after is not None else {}
        if scenario.http_status == 401:
            headers["www-authenticate"] = str(self._authenticator.challenge_for(None, method="POST", target=""))
        return headers

    def _record_unread(
        self,
        headers: Mapping[str, str],
        body: bytes,
        problem: str,
        *,
        http_status: int | None = None,
        scenario: Scenario | None = None,
    ) -> None:
        record = Record(
            seq=self._book.next_seq(),
            received_at=datetime.now(UTC),
            http_status=http_status,
            problems=(problem,),
            scenario=scenario.name if scenario else "refused",
            body_bytes=len(body),
        )
        self._book.add(record, Heavy(headers=_shown_headers(headers), chunks=(body,), fresh_bytes=len(body)))


def _target(scope: Scope) -> str:
    """The request target as it was sent."""
    target = str((scope.get("raw_path") or scope["path"].encode()).decode("latin-1"))
    query = scope["query_string"].decode("latin-1")
    return f"{target}?{query}" if query else target


def _refused_length(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """HTTP status and reason where the body is not read at all."""
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not length.isdigit():
        # RFC 9110 section 15.5.12; one MMSC takes no chunked requests, so this one does not either.
        return 411, "there is no Content-Length (chunked requests are refused)"
    if int(length) > HARD_BODY_LIMIT_BYTES:
        return 413, f"the body is longer than {HARD_BODY_LIMIT_BYTES} bytes"
    return None


def _written(record: Record, scenario: Scenario, judged: Judged) -> bytes:
    """The MM7 answer."""
    verdict = Verdict(
        status_code=scenario.status_code, status_text=status_text(scenario.status_code), details=record.details
    )
    if scenario.behaviour is Behaviour.FAULT or record.operation is None:
        return answers.fault(judged.tongue, verdict)
    message_id = None if scenario.behaviour is Behaviour.NO_MESSAGE_ID else record.message_id
    return answers.response(judged.tongue, record.operation, verdict, message_id)


def _heavy(headers: Mapping[str, str], judged: Judged) -> Heavy:
    reading = judged.reading
    return Heavy(
        headers=_shown_headers(headers), chunks=reading.chunks, soap=reading.soap, fresh_bytes=reading.fresh_bytes
    )


def _shown_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers without the value of Authorization; its scheme stays."""
    return tuple(
        (name, value.partition(" ")[0] + " ***" if name in {"authorization", "proxy-authorization"} else value)
        for name, value in headers.items()
    )


async def _send(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    await _start(send, status, headers, len(body))
    await send({"type": "http.response.body", "body": body})


async def _send_half(send: Send, body: bytes) -> None:
    """Announce the whole and send a part."""
    await _start(send, 200, {"content-type": answers.XML_TYPE}, len(body))
    await send({"type": "http.response.body", "body": body[: int(len(body) * _HALF)], "more_body": True})


async def _send_status(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """An answer of HTTP alone, as servers and proxies in front of an MMSC give it."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    body = f"{status} {phrase}\n".encode()
    await _send(send, status, {"content-type": "text/plain; charset=utf-8", **headers}, body)


async def _start(send: Send, status: int, headers: Mapping[str, str], length: int) -> None:
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    fields.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
