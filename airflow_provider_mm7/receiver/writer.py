"""Group commit: what queued while the last commit ran, and until callers have no more, becomes the next one."""

from __future__ import annotations

import asyncio
import threading
import time
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
#: Turns of the event loop without a new item after which callers have no more: one reads what came in on connections,
#: one lets each become an item; with two, every other caller missed the commit, and some more cost nothing.
QUIET_TURNS = 5
#: Seconds after which a commit begins although there are always more.
GATHER_S = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Item, Outcome]):
    """An item, and who waits for its commit."""

    item: Item
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Outcome]


class GroupWriter(Generic[Item, Outcome]):
    """One thread that commits, in groups, what many callers put.

    A commit begins when the event loop has run dry: a lone item is committed at once, and a burst in as few commits as
    can be, each of which costs as much as a dozen items. Beside a busy event loop it would also take twice as long
    (docs/decisions/receiver-threads.rst). Callers may run in any event loop; each loop is woken once a group.

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
        self._gather_until = 0.0
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
            if len(self._waiting) == 1:
                self._gather_until = time.monotonic() + GATHER_S
            count, working = len(self._waiting), self._working
        if not working:
            loop.call_soon(self._begin, loop, count, QUIET_TURNS)
        if self._patience_s is None:
            return await answer
        patience = loop.call_later(self._patience_s, self._give_up, answer)
        try:
            return await answer
        finally:
            patience.cancel()

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._lock:
            self._closed = True
            if not self._working:
                self._thread.submit(self._work)
        self._thread.shutdown(wait=True)

    def _give_up(self, answer: asyncio.Future[Outcome]) -> None:
        if not answer.done():
            answer.set_exception(StoreUnavailable(f"no commit within {self._patience_s:g} s"))

    def _begin(self, loop: asyncio.AbstractEventLoop, count: int, turns: int) -> None:
        """Begin a commit, unless there is more to come: each item that is put asks, and the last one's asking counts.

        :param loop: that asks.
        :param count: items that waited when it was asked.
        :param turns: of the loop that are to pass before.
        """
        with self._lock:
            if not self._waiting or self._working or self._closed:
                return
            due = len(self._waiting) >= MAX_GROUP or time.monotonic() >= self._gather_until
            # Another loop may be busy with other things: its asking is not waited for.
            if not due and len(self._waiting) > count and self._waiting[-1].loop is loop:
                return
            if not due and turns:
                loop.call_soon(self._begin, loop, len(self._waiting), turns - 1)
                return
            self._working = True
            self._thread.submit(self._work)

    def _work(self) -> None:
        """Commit a group; when no loop can begin the next one, or none is awaited, that one too."""
        while group := self._next():
            self._settle(group)
            if self._handed_over():
                return

    def _next(self) -> list[_Waiting[Item, Outcome]]:
        with self._lock:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            self._working = bool(group)
        return group

    def _handed_over(self) -> bool:
        """Have the loops whose callers wait begin the next commit; False: none can, or none shall."""
        with self._lock:
            if self._closed:
                return False
            self._gather_until = time.monotonic() + GATHER_S
            loops = {one.loop for one in self._waiting}
            asked = [loop for loop in loops if self._asks(loop)]
            self._working = bool(loops) and not asked
            return not self._working

    def _asks(self, loop: asyncio.AbstractEventLoop) -> bool:
        try:
            loop.call_soon_threadsafe(self._begin, loop, len(self._waiting), QUIET_TURNS)
        except RuntimeError:
            # It is closed.
            return False
        return True

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
