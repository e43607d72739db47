"""Triggers: what waits in the triggerer for a deferred task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_mm7.hooks.delivery import (
    DEFAULT_DELIVERED_STATUSES,
    DEFAULT_MIN_DELIVERED_RATIO,
    Criteria,
    Decision,
    Question,
    Verdict,
    WaitFor,
    judge,
    ledger_url,
    read_store,
)
from airflow_provider_mm7.hooks.presence import say_alive
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.answer import InboundAnswerTrigger
from airflow_provider_mm7.triggers.ending import Resumption
from airflow_provider_mm7.triggers.inbound import InboundMMSTrigger

if TYPE_CHECKING:
    from airflow_provider_mm7.store.types import DeliverySummary

__all__ = ["DeliveryReportTrigger", "InboundAnswerTrigger", "InboundMMSTrigger"]


class DeliveryReportTrigger(BaseTrigger):
    """Wait until a batch is sent, delivered or read, or cannot be any more.

    It ends the task itself, with a success, failure or skip event. Where such an event would lose something it sends
    the verdict back to the task instead (``resume_on``): when a trigger ends a task, Airflow drops asset events, runs
    retries, and gives downstream tasks the JSON text of the result in place of the result.

    :param batch_id: the batch; exactly one of batch_id and message_ids is given.
    :param message_ids: MessageIDs given by the MMSC.
    :param delivered_statuses: MMStatus names that count as delivered.
    :param min_delivered_ratio: the part that is wanted, 0 to 1.
    :param wait_for: ``submitted``, ``delivered`` or ``read``.
    :param poll_interval_s: seconds between two looks into the store.
    :param skip_on_failure: skip the task instead of failing it.
    :param resume_on: verdicts (``succeed``, ``fail``) after which the task resumes on a worker.
    """

    def __init__(
        self,
        *,
        batch_id: str | None = None,
        message_ids: Sequence[str] | None = None,
        delivered_statuses: Sequence[str] = DEFAULT_DELIVERED_STATUSES,
        min_delivered_ratio: float = DEFAULT_MIN_DELIVERED_RATIO,
        wait_for: str = WaitFor.DELIVERED,
        poll_interval_s: float = 60.0,
        skip_on_failure: bool = False,
        resume_on: Collection[str] = (),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # BaseTrigger has no annotations
        self.question = Question(batch_id=batch_id, message_ids=tuple(message_ids or ()))
        self.criteria = Criteria(
            delivered_statuses=tuple(delivered_statuses), min_delivered_ratio=min_delivered_ratio, wait_for=wait_for
        )
        self.poll_interval_s = poll_interval_s
        self.skip_on_failure = skip_on_failure
        self.resume_on = frozenset(Decision(value) for value in resume_on)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class path and the arguments to make the trigger again, JSON primitives only."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "batch_id": self.question.batch_id,
                "message_ids": list(self.question.message_ids),
                "delivered_statuses": list(self.criteria.delivered_statuses),
                "min_delivered_ratio": self.criteria.min_delivered_ratio,
                "wait_for": str(self.criteria.wait_for),
                "poll_interval_s": self.poll_interval_s,
                "skip_on_failure": self.skip_on_failure,
                "resume_on": sorted(self.resume_on),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, when there is a verdict.

        :raises StoreError: the store cannot be used, or was unavailable for too many polls.
        """
        resumption = Resumption()
        verdict = await self._verdict()
        log = self.log.info if verdict.decision is Decision.SUCCEED else self.log.warning
        log("%s: %s", verdict.decision, verdict.reason)
        if verdict.decision in self.resume_on:
            await resumption.wait()
        yield self._event(verdict)

    async def _verdict(self) -> Verdict:
        # The configuration may be read by a command or from a secrets backend.
        url = await asyncio.to_thread(ledger_url)

        def read(questions: Collection[Question]) -> Mapping[Question, DeliverySummary | None]:
            answers = read_store(url, questions)
            say_alive(url, "trigger")
            return answers

        with poll.joined(url, read, self.question, self.poll_interval_s) as watch:
            said = ""
            while True:
                summary = await watch.answer()
                verdict = judge(self.question, summary, self.criteria, now=datetime.now(UTC))
                if verdict.decision is not Decision.WAIT:
                    return verdict
                if verdict.reason != said:
                    said = verdict.reason
                    self.log.info("%s", said)

    def _event(self, verdict: Verdict) -> TriggerEvent:
        if verdict.decision in self.resume_on:
            payload = {"decision": str(verdict.decision), "reason": verdict.reason, "result": verdict.result}
            return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # no annotations there
        xcoms: dict[str, Any] | None = {"return_value": verdict.result} if verdict.result else None
        if verdict.decision is Decision.SUCCEED:
            return TaskSuccessEvent(xcoms=xcoms)
        return TaskSkippedEvent(xcoms=xcoms) if self.skip_on_failure else TaskFailedEvent(xcoms=xcoms)
