"""Group commit: what queued while the last commit ran becomes the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from airflow_provider_mm7.exceptions import StoreNotMigrated, StoreNotShared, StoreUnavailable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

#: Items of one commit: bounds its statement and the time that the last of them waits.
MAX_GROUP = 500


class GroupWriter(Generic[Item, Outcome]):
    """One thread that commits, in groups, what many callers submit.

    No timer and no loop of its own: each submission queues its item and a turn of the thread; a turn takes all that
    waits by then. A lone item is committed at once, a burst in as few commits as the disk allows. It knows no event
    loop, so it serves whichever runs.

    :param commit: commits a group and returns one outcome an item; called in the writer's thread only.
    """

    def __init__(self, commit: Callable[[list[Item]], Sequence[Outcome]], *, name: str = "mm7-writer") -> None:
        self._commit = commit
        self._lock = threading.Lock()
        self._waiting: list[tuple[Item, Future[Outcome]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, item: Item) -> Future[Outcome]:
        """Queue one item.

        :param item: what to commit.
        :return: done when the item's commit is; raises what the commit raised.
        """
        future: Future[Outcome] = Future()
        # Running from the start: nobody may cancel what the thread may be committing.
        future.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append((item, future))
        self._thread.submit(self._turn)
        return future

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        self._thread.shutdown(wait=True)

    def _turn(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
        if group:
            self._settle(group)

    def _settle(self, group: list[tuple[Item, Future[Outcome]]]) -> None:
        try:
            outcomes = self._commit([item for item, _ in group])
        except (StoreUnavailable, StoreNotMigrated, StoreNotShared) as exc:
            # The store itself: none of the group is in, and none would be alone.
            for _, future in group:
                future.set_exception(exc)
        except Exception as exc:
            if len(group) == 1:
                group[0][1].set_exception(exc)
                return
            # One of them cannot be stored: alone, it fails alone.
            for member in group:
                self._settle([member])
        else:
            for (_, future), outcome in zip(group, outcomes, strict=True):
                future.set_result(outcome)
