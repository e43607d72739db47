"""Answering a message from a handset, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from airflow_provider_mm7.exceptions import (
    InputError,
    MM7Error,
    NotSent,
    OutcomeUnknown,
    PermanentStatusError,
    RetryableStatusError,
)
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.inbox import running_task
from airflow_provider_mm7.hooks.sending import Courier
from airflow_provider_mm7.sending import Draft, FailOn, OnUnknown, SendResult, find_failure
from airflow_provider_mm7.store import Origin, State


class ReplyContent(TypedDict, total=False):
    """What an answer may hold; as the parameters of SendMMSOperator."""

    text: str | Sequence[str] | None
    subject: str | None
    media: str | Sequence[str] | None
    smil: str
    delivery_report: bool | None
    read_reply: bool | None
    priority: str | None
    message_class: str | None


def send_reply(
    mm7_conn_id: str,
    inbound: InboundMMS | Mapping[str, Any],
    content: ReplyContent,
    *,
    key: str | None,
    on_unknown: str,
    aws_conn_id: str | None,
) -> dict[str, Any]:
    """Send an answer through the ledger. See :meth:`airflow_provider_mm7.hooks.mm7.MM7Hook.reply`."""
    if on_unknown not in list(OnUnknown):
        raise InputError("on_unknown", f"{on_unknown!r} is unknown", f"Give one of: {', '.join(OnUnknown)}")
    message = inbound if isinstance(inbound, InboundMMS) else InboundMMS.from_json(inbound)
    if message.sender is None:
        raise InputError("inbound", f"message {message.id} has no sender", "Nobody can be answered")
    courier = Courier(mm7_conn_id=mm7_conn_id, aws_conn_id=aws_conn_id)
    prepared = courier.prepare(_draft(message.sender, message.linked_id, content))
    ti = running_task()
    origin = None
    # Not the run: a message that is handed out again may come to another run of the same task.
    name = f"reply/{message.id}"
    if ti is not None:
        origin = Origin(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)
        name = f"{ti.dag_id}/{ti.task_id}/{name}"
    result = courier.send(prepared, key=key or name, origin=origin, on_unknown=OnUnknown(on_unknown))
    failure = find_failure(result, fail_on=FailOn.ANY, on_unknown=OnUnknown(on_unknown))
    if failure is not None:
        raise _error(result, failure.text)
    return result.as_xcom()


def _draft(sender: str, linked_id: str | None, content: ReplyContent) -> Draft:
    lists = {"text": _several(content.get("text")), "media": _several(content.get("media"))}
    return Draft(to=(sender,), linked_id=linked_id, **{**content, **lists})  # type: ignore[arg-type]  # checked there


def _several(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _error(result: SendResult, text: str) -> MM7Error:
    """Return a failure as the error that a single request would have raised."""
    if result.halted_by is not None:
        return result.halted_by
    (message,) = result.problems
    if message.state in (State.UNKNOWN, State.SENDING):
        return OutcomeUnknown(text)
    if message.status_code is None:
        return NotSent(text)
    kind = RetryableStatusError if message.state is State.RETRY else PermanentStatusError
    return kind(
        text,
        status_code=message.status_code,
        status_text=message.status_text,
        details=None,
        transaction_id=message.transaction_id,
    )
