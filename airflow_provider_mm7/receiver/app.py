"""The ASGI application: authenticate, parse, store, and only then say yes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from airflow_provider_mm7.exceptions import ProtocolError, StoreError, StoreNotMigrated
from airflow_provider_mm7.protocol import DeliverReq, DeliveryReportReq, Envelope, Limits, Part, ReadReplyReq, load
from airflow_provider_mm7.receiver import answers
from airflow_provider_mm7.receiver.body import BodyTooLarge, BodyTooSlow, read_body
from airflow_provider_mm7.receiver.config import MEDIA_THREADS, PARSE_AT_ONCE_BYTES, PARSE_THREADS, ReceiverConfig
from airflow_provider_mm7.receiver.credentials import (
    CredentialCache,
    CredentialSource,
    LookupsBusy,
    Verifier,
    address_allowed,
)
from airflow_provider_mm7.receiver.heartbeat import Heartbeat
from airflow_provider_mm7.receiver.salvage import salvage
from airflow_provider_mm7.receiver.translate import new_inbound, new_report
from airflow_provider_mm7.receiver.writer import GroupWriter
from airflow_provider_mm7.store.types import NewInbound, NewReport

if TYPE_CHECKING:
    from airflow_provider_mm7.media import MediaSink
    from airflow_provider_mm7.store import Store

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The connection of ``/callback`` without an id.
DEFAULT_CONN_ID = "mm7_default"

#: Seconds that an answer of ``/health`` is kept: it needs no credentials, so it may not cost a query each time.
HEALTH_TTL_S = 2.0
#: Seconds that ``/health`` waits for the store before it says degraded.
HEALTH_TIMEOUT_S = 5.0

#: Accepts nobody, after the work of a real comparison.
_NOBODY = Verifier(None)


class Companion(Protocol):
    """What runs beside a receiver for as long as it does."""

    def start(self) -> None:
        """Begin; returns at once. It may be begun again after its end."""
        ...

    def close(self) -> None:
        """End, and wait for the end."""
        ...


class _Runtime:
    """Threads and caches of a receiver that has begun. Made at the first request or at start-up, whichever is first."""

    def __init__(self, receiver: Receiver) -> None:
        config = receiver.config
        self.credentials = CredentialCache(receiver.credentials, ttl_s=config.credentials_ttl_s)
        self.writer = GroupWriter(receiver.commit, patience_s=config.commit_timeout_s)
        self.parsers = ThreadPoolExecutor(PARSE_THREADS, thread_name_prefix="mm7-parse")
        self.media = ThreadPoolExecutor(MEDIA_THREADS, thread_name_prefix="mm7-inbound")
        self.health = ThreadPoolExecutor(1, thread_name_prefix="mm7-health")
        self.heartbeat = Heartbeat(receiver.store, interval_s=config.heartbeat_s)
        self.heartbeat.start()
        self.companions = receiver.companions
        for companion in self.companions:
            companion.start()

    def close(self) -> None:
        """Finish what is under way."""
        self.heartbeat.close()
        for companion in self.companions:
            companion.close()
        for pool in (self.parsers, self.media, self.health):
            pool.shutdown(wait=True)
        self.writer.close()
        self.credentials.close()


class Receiver:
    """Takes an MMSC's callbacks.

    :param credentials: who may call.
    :param store: opens (or returns) the store; called in threads only.
    :param sink: where inbound media go.
    :param config: bounds.
    :param companions: what runs beside it.
    """

    def __init__(
        self,
        *,
        credentials: CredentialSource,
        store: Callable[[], Store],
        sink: MediaSink,
        config: ReceiverConfig,
        companions: Sequence[Companion] = (),
    ) -> None:
        self.credentials = credentials
        self.store = store
        self.sink = sink
        self.config = config
        self.companions = companions
        self._limits = Limits(body_bytes=config.max_body_bytes)
        self._lock = threading.Lock()
        self._started: _Runtime | None = None
        self._busy = 0
        self._keeping = 0
        self._health: tuple[float, Future[str]] | None = None

    def start(self) -> _Runtime:
        """Begin, if not begun: threads, and signs of life in the store. No loop is remembered."""
        runtime = self._started
        if runtime is None:
            with self._lock:
                runtime = self._started
                if runtime is None:
                    runtime = self._started = _Runtime(self)
        return runtime

    def close(self) -> None:
        """Finish what is under way and end all threads. A later request begins anew."""
        with self._lock:
            runtime, self._started = self._started, None
        if runtime is not None:
            runtime.close()

    async def callback(self, request: Request) -> Response:
        """Take one callback.

        :param request: POST of a DeliverReq, DeliveryReportReq or ReadReplyReq.
        """
        conn_id = request.path_params.get("mm7_conn_id", DEFAULT_CONN_ID)
        refusal = await self._admit(conn_id, request)
        if refusal is not None:
            return refusal
        held = self._busy + self._keeping
        if held >= self.config.max_concurrent:
            log.warning("callback conn_id=%s http_status=503: %d are being worked on", conn_id, held)
            return answers.unavailable(self.config.retry_after_s)
        self._busy += 1
        try:
            body = await read_body(
                request.receive, limit=self.config.max_body_bytes, timeout_s=self.config.body_timeout_s
            )
            return await self._take(conn_id, request.headers.get("content-type"), body)
        except BodyTooLarge:
            log.warning("callback conn_id=%s http_status=413", conn_id)
            return answers.too_large()
        except BodyTooSlow:
            log.warning("callback conn_id=%s http_status=408", conn_id)
            return answers.too_slow()
        except ClientDisconnect:
            log.info("callback conn_id=%s: the client went away before the end of its request", conn_id)
            return answers.too_slow()
        except Exception as exc:
            # Whatever it was, nothing was acknowledged. A text or a chained error could quote the message.
            log.error("callback conn_id=%s http_status=503: %s", conn_id, _without_values(exc))  # noqa: TRY400
            return answers.unavailable(self.config.retry_after_s)
        finally:
            self._busy -= 1

    async def health(self, request: Request) -> Response:
        """Tell whether callbacks can be stored. Open to all, so it says one word and asks the store seldom.

        :param request: GET.
        """
        runtime, now = self.start(), time.monotonic()
        if self._health is None or self._health[0] <= now:
            self._health = (now + HEALTH_TTL_S, runtime.health.submit(self._store_word))
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                word = await asyncio.shield(asyncio.wrap_future(self._health[1]))
        except TimeoutError:
            word = "slow"
        return answers.health(ok=word == "ok", store=word)

    async def _admit(self, conn_id: str, request: Request) -> Response | None:
        """Return why a request is turned away before its body is read, or None."""
        try:
            verifier = await self.start().credentials.find(conn_id)
        except Exception as exc:
            reason = "too many look-ups" if isinstance(exc, LookupsBusy) else _without_values(exc)
            log.error("callback conn_id=%.80r http_status=503: credentials: %s", conn_id, reason)  # noqa: TRY400
            return answers.unavailable(self.config.retry_after_s)
        if not (verifier or _NOBODY).accepts(request.headers.get("authorization")) or verifier is None:
            why = "wrong or missing credentials" if verifier else "this connection accepts no callbacks"
            log.warning("callback conn_id=%.80r http_status=401: %s", conn_id, why)
            return answers.unauthorized()
        if not address_allowed(request.client.host if request.client else None, verifier.networks):
            log.warning("callback conn_id=%s http_status=403: address outside callback_networks", conn_id)
            return answers.forbidden()
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            log.warning("callback conn_id=%s http_status=415", conn_id)
            return answers.encoded()
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.config.max_body_bytes:
            log.warning("callback conn_id=%s http_status=413 content_length=%.20s", conn_id, declared)
            return answers.too_large()
        return None

    async def _take(self, conn_id: str, content_type: str | None, body: bytes) -> Response:
        """Parse, store, answer."""
        runtime = self.start()
        try:
            if len(body) <= PARSE_AT_ONCE_BYTES:
                envelope = load(body, content_type, limits=self._limits)
            else:
                envelope = await _in(runtime.parsers, load, body, content_type, limits=self._limits)
        except ProtocolError as exc:
            # The class says enough; its text may quote the body.
            reason = type(exc).__name__
            await self._set_aside(runtime, conn_id, content_type, body, reason)
            log.warning("callback conn_id=%s status=2007, kept aside: %s", conn_id, reason)
            transaction_id, dialect = salvage(body)
            return answers.fault(answers.CORRUPT, transaction_id=transaction_id, dialect=dialect)
        message = envelope.message
        operation = type(message).__name__
        message_id: str | None = None
        if isinstance(message, DeliveryReportReq | ReadReplyReq):
            message_id = message.message_id
            try:
                report = new_report(conn_id, message, envelope.transaction_id)
                new = await runtime.writer.put(report)
            except StoreError as exc:
                if type(exc) is StoreError:
                    # Refused for what it holds: whoever mends the cause finds it here, should the MMSC give up.
                    await self._set_aside(runtime, conn_id, content_type, body, "refused by the store")
                raise
        elif isinstance(message, DeliverReq):
            if self._keeping >= max(self.config.max_concurrent // 2, 1):
                log.warning(
                    "callback conn_id=%s http_status=503: the media of %d are being kept", conn_id, self._keeping
                )
                return answers.unavailable(self.config.retry_after_s)
            # Its media are safe before its row is: a row never names what is not there.
            new = await runtime.writer.put(await self._keep(runtime, conn_id, message, envelope))
        else:
            log.warning("callback conn_id=%s operation=%s status=4003", conn_id, operation)
            return answers.fault(answers.UNSUPPORTED, transaction_id=envelope.transaction_id, dialect=envelope.dialect)
        log.info(
            "callback conn_id=%s operation=%s transaction_id=%.80r message_id=%.80r status=1000 %s",
            conn_id,
            operation,
            envelope.transaction_id,
            message_id,
            "new" if new else "duplicate",
        )
        return answers.acknowledgement(envelope)

    def commit(self, group: list[NewReport | NewInbound]) -> list[bool]:
        """Store a group, reports in one commit and messages from handsets in another; in the writer's thread.

        :param group: what to store; the media are stored already.
        :return: for each, whether it is new.
        """
        store = self.store()
        reports = [item for item in group if isinstance(item, NewReport)]
        messages = [item for item in group if isinstance(item, NewInbound)]
        new_reports = iter(store.add_reports(reports) if reports else ())
        new_messages = iter(store.add_inbound(messages) if messages else ())
        return [next(new_reports if isinstance(item, NewReport) else new_messages) for item in group]

    async def _keep(self, runtime: _Runtime, conn_id: str, message: DeliverReq, envelope: Envelope) -> NewInbound:
        """Store media, in a thread. Counted apart meanwhile: a place that does not answer holds up few reports."""
        self._busy, self._keeping = self._busy - 1, self._keeping + 1
        try:
            return await _in(runtime.media, self._keep_media, conn_id, message, envelope)
        finally:
            self._busy, self._keeping = self._busy + 1, self._keeping - 1

    def _keep_media(self, conn_id: str, message: DeliverReq, envelope: Envelope) -> NewInbound:
        def store_part(name: str, part: Part) -> str:
            return self.sink.store(name, part.body, part.content_type)

        inbound = new_inbound(conn_id, message, envelope, store_part)
        return self.start().credentials.consent_of(conn_id).heed(inbound)

    async def _set_aside(
        self, runtime: _Runtime, conn_id: str, content_type: str | None, body: bytes, reason: str
    ) -> None:
        await _in(runtime.media, lambda: self.store().keep_aside(conn_id, content_type, body, reason))

    def _store_word(self) -> str:
        try:
            check = self.store().check()
        except StoreNotMigrated:
            return "not migrated"
        except Exception as exc:
            log.error("health: %s", _without_values(exc))  # noqa: TRY400
            return "unavailable"
        if check.revision != check.head:
            return "not migrated"
        return "ok" if check.writable else "not writable"


def create_app(
    *,
    credentials: CredentialSource,
    store: Callable[[], Store],
    sink: MediaSink,
    config: ReceiverConfig | None = None,
    prefix: str = "",
    companions: Sequence[Companion] = (),
) -> Starlette:
    """Return the receiver as an ASGI application.

    Its lifespan starts and ends its threads where it is run; where it is not (a mounted application), the first
    request starts them.

    :param credentials: who may call.
    :param store: opens (or returns) the store; called in threads only, again and again.
    :param sink: where inbound media go.
    :param config: bounds; the defaults when None.
    :param prefix: path before ``/callback`` and ``/health``; empty when it is mounted.
    :param companions: what runs beside it for as long as it does.
    """
    receiver = Receiver(
        credentials=credentials, store=store, sink=sink, config=config or ReceiverConfig(), companions=companions
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        receiver.start()
        try:
            yield
        finally:
            await asyncio.to_thread(receiver.close)

    # An MMSC follows no redirect: with and without a final slash are the same address.
    paths = ("/callback", "/callback/", "/callback/{mm7_conn_id}", "/callback/{mm7_conn_id}/")
    routes = [Route(prefix + path, _Endpoint(receiver.callback), methods=["POST"]) for path in paths]
    routes.append(Route(f"{prefix}/health", receiver.health, methods=["GET"]))
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.receiver = receiver
    return app


class _Endpoint:
    """What Starlette makes of a function, without what only sessions and error pages need: it took a tenth of the time.

    :param handle: answers a request, and raises nothing.
    """

    def __init__(self, handle: Callable[[Request], Awaitable[Response]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        :param scope: ASGI's scope.
        :param receive: ASGI's receive.
        :param send: ASGI's send.
        """
        response = await self._handle(Request(scope, receive, send))
        await response(scope, receive, send)


async def _in(pool: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work in a pool. What has begun is finished, even if the caller goes away."""
    return await asyncio.shield(asyncio.wrap_future(pool.submit(work, *args, **kwargs)))


def _without_values(exc: BaseException) -> str:
    """Return an error's type and where it came from, without its text: that may quote a message or a credential."""
    frames = traceback.extract_tb(exc.__traceback__)[-3:]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(exc).__name__} at {where}"
