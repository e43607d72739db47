"""Group commit: what queued while the last commit ran becomes the next one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_mm7.exceptions import StoreNotMigrated, StoreNotShared, StoreUnavailable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

#: Items of one commit: bounds its statement and the time that the last of them waits.
MAX_GROUP = 500


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Item, Outcome]):
    """An item, and who waits for its commit."""

    item: Item
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Outcome]


class GroupWriter(Generic[Item, Outcome]):
    """One thread that commits, in groups, what many callers put.

    No timer: a lone item is committed at once, a burst in as few commits as the disk allows, since all that queued
    during a commit becomes the next group. Callers may run in any event loop; each loop is woken once a group.

    :param commit: commits a group and returns one outcome an item; called in the writer's thread only.
    :param patience_s: seconds that a caller waits for its commit; None: until it is done.
    """

    def __init__(
        self,
        commit: Callable[[list[Item]], Sequence[Outcome]],
        *,
        patience_s: float | None = None,
        name: str = "mm7-writer",
    ) -> None:
        self._commit = commit
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[Item, Outcome]] = []
        self._working = False
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def put(self, item: Item) -> Outcome:
        """Commit one item. Who gives up waiting does not keep it from being committed.

        :param item: what to commit.
        :return: its outcome, once its commit is done.
        :raises StoreUnavailable: it was not done in time. It may be done all the same.
        :raises Exception: what the commit raised.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome] = loop.create_future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the writer is closed")
            self._waiting.append(_Waiting(item, loop, answer))
        # Not before whatever else is ready in this turn of the loop has been put: it joins the same commit.
        loop.call_soon(self._begin)
        try:
            async with asyncio.timeout(self._patience_s):
                return await answer
        except TimeoutError:
            raise StoreUnavailable(f"no commit within {self._patience_s:g} s") from None

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._lock:
            self._closed = True
            if not self._working:
                self._thread.submit(self._work_off)
        self._thread.shutdown(wait=True)

    def _begin(self) -> None:
        with self._lock:
            if self._waiting and not self._working and not self._closed:
                self._working = True
                self._thread.submit(self._work_off)

    def _work_off(self) -> None:
        while group := self._next():
            self._settle(group)

    def _next(self) -> list[_Waiting[Item, Outcome]]:
        with self._lock:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            self._working = bool(group)
        return group

    def _settle(self, group: list[_Waiting[Item, Outcome]]) -> None:
        try:
            outcomes = self._commit([one.item for one in group])
        except (StoreUnavailable, StoreNotMigrated, StoreNotShared) as exc:
            # The store itself: none of the group is in, and none would be alone.
            _tell(group, exc)
        except Exception as exc:
            if len(group) == 1:
                _tell(group, exc)
                return
            # One of them cannot be stored: alone, it fails alone.
            for one in group:
                self._settle([one])
        else:
            _tell(group, outcomes)


def _tell(group: Sequence[_Waiting[Item, Outcome]], told: Sequence[Outcome] | Exception) -> None:
    """Give callers their outcomes, or all of them the error. Each event loop is woken once."""
    outcomes: Sequence[Outcome | Exception] = [told] * len(group) if isinstance(told, Exception) else told
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Outcome], Outcome | Exception]]] = {}
    for one, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(one.loop, []).append((one.answer, outcome))
    for loop, answers in by_loop.items():
        # A loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer, answers)


def _answer(answers: list[tuple[asyncio.Future[Outcome], Outcome | Exception]]) -> None:
    for future, outcome in answers:
        if future.done():
            # Given up: it was committed all the same.
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
