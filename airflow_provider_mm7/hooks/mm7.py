"""A Connection of type ``mm7`` as a client of its MMSC."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.defaults import INBOUND_CONSUMER, INBOUND_LEASE_S, INBOUND_LIMIT
from airflow_provider_mm7.exceptions import MM7Error, OutcomeUnknown, PermanentStatusError, RetryableStatusError
from airflow_provider_mm7.hooks.connection import CONN_TYPE, DEFAULT_CONN_ID, ConnectionSettings
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.inbox import ClaimedMessages, claimed
from airflow_provider_mm7.hooks.masking import mask_secrets
from airflow_provider_mm7.protocol import (
    CancelReq,
    CancelRsp,
    Content,
    Message,
    Part,
    ReplaceReq,
    ReplaceRsp,
    SenderIdentification,
    Status,
    SubmitReq,
    SubmitRsp,
    VaspRequest,
    Verdict,
)
from airflow_provider_mm7.sending.outcome import find_status
from airflow_provider_mm7.store import InboundFilter
from airflow_provider_mm7.transport import MMSCClient, probe

if TYPE_CHECKING:
    from airflow_provider_mm7.hooks.reply import ReplyContent

_Answer = TypeVar("_Answer", bound=Message)
_Request = TypeVar("_Request", bound=VaspRequest)

#: Media of a request: encoded before, or parts to encode.
Media = Content | Sequence[Part] | None


class MM7Hook(BaseHook):
    """Speaks MM7 to the MMSC of a connection.

    One request each; nothing is recorded and nothing is repeated. For messages that must be sent once and only once,
    use :class:`~airflow_provider_mm7.operators.mm7.SendMMSOperator`, which keeps a ledger. The hook may be used in
    ``with``, which closes its HTTP connections at the end.

    :param mm7_conn_id: id of a connection of type ``mm7``.
    """

    conn_name_attr = "mm7_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "MM7 (MMS)"

    def __init__(self, mm7_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mm7_conn_id = mm7_conn_id
        self._client: MMSCClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def settings(self) -> ConnectionSettings:
        """The connection, read once.

        :raises ConnectionConfigError: a field is not usable.
        """
        settings = ConnectionSettings.from_connection(self.get_connection(self.mm7_conn_id))
        mask_secrets(settings.secrets)
        return settings

    @property
    def verdicts(self) -> Mapping[int, Verdict]:
        """The connection's own verdicts per status code."""
        return self.settings.verdicts

    def get_conn(self) -> MMSCClient:
        """Return the pooled HTTP client for the MMSC; the same one every time."""
        if self._client is None:
            self._client = MMSCClient(self.settings.endpoint)
        return self._client

    def close(self) -> None:
        """Close the HTTP connections. The hook may be used again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def submit(self, request: SubmitReq, content: Media = None) -> SubmitRsp:
        """Submit a message (TS 23.140 clause 8.7.1).

        MM7 version, sender and service code are the connection's where the request leaves them None.

        :param content: encoded media, or parts to encode; None sends no media.
        :return: the answer; with status 1100 (partial success) its details name who was refused.
        :raises InputError: the request would not be valid; nothing was sent.
        :raises PermanentStatusError: refused for good. Status 3003 says: one recipient at a time.
        :raises RetryableStatusError: refused for now.
        :raises NotSent: not accepted; sending again is safe.
        :raises OutcomeUnknown: it may have been accepted; sending again may deliver it twice.
        """
        if request.service_code is None:
            request = replace(request, service_code=self.settings.service_code)
        return self._call(request, content, SubmitRsp)

    def cancel(self, request: CancelReq | str) -> CancelRsp:
        """Take a message back (TS 23.140 clause 8.7.3).

        :param request: a request, or the MessageID that the MMSC gave.
        :raises StatusError: the MMSC refuses; other errors as of :meth:`submit`.
        """
        if isinstance(request, str):
            request = CancelReq(message_id=request)
        return self._call(request, None, CancelRsp)

    def replace(self, request: ReplaceReq, content: Media = None) -> ReplaceRsp:
        """Change a message that was not delivered yet (TS 23.140 clause 8.7.3).

        :param content: the new media; None leaves them as they are.
        :raises StatusError: the MMSC refuses; other errors as of :meth:`submit`.
        """
        if request.service_code is None:
            request = replace(request, service_code=self.settings.service_code)
        return self._call(request, content, ReplaceRsp)

    def claim_inbound(
        self,
        *,
        consumer: str = INBOUND_CONSUMER,
        limit: int = INBOUND_LIMIT,
        short_code: str | None = None,
        sender: str | None = None,
        keyword: str | None = None,
        has_media: bool | None = None,
        linked_id: str | None = None,
        since: datetime | None = None,
        lease_s: float = INBOUND_LEASE_S,
        max_attempts: int | None = None,
        aws_conn_id: str | None = "aws_default",
    ) -> AbstractContextManager[ClaimedMessages]:
        """Take messages from handsets that came in on this connection, for the time of a ``with`` block.

        ::

            with MM7Hook("mm7_default").claim_inbound(consumer="inbox") as messages:
                for message in messages:
                    ...

        When the block ends, they are acknowledged: this consumer never gets them again. When it raises, they are given
        back: whoever claims next gets them. When the worker dies, they are handed out again after the lease, or at once
        to the next try of the same task. So each is handled at least once, and once when nothing fails: make effects
        repeatable by the message's id.

        :param consumer: whoever handles them, the same in every run. Each consumer gets every message.
        :param limit: at most so many; the block gets none when nothing waits.
        :param short_code: only those sent to this number.
        :param sender: only those from this number.
        :param keyword: only those whose text begins with this word, in upper or lower case.
        :param has_media: only those with, or without, a picture, sound or film.
        :param linked_id: only answers to the message of this MessageID.
        :param since: only those received at this time or later (aware).
        :param lease_s: seconds after which the messages of a dead worker are handed out again. Renewed by a thread.
        :param max_attempts: attempts, the last one alone, after which a message is parked; None: it comes for ever.
        :param aws_conn_id: connection through which ``messages.read(media)`` reads ``s3://`` media.
        :raises InputError: a parameter cannot be used.
        :raises StoreError: the store cannot be used.
        """
        wanted = InboundFilter(
            conn_id=self.mm7_conn_id,
            short_code=short_code,
            sender=sender,
            keyword=keyword,
            has_media=has_media,
            linked_id=linked_id,
            since=since,
        )
        return claimed(
            consumer, wanted, limit=limit, lease_s=lease_s, max_attempts=max_attempts, aws_conn_id=aws_conn_id
        )

    def reply(
        self,
        inbound: InboundMMS | Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        on_unknown: str = "hold",
        aws_conn_id: str | None = "aws_default",
        **content: Unpack[ReplyContent],
    ) -> dict[str, Any]:
        """Answer a message from a handset: to its sender, under its LinkedID, over this connection.

        Goes through the ledger, and once: a task that runs again does not answer again, nor does another run of it to
        which the same message is handed. Who wants no messages is not written to, and counted as suppressed.

        :param inbound: the message, as ``claim_inbound`` gives it, or its JSON form from XCom.
        :param idempotency_key: names the answer. Default: the task and the message's id, so a second answer of one task
            to one message needs a key of its own.
        :param on_unknown: ``hold`` or ``resend`` an answer that may have been accepted, when the task runs again.
        :param aws_conn_id: connection through which ``s3://`` media are read.
        :param content: ``text``, ``subject``, ``media`` and more of
            :class:`~airflow_provider_mm7.operators.mm7.SendMMSOperator`'s parameters.
        :return: what SendMMSOperator returns.
        :raises InputError: it cannot be sent, or nobody can be answered.
        :raises StatusError: the MMSC refused it; other errors as of :meth:`submit`.
        :raises StoreError: the ledger cannot be used.
        """
        # Imported late: it sends through a courier, which has hooks of its own.
        from airflow_provider_mm7.hooks.reply import send_reply

        return send_reply(
            self.mm7_conn_id, inbound, content, key=idempotency_key, on_unknown=on_unknown, aws_conn_id=aws_conn_id
        )

    def test_connection(self) -> tuple[bool, str]:
        """Reach the MMSC with the credentials and send nothing to anyone.

        :return: whether it was reached and did not refuse, and a sentence that tells configuration, name resolution,
            refused connections, TLS, time-outs and credentials apart.
        """
        try:
            result = probe(self.settings.endpoint)
        except MM7Error as exc:
            return False, str(exc)
        # Carriers list the addresses that may connect, so where the test ran from matters.
        note = f"Tested from {socket.gethostname()}; workers elsewhere may have another address, and another answer"
        return result.ok, f"{result.text}. {note}."

    def _call(self, request: VaspRequest, media: Media, expected: type[_Answer]) -> _Answer:
        transaction_id = str(uuid.uuid4())
        payload = protocol.dump(
            self._complete(request),
            transaction_id=transaction_id,
            content=_encode(media),
            dialect=self.settings.dialect,
        )
        name = type(request).__name__
        response = self.get_conn().exchange(payload, transaction_id=transaction_id)
        answer = response.message
        status = find_status(answer)
        told = f"status {status.status_code}" if status else type(answer).__name__
        self.log.info("%s %s: %s", name, transaction_id, told)
        if status is not None:
            self._check(status, name, transaction_id, response.retry_after_s)
        if not isinstance(answer, expected):
            raise OutcomeUnknown(f"the MMSC answered a {name} with a {type(answer).__name__}")
        return answer

    def _complete(self, request: _Request) -> _Request:
        own, sender = request.sender_identification, self.settings.sender_identification
        return replace(
            request,
            mm7_version=request.mm7_version or self.settings.mm7_version,
            sender_identification=SenderIdentification(
                vasp_id=sender.vasp_id if own.vasp_id is None else own.vasp_id,
                vas_id=sender.vas_id if own.vas_id is None else own.vas_id,
                sender_address=sender.sender_address if own.sender_address is None else own.sender_address,
            ),
        )

    def _check(self, status: Status, name: str, transaction_id: str, retry_after_s: float | None) -> None:
        verdict = protocol.verdict(status.status_code, self.verdicts)
        if verdict in (Verdict.ACCEPTED, Verdict.PARTIAL):
            return
        kind = RetryableStatusError if verdict is Verdict.RETRY else PermanentStatusError
        standard = protocol.status_text(status.status_code)
        # The peer's text may quote a number; the standard's name of the code says the same.
        raise kind(
            f"{name} {transaction_id}: the MMSC answered {status.status_code} ({standard})",
            status_code=status.status_code,
            status_text=status.status_text or standard,
            details=status.details,
            transaction_id=transaction_id,
            retry_after_s=retry_after_s,
        )


def _encode(media: Media) -> Content | None:
    if media is None or isinstance(media, Content):
        return media
    token = uuid.uuid4().hex
    return protocol.encode_content(media, content_id=f"content-{token}", boundary=f"inner{token}")
