from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.receiver.writer import MAX_GROUP, GroupWriter

WAIT_S = 20


class Disk:
    """Commits that can be held up, and that refuse what they are told to."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.refuse: Callable[[list[int]], Exception | None] = lambda group: None

    def commit(self, group: list[int]) -> list[int]:
        self.begun.release()
        assert self.go.wait(WAIT_S)
        if (error := self.refuse(group)) is not None:
            raise error
        self.groups.append(group)
        return [item * 10 for item in group]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def writer(disk: Disk) -> Iterator[GroupWriter[int, int]]:
    writer = GroupWriter(disk.commit)
    yield writer
    disk.go.set()
    writer.close()


def results(futures: list[Future[int]]) -> list[int]:
    return [future.result(WAIT_S) for future in futures]


def test_a_lone_item_is_committed_at_once(writer: GroupWriter[int, int], disk: Disk) -> None:
    assert writer.submit(1).result(WAIT_S) == 10
    assert disk.groups == [[1]]


def test_what_queues_during_a_commit_becomes_the_next_one(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    first = writer.submit(0)
    assert disk.begun.acquire(timeout=WAIT_S)
    others = [writer.submit(number) for number in range(1, 50)]
    disk.go.set()
    assert results([first, *others]) == [number * 10 for number in range(50)]
    assert disk.groups == [[0], list(range(1, 50))]


def test_a_group_is_bounded(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    first = writer.submit(-1)
    assert disk.begun.acquire(timeout=WAIT_S)
    others = [writer.submit(number) for number in range(MAX_GROUP + 7)]
    disk.go.set()
    results([first, *others])
    assert [len(group) for group in disk.groups] == [1, MAX_GROUP, 7]


@pytest.mark.parametrize("error", [StoreError("refused"), ValueError("odd")])
def test_a_bad_item_fails_alone(writer: GroupWriter[int, int], disk: Disk, error: Exception) -> None:
    disk.refuse = lambda group: error if 3 in group else None
    disk.go.clear()
    first = writer.submit(0)
    assert disk.begun.acquire(timeout=WAIT_S)
    good, bad = [writer.submit(number) for number in (1, 2, 4)], writer.submit(3)
    disk.go.set()
    assert results([first, *good]) == [0, 10, 20, 40]
    assert bad.exception(WAIT_S) is error


def test_a_store_that_is_down_fails_the_whole_group_in_one_try(writer: GroupWriter[int, int], disk: Disk) -> None:
    tries: list[list[int]] = []

    def down(group: list[int]) -> Exception:
        tries.append(group)
        return StoreUnavailable("down")

    disk.refuse = down
    disk.go.clear()
    futures = [writer.submit(0)]
    assert disk.begun.acquire(timeout=WAIT_S)
    futures += [writer.submit(number) for number in (1, 2, 3)]
    disk.go.set()
    assert all(isinstance(future.exception(WAIT_S), StoreUnavailable) for future in futures)
    assert tries == [[0], [1, 2, 3]]


def test_close_commits_what_waits(disk: Disk) -> None:
    writer = GroupWriter(disk.commit)
    disk.go.clear()
    futures = [writer.submit(number) for number in range(5)]
    closing = threading.Thread(target=writer.close)
    closing.start()
    disk.go.set()
    closing.join(WAIT_S)
    assert results(futures) == [0, 10, 20, 30, 40]


def test_nobody_can_cancel_what_may_be_on_the_disk(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    future = writer.submit(1)
    assert not future.cancel()
    disk.go.set()
    assert future.result(WAIT_S) == 10
