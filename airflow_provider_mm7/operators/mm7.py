"""Send picture messages from a DAG."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_mm7.operators.base import SendingOperator, default_key, origin_of
from airflow_provider_mm7.operators.batch import SendMMSBatchOperator
from airflow_provider_mm7.operators.plan import PlanRecipientsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mm7.hooks.sending import Courier
    from airflow_provider_mm7.sending import Draft, FailOn, OnUnknown, Prepared

__all__ = ["PlanRecipientsOperator", "SendMMSBatchOperator", "SendMMSOperator"]

log = logging.getLogger(__name__)


class SendMMSOperator(SendingOperator):
    """Send one picture message to one or many recipients, each of them at most once.

    Everything is checked, and the media are read, before anything is sent. A retry of the task, or a run after it was
    cleared, sends only what was not sent before under the same ``idempotency_key``.

    :param to: one number, several, or the output of another task. E.164: ``+64211234567`` or ``64211234567``.
    :param cc: like ``to``, shown to the recipients as copied, as far as one request holds both
        (``recipients_per_request`` of the connection).
    :param bcc: like ``to``, not shown.
    :param subject: subject line; handsets show about 40 characters.
    :param text: one text part, or several.
    :param media: URIs of media in their order: ``s3://bucket/key``, ``file:///...``, or any object store that Airflow's
        ObjectStoragePath knows.
    :param idempotency_key: names the batch; default ``dag_id/run_id/task_id/map_index``.
    :param fail_on: fail on ``any`` refused recipient (default for one), when ``all`` are (default for more), or
        ``never``.
    :param xcom_messages: whether the result lists the messages (up to 1,000).

    The other parameters are those of :class:`~airflow_provider_mm7.operators.base.SendingOperator`.

    Pushes XCom ``batch_id`` before the first request, and as ``return_value``, before any failure is raised::

        {"batch_id", "total", "accepted", "refused", "unknown", "suppressed", "planned",
         "messages": [{"recipient", "message_id", "transaction_id", "state", "status_code", "status_text"}, ...]}
    """

    template_fields: Sequence[str] = ("to", "cc", "bcc", "subject", "text", "media", *SendingOperator.template_fields)

    def __init__(
        self,
        *,
        to: str | Sequence[str],
        cc: str | Sequence[str] | None = None,
        bcc: str | Sequence[str] | None = None,
        xcom_messages: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.cc = cc
        self.bcc = bcc
        self.xcom_messages = xcom_messages

    def _draft(self) -> Draft:
        from airflow_provider_mm7.sending import digits_as_text, parse_list, parse_texts

        subject = digits_as_text(self.subject)
        return replace(
            self._shared_draft(),
            to=parse_list(self.to, field="to", integers=True),
            cc=parse_list(self.cc, field="cc", integers=True),
            bcc=parse_list(self.bcc, field="bcc", integers=True),
            # A template over several lines ends in a line break, which no subject may.
            subject=subject.strip() if isinstance(subject, str) else subject,
            text=parse_texts(self.text, field="text"),
            media=_uris(self.media),
        )

    def _sources(self) -> tuple[str, ...]:
        from airflow_provider_mm7.sending import Draft

        return Draft(to=(), media=_uris(self.media), smil=self.smil).uris

    def _run(self, context: Context, courier: Courier, on_unknown: OnUnknown, fail_on: FailOn | None) -> dict[str, Any]:
        from airflow_provider_mm7.sending import FailOn

        prepared = courier.prepare(self._draft())
        if self.preview:
            return self._show(prepared)
        if fail_on is None:
            fail_on = FailOn.ANY if len(prepared.recipients) == 1 else FailOn.ALL
        ti: Any = context["ti"]
        try:
            result = courier.send(
                prepared,
                key=self._own_key or default_key(ti, ti.map_index),
                origin=origin_of(ti),
                on_unknown=on_unknown,
                on_batch=lambda batch_id: self._begun(ti, batch_id),
                stopped=lambda: self._killed,
            )
        # Not only of Exceptions: execution_timeout raises one that is none, and people have got messages by then.
        except BaseException:
            if self.linked_batch is not None and (so_far := courier.so_far(self.linked_batch)) is not None:
                self._passed(accepted=so_far.summary.accepted)
                self._push_contract(ti, so_far.as_xcom(messages=self.xcom_messages))
            raise
        contract = result.as_xcom(messages=self.xcom_messages)
        return self._finish(ti, result, contract, fail_on=fail_on, on_unknown=on_unknown)

    def _show(self, prepared: Prepared) -> dict[str, Any]:
        from airflow_provider_mm7.hooks.sending import describe_preview, preview_result

        log.info("preview, nothing is sent:\n%s", describe_preview(prepared))
        result = preview_result(prepared)
        if not self.xcom_messages:
            del result["messages"]
        return result


def _uris(media: object) -> tuple[str, ...]:
    from airflow_provider_mm7.sending import parse_list

    # A comma may stand in an object's name, so one string is one URI; what begins like a list is a rendered one.
    if isinstance(media, str) and not media.lstrip().startswith("["):
        return (media.strip(),) if media.strip() else ()
    return parse_list(media, field="media")
