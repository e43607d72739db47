"""One poll of the store for all waiting triggers of a kind in a process, however many they are.

Each trigger joins the poll of its store and of its kind of question, and gets a :class:`Watch`. The poll asks for all
watches that are due in one go, in a thread, and hands each its answer. Due times lie on a grid (multiples of the
interval on the loop's clock), so that all triggers of one interval are due together, whenever they came.

It lives and dies with its watches: the first one starts it, the last one that leaves ends it, and if it dies of an
error every watch gets that error.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from airflow_provider_mm7.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

#: Seconds; shorter intervals are taken as this one. A poll takes about a millisecond.
MIN_INTERVAL_S = 0.1

#: Polls in a row that find the store unavailable before the waiting tasks fail (and may be retried).
MAX_FAILED_POLLS = 10

#: Longest wait between two polls of a store that is down, in seconds.
MAX_BACKOFF_S = 300.0

#: A question of one kind, and what the store says to it.
Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

#: Asks the store all questions of a kind; blocking.
Reader = Callable[[Collection[Q]], Mapping[Q, A]]


class Clock(Protocol):
    """What the poll knows of time."""

    def now(self) -> float:
        """Seconds on a monotonic clock."""

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        """Return when ``wake`` is set or it is ``until``, whatever is first."""


class LoopClock:
    """The running event loop's clock."""

    def now(self) -> float:
        """Seconds on the loop's monotonic clock."""
        return asyncio.get_running_loop().time()

    async def wait(self, wake: asyncio.Event, until: float) -> None:
        """Return when ``wake`` is set or it is ``until``, whatever is first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await wake.wait()


class Watch(Generic[Q, A]):
    """One trigger's place in the poll.

    :ivar question: what it asks.
    :ivar interval_s: seconds between two answers.
    :ivar due: when it is to be asked next, on the poll's clock.
    """

    __slots__ = ("_answer", "_error", "_told", "_traceback", "due", "interval_s", "question")

    def __init__(self, question: Q, interval_s: float) -> None:
        self.question = question
        self.interval_s = max(interval_s, MIN_INTERVAL_S)
        self.due = 0.0
        self._told = asyncio.Event()
        self._answer: A | None = None
        self._error: Exception | None = None
        self._traceback: TracebackType | None = None

    async def answer(self) -> A:
        """Wait for the next answer.

        :return: what the store says.
        :raises Exception: what the poll died of.
        """
        await self._told.wait()
        self._told.clear()
        if self._error is not None:
            # Every watch raises the same object; each raise would add its frames to the traceback of the last.
            raise self._error.with_traceback(self._traceback)
        return self._answer  # type: ignore[return-value]  # told and no error: there is an answer

    def schedule(self, after: float) -> None:
        """Be due at the first point of the interval's grid after a time."""
        self.due = (math.floor(after / self.interval_s) + 1) * self.interval_s
        if self.due <= after:
            self.due += self.interval_s

    def tell(self, answer: A) -> None:
        """Hand over an answer."""
        self._answer = answer
        self._told.set()

    def fail(self, error: Exception) -> None:
        """Hand over what the poll died of."""
        self._error, self._traceback = error, error.__traceback__
        self._told.set()


class Poll(Generic[Q, A]):
    """The poll of one store in one event loop.

    :param read: asks the store; blocking, called in a thread, answers every question it was given.
    :param clock: the loop's clock; another one in tests.
    :param on_end: called once when nobody can join any more.
    """

    def __init__(
        self, read: Reader[Q, A], *, clock: Clock | None = None, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._read = read
        self._clock: Clock = clock or LoopClock()
        self._on_end = on_end
        self._watches: set[Watch[Q, A]] = set()
        self._wake = asyncio.Event()
        self._next_due = math.inf
        self._failed_polls = 0
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._watches)

    @contextlib.contextmanager
    def joined(self, question: Q, interval_s: float) -> Iterator[Watch[Q, A]]:
        """Take part in the poll for the time of a ``with`` block.

        :param question: what to ask.
        :param interval_s: seconds between two answers.
        """
        watch: Watch[Q, A] = Watch(question, interval_s)
        watch.schedule(self._clock.now())
        self._watches.add(watch)
        if self._task is None:
            # An empty context: the first trigger's log context must not mark the lines of a poll that serves all.
            self._task = self.loop.create_task(self._run(), name="mm7-poll", context=contextvars.Context())
        elif watch.due < self._next_due:
            self._wake.set()
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            if not self._watches:
                self._end()

    def _end(self) -> None:
        self._on_end()
        if self._task is not None and not self.loop.is_closed():
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while True:
                self._next_due = min(watch.due for watch in self._watches)
                await self._clock.wait(self._wake, self._next_due)
                self._wake.clear()
                now = self._clock.now()
                due = [watch for watch in self._watches if watch.due <= now]
                if due:
                    await self._ask(due)
        except asyncio.CancelledError:
            self._fail(RuntimeError("the poll of the MM7 store was cancelled"))
            raise
        except Exception as exc:
            self._fail(exc)

    async def _ask(self, due: list[Watch[Q, A]]) -> None:
        try:
            answers = await asyncio.to_thread(self._read, {watch.question for watch in due})
        except StoreUnavailable as exc:
            self._failed_polls += 1
            if self._failed_polls >= MAX_FAILED_POLLS:
                raise
            self._back_off(due, exc)
            return
        if self._failed_polls:
            log.info("MM7 store answers again after %d failed polls", self._failed_polls)
        self._failed_polls = 0
        now = self._clock.now()
        for watch in due:
            watch.tell(answers[watch.question])
            watch.schedule(now)

    def _back_off(self, due: list[Watch[Q, A]], error: StoreUnavailable) -> None:
        """Let nobody ask for twice as long as the last time."""
        shortest = min(watch.interval_s for watch in due)
        delay = min(shortest * 2 ** (self._failed_polls - 1), MAX_BACKOFF_S)
        log.warning(
            "MM7 store is not available, failed poll %d of %d, next in %.1f s, %d triggers wait: %s",
            self._failed_polls,
            MAX_FAILED_POLLS,
            delay,
            len(self._watches),
            error,
        )
        until = self._clock.now() + delay
        for watch in self._watches:
            watch.due = max(watch.due, until)

    def _fail(self, error: Exception) -> None:
        self._on_end()
        for watch in self._watches:
            watch.fail(error)


#: The polls of this process, by store and kind of question. Event loops come and go in tests, so an entry counts only
#: in its own loop.
_polls: dict[tuple[str, type], Poll[Any, Any]] = {}


@contextlib.contextmanager
def joined(store_url: str, read: Reader[Q, A], question: Q, interval_s: float) -> Iterator[Watch[Q, A]]:
    """Take part in the one poll of a store in the running event loop, for the time of a ``with`` block.

    :param store_url: which store.
    :param read: how to ask it questions of this kind, should this be the first to join.
    :param question: what to ask.
    :param interval_s: seconds between two answers.
    """
    key = store_url, type(question)
    poll: Poll[Q, A] | None = _polls.get(key)
    if poll is None or poll.loop is not asyncio.get_running_loop():
        poll = _polls[key] = Poll(read, on_end=lambda: _forget(key, poll))
    with poll.joined(question, interval_s) as watch:
        yield watch


def _forget(key: tuple[str, type], poll: Poll[Any, Any] | None) -> None:
    if _polls.get(key) is poll:
        del _polls[key]
