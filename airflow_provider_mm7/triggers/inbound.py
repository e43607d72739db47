"""The trigger that wakes DAGs when messages from handsets wait for them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_mm7.defaults import INBOUND_CONSUMER, INBOUND_POLL_S, INBOUND_REFIRE_S
from airflow_provider_mm7.exceptions import InputError, StoreUnavailable
from airflow_provider_mm7.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_mm7.hooks.delivery import ledger_url
from airflow_provider_mm7.hooks.presence import say_alive
from airflow_provider_mm7.store import InboundFilter, WaitingInbound, open_store
from airflow_provider_mm7.triggers import poll

#: The longest time between two events while the same messages wait, in seconds: nobody takes them, or every run fails.
MAX_REFIRE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingQuestion:
    """What a trigger asks the store: what this consumer could claim of such messages."""

    consumer: str
    wanted: InboundFilter


class Refire:
    """When an event is due. Events are lost and merged on their way to DAG runs, so none is the last word.

    At once when messages come; again after a pause while any wait. Without progress the pauses double: a DAG that is
    paused, or that fails on a message, wants no run every minute.

    :param refire_s: the first pause, in seconds.
    """

    def __init__(self, refire_s: float) -> None:
        self._refire_s = refire_s
        self._pause_s = refire_s
        self._fired_at = -math.inf
        self._newest_id = 0
        self._count = 0

    def due(self, waiting: WaitingInbound, now: float) -> bool:
        """Whether to fire now; if so, it counts as done.

        :param now: seconds on a monotonic clock.
        """
        if not waiting.count:
            return False
        newer = waiting.newest_id > self._newest_id
        if newer or waiting.count < self._count:
            self._pause_s = self._refire_s
        self._count = waiting.count
        if not newer and now - self._fired_at < self._pause_s:
            return False
        if not newer and self._fired_at > -math.inf:
            self._pause_s = min(self._pause_s * 2, max(MAX_REFIRE_S, self._refire_s))
        self._newest_id = max(self._newest_id, waiting.newest_id)
        self._fired_at = now
        return True


class InboundMMSTrigger(BaseEventTrigger):
    """Fire when messages from handsets wait for a consumer.

    ::

        inbox = Asset("mms_inbox", watchers=[AssetWatcher(name="inbox", trigger=InboundMMSTrigger(consumer="inbox"))])

    An event only wakes the DAG, which takes the messages with
    :meth:`~airflow_provider_mm7.hooks.mm7.MM7Hook.claim_inbound` under the same consumer and filters. It fires when
    something new came, and again after a while as long as anything waits. Its payload holds ids and counts, no numbers
    and no texts.

    :param mm7_conn_id: the connection on which messages come in; None: any.
    :param consumer: whoever handles them.
    :param short_code: only those sent to this number.
    :param sender: only those from this number.
    :param keyword: only those whose text begins with this word, in upper or lower case.
    :param has_media: only those with, or without, a picture, sound or film.
    :param linked_id: only answers to the message of this MessageID.
    :param poll_interval_s: seconds between two looks into the store.
    :param refire_s: seconds until the event is repeated while the same messages wait; doubles each time, up to
        15 minutes.
    """

    def __init__(
        self,
        *,
        mm7_conn_id: str | None = DEFAULT_CONN_ID,
        consumer: str = INBOUND_CONSUMER,
        short_code: str | None = None,
        sender: str | None = None,
        keyword: str | None = None,
        has_media: bool | None = None,
        linked_id: str | None = None,
        poll_interval_s: float = INBOUND_POLL_S,
        refire_s: float = INBOUND_REFIRE_S,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # BaseTrigger has no annotations
        if not consumer.strip():
            raise InputError("consumer", "empty", "Name whoever handles the messages, the same in every run")
        self.consumer = consumer
        self.wanted = InboundFilter(
            conn_id=mm7_conn_id,
            short_code=short_code,
            sender=sender,
            keyword=keyword,
            has_media=has_media,
            linked_id=linked_id,
        )
        self.poll_interval_s = poll_interval_s
        self.refire_s = refire_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class path and the arguments to make the trigger again, JSON primitives only."""
        wanted = self.wanted
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "mm7_conn_id": wanted.conn_id,
                "consumer": self.consumer,
                "short_code": wanted.short_code,
                "sender": wanted.sender,
                "keyword": wanted.keyword,
                "has_media": wanted.has_media,
                "linked_id": wanted.linked_id,
                "poll_interval_s": self.poll_interval_s,
                "refire_s": self.refire_s,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give an event whenever the DAG should look, for ever.

        :raises StoreError: the store cannot be used; Airflow starts the trigger again. One that is away is waited for.
        """
        refire = Refire(self.refire_s)
        while True:
            try:
                # Closed with this one, at once: its place in the poll must not stay until it is collected.
                async with contextlib.aclosing(self._events(refire)) as events:
                    async for event in events:
                        yield event
            except StoreUnavailable as exc:
                self.log.error("The MM7 store stays away, and is asked again: %s", exc)  # noqa: TRY400

    async def _events(self, refire: Refire) -> AsyncGenerator[TriggerEvent, None]:
        # The configuration may be read by a command or from a secrets backend.
        url = await asyncio.to_thread(ledger_url)

        def read(questions: Collection[WaitingQuestion]) -> Mapping[WaitingQuestion, WaitingInbound]:
            store = open_store(url)
            answers = {one: store.waiting_inbound(one.consumer, one.wanted) for one in questions}
            say_alive(url, "trigger")
            return answers

        question = WaitingQuestion(consumer=self.consumer, wanted=self.wanted)
        with poll.joined(url, read, question, self.poll_interval_s) as watch:
            while True:
                waiting = await watch.answer()
                if refire.due(waiting, asyncio.get_running_loop().time()):
                    self.log.info("%d messages wait for consumer %s", waiting.count, self.consumer)
                    payload = {
                        "consumer": self.consumer,
                        "mm7_conn_id": self.wanted.conn_id,
                        "waiting": waiting.count,
                        "newest_id": waiting.newest_id,
                    }
                    yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # no annotations there
