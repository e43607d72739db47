"""The limit of alerts, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta

from airflow_provider_mm7.store import AlertLimit, HeldBack, PruneCounts, Ruling, Store
from tests.store.conftest import START, Clock

#: Two at once, then one in ten minutes.
LIMIT = AlertLimit(per_hour=6, burst=2)
SCOPE = "mm7_default/nightly/people"


def ask(
    store: Store, key: str, *, scope: str = SCOPE, event: str = "failed", limit: AlertLimit | None = LIMIT
) -> Ruling:
    return store.ask_alert(scope, key, event=event, limit=limit)


def sent(store: Store, *keys: str) -> list[bool]:
    """Ask, and send what may leave."""
    leave = [ask(store, key).send for key in keys]
    for key, may in zip(keys, leave, strict=True):
        if may:
            store.alert_sent(key)
    return leave


def test_a_burst_and_then_the_pace(store: Store, clock: Clock) -> None:
    assert sent(store, "a", "b", "c") == [True, True, False]
    clock.advance(599)
    assert sent(store, "d") == [False]
    clock.advance(1)
    assert sent(store, "e", "f") == [True, False]
    clock.advance(3600)
    assert sent(store, "g", "h", "i") == [True, True, False]


def test_without_a_limit_everything_leaves(store: Store) -> None:
    assert all(ask(store, str(number), limit=None).send for number in range(50))


def test_scopes_do_not_count_for_each_other(store: Store) -> None:
    assert sent(store, "a", "b", "c") == [True, True, False]
    assert ask(store, "d", scope="another").send


def test_the_same_is_counted_once(store: Store) -> None:
    assert [ask(store, "a").known for _ in range(3)] == [False, True, True]
    assert sent(store, "a", "b", "c", "c", "c") == [True, True, False, False, False]
    newest = store.newest_held_alert(SCOPE)
    taken = store.take_summary(SCOPE, newest=newest, limit=LIMIT)
    assert taken is not None
    assert taken[1].count == 1


def test_the_next_alert_tells_of_what_was_held_back(store: Store, clock: Clock) -> None:
    sent(store, "a", "b", "c")
    clock.advance(60)
    ask(store, "d", event="was skipped")
    clock.advance(540)
    first, last = START, START + timedelta(seconds=60)
    told = HeldBack(count=2, events=("failed", "was skipped"), first_at=first, last_at=last)
    assert ask(store, "e").held_back == told
    store.alert_sent("e")
    assert store.newest_held_alert(SCOPE) == 0
    clock.advance(600)
    assert ask(store, "f").held_back == HeldBack()


def test_a_summary_is_for_who_saw_the_newest_and_not_before_its_time(store: Store, clock: Clock) -> None:
    sent(store, "a", "b")
    older, newer = ask(store, "c"), ask(store, "d")
    assert older.summary_due
    assert store.newest_held_alert(SCOPE) == newer.alert_id > older.alert_id
    assert store.take_summary(SCOPE, newest=older.alert_id, limit=LIMIT) is None
    taken = store.take_summary(SCOPE, newest=newer.alert_id, limit=LIMIT)
    assert taken is not None
    assert (taken[1].count, taken[1].events) == (2, ("failed",))
    assert store.take_summary(SCOPE, newest=newer.alert_id, limit=LIMIT) is None
    assert store.take_summary(SCOPE, newest=0, limit=LIMIT) is None
    # Not another one so soon.
    assert not (last := ask(store, "e")).summary_due
    assert store.take_summary(SCOPE, newest=last.alert_id, limit=LIMIT) is None
    clock.advance(600)
    assert store.take_summary(SCOPE, newest=last.alert_id, limit=LIMIT) is not None


def test_what_was_not_sent_is_told_later(store: Store, clock: Clock) -> None:
    sent(store, "a", "b", "c")
    clock.advance(600)
    assert ask(store, "d").held_back.count == 1
    store.alert_not_sent("d")
    # Not a second time.
    store.alert_sent("d")
    clock.advance(600)
    assert ask(store, "e").held_back.count == 2
    store.alert_sent("e")
    assert not ask(store, "d").send
    # A summary likewise.
    newest = ask(store, "f").alert_id
    taken = store.take_summary(SCOPE, newest=newest, limit=LIMIT)
    assert taken is not None
    store.alert_not_sent(taken[0])
    assert store.newest_held_alert(SCOPE) == newest


def test_what_died_on_its_way_is_told_later(store: Store, clock: Clock) -> None:
    sent(store, "a")
    for key in "bcd":
        ask(store, key)
    taken = store.take_summary(SCOPE, newest=store.newest_held_alert(SCOPE), limit=LIMIT)
    assert taken is not None
    # Neither b nor the summary, which tells of c and d, was sent: their processes were killed.
    clock.advance(600)
    assert ask(store, "e").held_back.count == 3
    store.alert_sent("e")
    clock.advance(600)
    assert ask(store, "f").held_back == HeldBack()
    # Asked again, an alert that may leave still may: the ledger keeps it from leaving twice.
    assert ask(store, "f").send


def test_many_at_one_time_get_no_more_than_the_limit(store: Store) -> None:
    rulings: list[Ruling] = []
    barrier = threading.Barrier(6)

    def storm(worker: int) -> None:
        barrier.wait()
        rulings.extend(ask(store, f"{worker}-{number}") for number in range(5))

    threads = [threading.Thread(target=storm, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ruling.send for ruling in rulings) == LIMIT.burst
    newest = store.newest_held_alert(SCOPE)
    taken = store.take_summary(SCOPE, newest=newest, limit=LIMIT)
    assert taken is not None
    assert taken[1].count == 30 - LIMIT.burst


def test_old_ones_are_forgotten(store: Store, clock: Clock) -> None:
    sent(store, "a", "b", "c")
    clock.advance(60)
    ask(store, "d")
    assert store.prune(START + timedelta(seconds=30)) == PruneCounts(alerts=3)
    assert store.newest_held_alert(SCOPE) > 0


def test_long_and_odd_names(store: Store) -> None:
    assert ask(store, "k\0" + "x" * 5000, scope="s" * 5000, event="failed").send
    assert ask(store, "k\0" + "x" * 5000, scope="s" * 5000, event="failed").known
