"""The trigger that waits for an answer from a handset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_mm7.hooks.answers import AnswerQuestion, AnswerReader
from airflow_provider_mm7.hooks.delivery import ledger_url
from airflow_provider_mm7.triggers import poll
from airflow_provider_mm7.triggers.ending import Resumption


class InboundAnswerTrigger(BaseTrigger):
    """Wait for the first message from a handset that fits.

    It ends the task itself, with the message as its XCom. Where that would lose something (``resume``) it sends the id
    of the message back to the task: what is in it belongs into the store and XCom only.

    :param question: what is waited for, as :meth:`airflow_provider_mm7.hooks.answers.AnswerQuestion.as_json` gives it.
    :param poll_interval_s: seconds between two looks into the store.
    :param resume: whether the task resumes on a worker.
    """

    def __init__(self, *, question: dict[str, Any], poll_interval_s: float = 60.0, resume: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # BaseTrigger has no annotations
        self.question = AnswerQuestion.from_json(question)
        self.poll_interval_s = poll_interval_s
        self.resume = resume

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class path and the arguments to make the trigger again, JSON primitives only."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "question": self.question.as_json(),
                "poll_interval_s": self.poll_interval_s,
                "resume": self.resume,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give one event, when the message is there.

        :raises StoreError: the store cannot be used, or was unavailable for too many polls.
        """
        # The configuration may be read by a command or from a secrets backend.
        url = await asyncio.to_thread(ledger_url)
        resumption = Resumption()
        message = None
        with poll.joined(url, AnswerReader(url), self.question, self.poll_interval_s) as watch:
            while message is None:
                message = await watch.answer()
        self.log.info("%s: message %d", self.question, message.id)
        if self.resume:
            await resumption.wait()
            yield TriggerEvent({"id": message.id})  # type: ignore[no-untyped-call]  # no annotations there
        else:
            yield TaskSuccessEvent(xcoms={"return_value": message.as_json()})
