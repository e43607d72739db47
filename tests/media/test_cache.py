"""A bounded cache that many threads share."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_mm7.media.cache import BoundedCache


def test_a_value_is_made_once_however_many_ask_for_it() -> None:
    made: Counter[int] = Counter()
    gate = threading.Barrier(64)

    def make(key: int) -> bytes:
        made[key] += 1
        return bytes(key)

    cache: BoundedCache[int, bytes] = BoundedCache(most=10_000, size=len)

    def ask(number: int) -> bytes:
        gate.wait(20)
        return cache.get(number % 4, make)

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(64))) == [bytes(number % 4) for number in range(64)]
    assert made == {0: 1, 1: 1, 2: 1, 3: 1}


def test_the_least_recently_used_falls_out() -> None:
    made: list[str] = []

    def make(key: str) -> bytes:
        made.append(key)
        return bytes(10)

    cache: BoundedCache[str, bytes] = BoundedCache(most=20, size=len)
    for key in "ababcab":
        cache.get(key, make)
    # c puts a out, which then puts b out.
    assert "".join(made) == "abcab"


def test_what_is_too_large_is_given_and_not_kept() -> None:
    made: list[str] = []

    def make(key: str) -> bytes:
        made.append(key)
        return bytes(30 if key == "large" else 10)

    cache: BoundedCache[str, bytes] = BoundedCache(most=20, size=len)
    for key in ("small", "large", "large", "small"):
        cache.get(key, make)
    assert made == ["small", "large", "large"]


def test_after_an_error_the_next_one_tries_again() -> None:
    outcomes: list[OSError | bytes] = [OSError("away"), b"here"]

    def make(key: str) -> bytes:
        outcome = outcomes.pop(0)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    cache: BoundedCache[str, bytes] = BoundedCache(most=20, size=len)
    with pytest.raises(OSError, match="away"):
        cache.get("x", make)
    assert cache.get("x", make) == b"here"
    assert cache.get("x", make) == b"here"
