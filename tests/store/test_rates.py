"""The moments of a connection's rate, on both databases."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.store import Store
from airflow_provider_mm7.store.tables import rate
from tests.store.conftest import now_of

#: Seconds that a test may be held up between two looks at a clock, and an hour to compare them with.
STALL_S, HOUR_S = 60.0, 3600.0


def now_or(moment: float) -> float:
    """Say how far a moment is from now."""
    return moment - time.monotonic()


def test_moments_follow_each_other_from_now_on(store: Store) -> None:
    first = store.reserve("mm7_default", slots=10, rate_per_s=10 / HOUR_S)
    second = store.reserve("mm7_default", slots=1, rate_per_s=1.0)
    assert now_or(first) == pytest.approx(0, abs=STALL_S)
    assert second - first == pytest.approx(HOUR_S, abs=1)


def test_no_moment_is_before_the_lead(store: Store) -> None:
    assert now_or(store.reserve("mm7_default", slots=1, rate_per_s=1, lead_s=HOUR_S)) == pytest.approx(
        HOUR_S, abs=STALL_S
    )


def test_a_connection_that_rested_does_not_catch_up(store: Store) -> None:
    store.reserve("mm7_default", slots=1, rate_per_s=1)
    long_ago = sa.update(rate).values(next_at=datetime(2020, 1, 1, tzinfo=UTC))
    store._db.write(lambda connection: connection.execute(long_ago))
    assert now_or(store.reserve("mm7_default", slots=1, rate_per_s=1)) == pytest.approx(0, abs=STALL_S)


@pytest.mark.parametrize(("ahead_s", "kept"), [(HOUR_S, True), (3 * HOUR_S, False)])
def test_moments_further_ahead_than_anybody_takes_them_are_from_before_the_clock_was_set_back(
    store: Store, caplog: pytest.LogCaptureFixture, ahead_s: float, kept: bool
) -> None:
    store.reserve("mm7_default", slots=1, rate_per_s=1)
    ahead = sa.update(rate).values(next_at=now_of(store) + timedelta(seconds=ahead_s))
    store._db.write(lambda connection: connection.execute(ahead))
    first = store.reserve("mm7_default", slots=1, rate_per_s=1, lead_s=1.0, queue_s=2 * HOUR_S)
    assert now_or(first) == pytest.approx(ahead_s if kept else 1.0, abs=STALL_S)
    # Told once: the next ones follow.
    second = store.reserve("mm7_default", slots=1, rate_per_s=1, lead_s=0.0, queue_s=2 * HOUR_S)
    assert second - first == pytest.approx(1, abs=STALL_S)
    assert [record.getMessage() for record in caplog.records] == (
        [] if kept else ["the store's clock was set back: the moments of connection mm7_default begin anew"]
    )


def test_connections_do_not_wait_for_each_other(store: Store) -> None:
    store.reserve("one", slots=1000, rate_per_s=1)
    assert now_or(store.reserve("two", slots=1, rate_per_s=1)) == pytest.approx(0, abs=STALL_S)


@pytest.mark.postgres
def test_a_machine_whose_clock_is_ahead_holds_nobody_up(postgres_url: str) -> None:
    """On a database that machines share the database's clock counts."""
    ahead = Store(postgres_url, clock=lambda: datetime.now(UTC) + timedelta(days=1))
    ahead.upgrade()
    ahead.reserve("mm7_default", slots=1, rate_per_s=1)
    other = Store(postgres_url)
    try:
        assert now_or(other.reserve("mm7_default", slots=1, rate_per_s=1)) == pytest.approx(0, abs=STALL_S)
    finally:
        ahead.close()
        other.close()


def test_nobody_gets_a_moment_twice(store: Store) -> None:
    taken: list[float] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        barrier.wait()
        taken.extend(store.reserve("mm7_default", slots=1, rate_per_s=1 / HOUR_S) for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 20
    assert [later - earlier for earlier, later in pairwise(sorted(taken))] == [pytest.approx(HOUR_S, abs=1)] * 19
