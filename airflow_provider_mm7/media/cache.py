"""What many threads need and one of them makes, kept within a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Makes each value once, however many threads ask for it at one time.

    :param most: how much is kept; the least recently used fall out first. A larger value is not kept.
    :param size: how much a value is, bytes for instance; without it each counts one.
    """

    def __init__(self, *, most: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._size = size
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()
        self._held_size = 0
        self._lock = Lock()
        #: Keys that are being made: the lock of whoever makes it, and how many wait for it or hold it.
        self._making: dict[K, tuple[Lock, int]] = {}

    def get(self, key: K, make: Callable[[K], V]) -> V:
        """Give the value of a key.

        :param make: makes it where it is not kept; what it raises reaches whoever asked, and the next one tries again.
        """
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            turn, count = self._making.get(key, (Lock(), 0))
            self._making[key] = (turn, count + 1)
        try:
            with turn:
                with self._lock:
                    if key in self._held:
                        return self._held[key]
                value = make(key)
                self._keep(key, value)
                return value
        finally:
            self._leave(key)

    def _leave(self, key: K) -> None:
        with self._lock:
            turn, count = self._making.pop(key)
            if count > 1:
                self._making[key] = (turn, count - 1)

    def _keep(self, key: K, value: V) -> None:
        size = self._size(value)
        if size > self._most:
            return
        with self._lock:
            self._held[key] = value
            self._held_size += size
            while self._held_size > self._most:
                _, dropped = self._held.popitem(last=False)
                self._held_size -= self._size(dropped)
