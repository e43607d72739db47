"""The moments of a connection's rate, on both databases."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from itertools import pairwise

from airflow_provider_mm7.store import Store
from tests.store.conftest import Clock


def test_moments_follow_each_other_from_now_on(store: Store, clock: Clock) -> None:
    now = clock()
    assert store.reserve("mm7_default", slots=10, rate_per_s=5) == now
    assert store.reserve("mm7_default", slots=1, rate_per_s=5) == now + timedelta(seconds=2)


def test_a_connection_that_rested_does_not_catch_up(store: Store, clock: Clock) -> None:
    store.reserve("mm7_default", slots=1, rate_per_s=1)
    clock.advance(3600)
    assert store.reserve("mm7_default", slots=1, rate_per_s=1) == clock()


def test_connections_do_not_wait_for_each_other(store: Store, clock: Clock) -> None:
    store.reserve("one", slots=1000, rate_per_s=1)
    assert store.reserve("two", slots=1, rate_per_s=1) == clock()


def test_nobody_gets_a_moment_twice(store: Store) -> None:
    taken: list[datetime] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        barrier.wait()
        taken.extend(store.reserve("mm7_default", slots=1, rate_per_s=0.5) for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 20
    assert all(later - earlier == timedelta(seconds=2) for earlier, later in pairwise(sorted(taken)))
