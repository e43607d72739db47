"""Sensors: tasks that wait for what comes back from the MMSC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, PokeReturnValue

from airflow_provider_mm7.exceptions import InputError, StoreError
from airflow_provider_mm7.hooks.delivery import (
    DEFAULT_DELIVERED_STATUSES,
    DEFAULT_MIN_DELIVERED_RATIO,
    Criteria,
    Decision,
    Question,
    Verdict,
    WaitFor,
    judge,
    read_store,
    sender_of,
)
from airflow_provider_mm7.hooks.links import MMSLink
from airflow_provider_mm7.sending.parse import digits_as_text
from airflow_provider_mm7.sensors.base import StoreSensor
from airflow_provider_mm7.sensors.inbound import InboundMMSSensor
from airflow_provider_mm7.triggers.mm7 import DeliveryReportTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mm7.store.types import Origin

__all__ = ["DeliveryReportSensor", "InboundMMSSensor"]


class DeliveryReportSensor(StoreSensor):
    """Wait until a batch of messages is delivered, or only sent, or even read.

    The ratio is delivered / accepted, unless ``wait_for`` says otherwise. The sensor succeeds when the wanted ratio is
    reached, and fails as soon as it cannot be reached any more, without waiting for the rest; nothing accepted, or an
    unknown batch, fails too. (A batch in which nobody wants messages leaves nothing to wait for, and succeeds.) A
    failed verdict is final: the task is not retried. While the store is unavailable it keeps asking for a bounded
    number of times; then the task fails and may be retried.

    Returns ``{"batch_id", "total", "accepted", "delivered", "failed", "ambiguous", "pending", "by_status"}``, with
    ``wait_for="read"`` also ``"read"`` and ``"by_read_status"``; pushed as XCom ``return_value`` also when the task
    fails or is skipped by a verdict.

    :param batch_id: batch of a SendMMSOperator, ``send.output["batch_id"]`` (templated).
    :param message_ids: MessageIDs of the MMSC, a list or an upstream's output, in place of batch_id (templated).
    :param delivered_statuses: MMStatus names that count as delivered. Other final ones do not, whatever they say.
    :param min_delivered_ratio: the part that has to get there, 0 to 1.
    :param wait_for: ``submitted``: until the MMSC has answered for all; the ratio is accepted / total, those left out
        who want no messages. ``delivered``: until delivery reports say so. ``read``: until read replies say so; the
        ratio is read / accepted. The MMSC is asked for read replies by ``read_reply=True`` of the sending operator, and
        handsets may keep them back: choose the ratio and the timeout accordingly.
    :param deferrable: wait in the triggerer. Default: ``[operators] default_deferrable``.
    :param poke_interval: seconds (or timedelta) between two looks, deferred or not.
    :param timeout: seconds (or timedelta) until the task gives up; ``soft_fail`` then skips it.
    :param soft_fail: skip the task where it would fail on a verdict or a time-out.
    :param outlets: assets to update when delivered; the task then ends on a worker, since a trigger updates none.
    """

    template_fields: Sequence[str] = ("batch_id", "message_ids")
    ui_color = "#d9ead3"
    operator_extra_links = (MMSLink(),)

    def __init__(
        self,
        *,
        batch_id: str | None = None,
        message_ids: Sequence[str] | str | None = None,
        delivered_statuses: Sequence[str] = DEFAULT_DELIVERED_STATUSES,
        min_delivered_ratio: float = DEFAULT_MIN_DELIVERED_RATIO,
        wait_for: str = WaitFor.DELIVERED,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (batch_id is None) == (message_ids is None):
            raise InputError("batch_id, message_ids", "exactly one of them is needed", "Give one, leave the other out")
        Criteria(delivered_statuses=delivered_statuses, min_delivered_ratio=min_delivered_ratio, wait_for=wait_for)
        self.batch_id = batch_id
        self.message_ids = message_ids
        self.delivered_statuses = delivered_statuses
        self.min_delivered_ratio = min_delivered_ratio
        self.wait_for = str(wait_for)

    def _look(self, url: str, context: Context) -> PokeReturnValue:
        question = self._question()
        summary = read_store(url, [question])[question]
        criteria = Criteria(
            delivered_statuses=self.delivered_statuses,
            min_delivered_ratio=self.min_delivered_ratio,
            wait_for=self.wait_for,
        )
        verdict = judge(question, summary, criteria, now=datetime.now(UTC))
        if verdict.decision is not Decision.WAIT:
            return PokeReturnValue(is_done=True, xcom_value=self._finish(verdict, context))
        self.log.info("%s", verdict.reason)
        return PokeReturnValue(is_done=False)

    def _trigger(self, context: Context) -> DeliveryReportTrigger:
        return DeliveryReportTrigger(
            batch_id=self.batch_id,
            message_ids=self._question().message_ids,
            delivered_statuses=self.delivered_statuses,
            min_delivered_ratio=self.min_delivered_ratio,
            wait_for=self.wait_for,
            poll_interval_s=self.poke_interval,
            skip_on_failure=self._skips,
            resume_on=self._resume_on(),
        )

    def _asked(self) -> str:
        return str(self._question())

    def execute_complete(self, context: Context, event: Mapping[str, Any] | str) -> Any:
        """Take over the trigger's verdict, where the trigger must not end the task itself.

        :param event: what :class:`DeliveryReportTrigger` sent.
        :return: the counts.
        """
        if not isinstance(event, Mapping):
            # dag.test() does not know events that end a task: it resumes with the name of the state they carry.
            return self.execute(context)
        verdict = Verdict(decision=Decision(event["decision"]), reason=event["reason"], result=dict(event["result"]))
        return self._finish(verdict, context)

    def _finish(self, verdict: Verdict, context: Context) -> dict[str, Any]:
        if verdict.decision is Decision.SUCCEED:
            self.log.info("%s", verdict.reason)
            return verdict.result
        if verdict.result and self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=verdict.result)
        if self._skips:
            raise AirflowSkipException(verdict.reason)
        raise AirflowFailException(verdict.reason)

    @property
    def linked_batch(self) -> str | None:
        """The batch that is waited for."""
        return self.batch_id

    @property
    def linked_message(self) -> str | None:
        """The first of the messages that are waited for, where no batch is named."""
        return next(iter(self._question().message_ids), None) if self.batch_id is None else None

    def _question(self) -> Question:
        """Make the question of the rendered templates.

        :raises AirflowFailException: an upstream gave something else than ids.
        """
        try:
            if self.batch_id is not None:
                return Question(batch_id=_one_id(self.batch_id))
            return Question(message_ids=_ids(self.message_ids))
        except InputError as exc:
            raise AirflowFailException(str(exc)) from exc

    def _resume_on(self) -> list[str]:
        """Verdicts that only a worker can carry out without losing something."""
        # From Airflow 3.3 on a failure event is retried; on a worker AirflowFailException ends the task for good.
        loses_failure = (
            not self.do_xcom_push
            or self._is_read
            or bool(self.on_skipped_callback if self._skips else self.retries or (self.email and self.email_on_failure))
        )
        return ["succeed"] * self._loses_success + ["fail"] * loses_failure

    def _warn(self, url: str) -> None:
        """Say what cannot arrive: reports that nobody writes to the store, read replies that nobody asked for."""
        if self.wait_for == WaitFor.SUBMITTED:
            return
        self._warn_without_receiver(url)
        if self.wait_for == WaitFor.READ:
            self._warn_unless_asked_for(url)

    def _warn_unless_asked_for(self, url: str) -> None:
        try:
            sender = sender_of(url, self._question())
        except StoreError as exc:
            self.log.warning("The MM7 store is not available: %s", exc)
            return
        if sender is not None and self._does_not_ask(sender):
            self.log.warning(
                "Task %s sends without read_reply=True: the MMSC is not asked for read replies, and there may never be "
                "any to wait for",
                sender.task_id,
            )

    def _does_not_ask(self, sender: Origin) -> bool:
        """Whether a task is known not to ask for read replies: an operator of this DAG, which is not mapped."""
        if sender.dag_id != self.dag_id or sender.task_id not in self.dag.task_dict:
            return False
        return not getattr(self.dag.task_dict[sender.task_id], "read_reply", True)


def _one_id(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    # Airflow maps over what tasks return, and over no other XCom.
    remedy = (
        'Give one batch id, such as send.output["batch_id"]; of a mapped task, '
        '.expand(batch_id=send.output.map(lambda sent: sent["batch_id"]))'
    )
    raise InputError("batch_id", f"rendered to {_kind(value)}", remedy)


def _ids(value: object) -> tuple[str, ...]:
    # Of a carrier that numbers its messages, a DAG that renders templates as native objects makes integers.
    value = digits_as_text(value)
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "("):
            raise InputError(
                "message_ids", "a list was rendered to text", "Give the list itself, or an upstream's output"
            )
        value = [text]
    items = [digits_as_text(item) for item in value] if isinstance(value, Sequence) else []
    if not items or not all(isinstance(item, str) and item for item in items):
        raise InputError("message_ids", f"rendered to {_kind(value)}", "Give a list of MessageIDs, as texts")
    return tuple(dict.fromkeys(items))


def _kind(value: object) -> str:
    if isinstance(value, str | Sequence):
        return f"{type(value).__name__} of length {len(value)}" if not isinstance(value, str) or not value else "text"
    return "nothing" if value is None else type(value).__name__
