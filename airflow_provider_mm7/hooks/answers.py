"""Has somebody answered? What a sensor asks, and the one way to ask the store.

Nothing here imports Airflow: the sensor looks on a worker, its trigger in the triggerer, and both must find the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.presence import say_alive
from airflow_provider_mm7.store import InboundFilter, open_store


# Weakly referenced, so that what a reader remembers of a question goes with it.
@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class AnswerQuestion:
    """Which message from a handset is waited for: the first one that fits.

    :ivar wanted: what it must be like.
    :ivar senders: one of these numbers, as the store compares them; empty: any.
    :ivar linked_ids: an answer to one of these MessageIDs; empty: any.
    """

    wanted: InboundFilter = field(default_factory=InboundFilter)
    senders: tuple[str, ...] = ()
    linked_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        senders: Sequence[str] = (),
        linked_ids: Sequence[str] = (),
        conn_id: str | None = None,
        short_code: str | None = None,
        keyword: str | None = None,
        has_media: bool | None = None,
        since: datetime | None = None,
    ) -> Self:
        """Make one of what users write.

        :raises InputError: neither a sender nor a MessageID is named, or a value cannot be used.
        """
        if not senders and not linked_ids:
            raise InputError(
                "linked_id, sender", "none is given: any message would be taken for the answer", "Give one of them"
            )
        return cls(
            wanted=InboundFilter(
                conn_id=conn_id, short_code=short_code, keyword=keyword, has_media=has_media, since=since
            ),
            senders=tuple(sorted({str(InboundFilter(sender=one).sender) for one in senders})),
            linked_ids=tuple(sorted({str(InboundFilter(linked_id=one).linked_id) for one in linked_ids})),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON primitives."""
        return {
            "wanted": self.wanted.as_json(),
            "senders": list(self.senders),
            "linked_ids": list(self.linked_ids),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make one of what :meth:`as_json` returned."""
        return cls(
            wanted=InboundFilter.from_json(values["wanted"]),
            senders=tuple(values["senders"]),
            linked_ids=tuple(values["linked_ids"]),
        )

    def __str__(self) -> str:
        asked = [f"answers to {len(self.linked_ids)} messages"] * bool(self.linked_ids)
        return " ".join([*asked, *[f"from {len(self.senders)} numbers"] * bool(self.senders)])


def find_answer(url: str, question: AnswerQuestion, *, after_id: int = 0) -> InboundMMS | None:
    """Look for the first message that fits; blocking. Consumes nothing.

    :param url: the store.
    :param after_id: only among those with a higher id.
    :raises StoreError: the store cannot be used.
    """
    found = open_store(url).first_inbound(
        question.wanted, senders=question.senders, linked_ids=question.linked_ids, after_id=after_id
    )
    return None if found is None else InboundMMS.of(found)


def read_answer(url: str, message_id: int) -> InboundMMS | None:
    """Read one message by its id; None when it was pruned; blocking."""
    found = open_store(url).inbound(1, after_id=message_id - 1)
    return InboundMMS.of(found[0]) if found and found[0].id == message_id else None


class AnswerReader:
    """Asks for many at a time, and about each only what came since the last time; blocking.

    Ids are in the order of commits: what has a lower one than the newest was there when the newest was read.

    :param url: the store.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: weakref.WeakKeyDictionary[AnswerQuestion, int] = weakref.WeakKeyDictionary()

    def __call__(self, questions: Collection[AnswerQuestion]) -> dict[AnswerQuestion, InboundMMS | None]:
        """Answer every question; None where nothing fits yet.

        :raises StoreError: the store cannot be used.
        """
        newest = open_store(self._url).newest_inbound_id()
        answers: dict[AnswerQuestion, InboundMMS | None] = {}
        for question in questions:
            seen = self._seen.get(question, 0)
            answers[question] = find_answer(self._url, question, after_id=seen) if newest > seen else None
            if answers[question] is None:
                self._seen[question] = newest
        say_alive(self._url, "trigger")
        return answers
