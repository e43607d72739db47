"""What many threads need and one of them makes, kept within a bound in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Makes each value once, however many threads ask for it at one time.

    :param make: makes the value of a key; what it raises reaches whoever asked, and the next one tries again.
    :param size: bytes of a value.
    :param max_bytes: bytes kept; the least recently used fall out first. A larger value is not kept.
    """

    def __init__(self, make: Callable[[K], V], *, size: Callable[[V], int], max_bytes: int) -> None:
        self._make = make
        self._size = size
        self._max_bytes = max_bytes
        self._held: OrderedDict[K, V] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()
        #: Keys that are being made: the lock of whoever makes it, and how many wait for it or hold it.
        self._making: dict[K, tuple[Lock, int]] = {}

    def get(self, key: K) -> V:
        """Give the value of a key."""
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
                value = self._make(key)
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
        if size > self._max_bytes:
            return
        with self._lock:
            self._held[key] = value
            self._held_bytes += size
            while self._held_bytes > self._max_bytes:
                _, dropped = self._held.popitem(last=False)
                self._held_bytes -= self._size(dropped)
