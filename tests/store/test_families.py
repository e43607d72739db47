"""Chunks of one sending: whoever plans a number, it is sent once and not lost."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from airflow_provider_mm7.store import NewSubmission, State, Store
from tests.store.make import claim, numbers, settled


def plan(store: Store, key: str, recipients: Sequence[str], family: str | None = "campaign") -> str:
    batch_id = store.open_batch(key, conn_id="mm7_default").batch_id
    store.plan(batch_id, (NewSubmission(recipient=number) for number in recipients), family=family)
    return batch_id


def recipients(store: Store, batch_id: str) -> list[str]:
    found = store.submissions(batch_id, limit=10_000)
    assert store.summary(batch_id).total == len(found)
    return [item.recipient for item in found]


def test_a_number_that_another_chunk_is_sending_or_has_sent_is_left_out(store: Store) -> None:
    one = plan(store, "one", numbers(6))
    items = claim(store, one, 5)
    states = (State.ACCEPTED, State.REFUSED, State.SUPPRESSED)
    for item, state in zip(items, states, strict=False):
        store.settle(one, settled([item], state))
    assert recipients(store, plan(store, "two", numbers(8))) == numbers(8)[5:]
    assert recipients(store, one) == numbers(5)


@pytest.mark.parametrize("state", [State.PLANNED, State.RETRY])
def test_what_another_chunk_has_not_sent_goes_to_who_asks_last(store: Store, state: State) -> None:
    one = plan(store, "one", numbers(3))
    if state is State.RETRY:
        store.settle(one, settled(claim(store, one), state))
    two = plan(store, "two", numbers(2, first=1))
    assert (recipients(store, one), recipients(store, two)) == (numbers(1), numbers(2, first=1))
    # And back, as the tasks are cleared in another order; nothing is lost on the way.
    plan(store, "one", numbers(3))
    assert (recipients(store, one), recipients(store, two)) == ([*numbers(1), *numbers(2, first=1)], [])


def test_what_another_chunk_left_in_doubt_comes_along_and_stays_in_doubt(store: Store) -> None:
    one = plan(store, "one", numbers(3))
    store.settle(one, settled(claim(store, one, 2), State.UNKNOWN))
    two = plan(store, "two", numbers(2, first=1))
    assert {item.recipient: item.state for item in store.submissions(two)} == {
        numbers(3)[1]: State.UNKNOWN,
        numbers(3)[2]: State.PLANNED,
    }
    assert (store.summary(two).unknown, store.summary(two).planned, store.summary(two).total) == (1, 1, 2)
    assert (recipients(store, one), store.summary(one).unknown) == (numbers(1), 1)
    assert store.family_batches("campaign") == sorted([one, two])
    # All of it in doubt: nothing is planned, and it is counted all the same.
    three = plan(store, "three", numbers(1))
    assert (recipients(store, three), store.summary(three).unknown, store.summary(one).total) == (numbers(1), 1, 0)


def test_a_number_that_was_withdrawn_is_free(store: Store) -> None:
    one = plan(store, "one", numbers(2))
    store.replan(one, [NewSubmission(recipient=numbers(1)[0])], family="campaign")
    assert recipients(store, plan(store, "two", numbers(2))) == numbers(2)
    assert recipients(store, one) == []


def test_what_another_chunk_has_is_not_missing(store: Store) -> None:
    wanted = [NewSubmission(recipient=number) for number in numbers(4)]
    one = plan(store, "one", numbers(4))
    plan(store, "two", numbers(2, first=2))
    assert (store.missing(one, wanted, family="campaign"), store.missing(one, wanted)) == (0, 2)
    # Taken out of both: the family still says that this one has it.
    store.replan(one, wanted[:1], family="campaign")
    assert store.missing(one, wanted, family="campaign") == 1


def test_other_families_and_batches_without_one_are_not_asked(store: Store) -> None:
    claim(store, plan(store, "one", numbers(2)))
    assert recipients(store, plan(store, "two", numbers(2), family="another")) == numbers(2)
    assert recipients(store, plan(store, "three", numbers(2), family=None)) == numbers(2)


def test_another_spelling_is_the_same_number(store: Store) -> None:
    claim(store, plan(store, "one", ["+64211234567"]))
    assert recipients(store, plan(store, "two", ["64211234567"])) == []


def test_a_forgotten_chunk_sets_its_numbers_free(store: Store) -> None:
    one = plan(store, "one", numbers(2))
    store.settle(one, settled(claim(store, one)))
    assert store.forget_batch(one)
    assert recipients(store, plan(store, "two", numbers(2))) == numbers(2)


def test_chunks_that_are_planned_at_once_share_no_number(store: Store) -> None:
    every = numbers(300)
    # All ask for the same numbers, in chunks of one transaction each, from both ends.
    asked = [every, every[::-1], every[100:] + every[:100], every[::-1]]
    start = Barrier(len(asked))

    def work(number: int) -> str:
        start.wait()
        return plan(store, f"chunk {number}", asked[number])

    with ThreadPoolExecutor(len(asked)) as pool:
        batches = list(pool.map(work, range(len(asked))))
    planned = [number for batch_id in batches for number in recipients(store, batch_id)]
    assert sorted(planned) == sorted(every)
