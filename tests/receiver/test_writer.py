from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.receiver import writer as writer_module
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


@pytest_asyncio.fixture
async def writer(disk: Disk) -> AsyncIterator[GroupWriter[int, int]]:
    writer = GroupWriter(disk.commit)
    yield writer
    disk.go.set()
    writer.close()


async def put(writer: GroupWriter[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Put items, and let each one queue."""
    tasks = [asyncio.ensure_future(writer.put(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def begun(disk: Disk) -> None:
    """Wait until a commit is under way."""
    assert await asyncio.to_thread(disk.begun.acquire, timeout=WAIT_S)


async def results(tasks: list[asyncio.Task[int]]) -> list[int]:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*tasks)


async def errors(tasks: list[asyncio.Task[int]]) -> list[int | BaseException]:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lone_item_is_committed_at_once(writer: GroupWriter[int, int], disk: Disk) -> None:
    assert await results(await put(writer, 1)) == [10]
    assert disk.groups == [[1]]


async def test_what_queues_during_a_commit_becomes_the_next_one(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    tasks = await put(writer, 0)
    await begun(disk)
    tasks += await put(writer, *range(1, 50))
    disk.go.set()
    assert await results(tasks) == [number * 10 for number in range(50)]
    assert disk.groups == [[0], list(range(1, 50))]


async def test_a_burst_becomes_one_commit(
    writer: GroupWriter[int, int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_S", WAIT_S)
    tasks = []
    for number in range(20):
        # A turn of the loop, in which a caller's next one may come.
        tasks += await put(writer, number)
    await results(tasks)
    assert disk.groups == [list(range(20))]


async def test_a_commit_begins_though_there_are_always_more(
    writer: GroupWriter[int, int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_GROUP", 10**9)
    tasks = await put(writer, 0)
    async with asyncio.timeout(WAIT_S):
        while not disk.begun.acquire(blocking=False):
            tasks += await put(writer, 0)
    await results(tasks)


async def test_who_waits_in_a_loop_that_was_closed_is_committed(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    tasks = await put(writer, 0)
    await begun(disk)

    async def leave() -> None:
        await put(writer, 1)

    await asyncio.to_thread(asyncio.run, leave())
    disk.go.set()
    await results(tasks)
    await begun(disk)
    tasks = await put(writer, 2)
    await results(tasks)
    assert disk.groups == [[0], [1], [2]]


async def test_who_waits_in_a_busy_loop_holds_up_no_other(
    writer: GroupWriter[int, int], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "GATHER_S", 10 * WAIT_S)
    free, busy = threading.Event(), threading.Event()

    async def stay() -> None:
        task = asyncio.ensure_future(writer.put(1))
        await asyncio.sleep(0)
        # The loop of this thread does nothing more until the other's item is committed.
        busy.set()
        assert free.wait(WAIT_S)
        await task

    tasks = [asyncio.ensure_future(writer.put(0))]
    await asyncio.sleep(0)
    other = threading.Thread(target=asyncio.run, args=(stay(),))
    other.start()
    assert busy.wait(WAIT_S)
    try:
        assert await results(tasks) == [0]
    finally:
        free.set()
        await asyncio.to_thread(other.join, WAIT_S)
    assert disk.groups == [[0, 1]]


async def test_a_group_is_bounded(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    tasks = await put(writer, -1)
    await begun(disk)
    tasks += await put(writer, *range(MAX_GROUP + 7))
    disk.go.set()
    await results(tasks)
    assert [len(group) for group in disk.groups] == [1, MAX_GROUP, 7]


@pytest.mark.parametrize("error", [StoreError("refused"), ValueError("odd")])
async def test_a_bad_item_fails_alone(writer: GroupWriter[int, int], disk: Disk, error: Exception) -> None:
    disk.refuse = lambda group: error if 3 in group else None
    disk.go.clear()
    tasks = await put(writer, 0)
    await begun(disk)
    tasks += await put(writer, 1, 2, 3, 4)
    disk.go.set()
    assert await errors(tasks) == [0, 10, 20, error, 40]


async def test_a_store_that_is_down_fails_the_whole_group_in_one_try(writer: GroupWriter[int, int], disk: Disk) -> None:
    tries: list[list[int]] = []

    def down(group: list[int]) -> Exception:
        tries.append(group)
        return StoreUnavailable("down")

    disk.refuse = down
    disk.go.clear()
    tasks = await put(writer, 0)
    await begun(disk)
    tasks += await put(writer, 1, 2, 3)
    disk.go.set()
    assert all(isinstance(error, StoreUnavailable) for error in await errors(tasks))
    assert tries == [[0], [1, 2, 3]]


async def test_after_an_error_it_goes_on(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.refuse = lambda group: StoreUnavailable("down")
    await errors(await put(writer, 1))
    disk.refuse = lambda group: None
    assert await results(await put(writer, 2)) == [20]


async def test_close_commits_what_waits_and_takes_no_more(disk: Disk) -> None:
    writer = GroupWriter(disk.commit)
    disk.go.clear()
    tasks = await put(writer, *range(5))
    closing = asyncio.ensure_future(asyncio.to_thread(writer.close))
    disk.go.set()
    await closing
    assert await results(tasks) == [0, 10, 20, 30, 40]
    with pytest.raises(RuntimeError, match="closed"):
        await writer.put(6)


async def test_who_gives_up_waiting_cancels_nothing(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()
    tasks = await put(writer, 1)
    await begun(disk)
    tasks += await put(writer, 2, 3)
    tasks[1].cancel()
    await asyncio.sleep(0)
    disk.go.set()
    assert await results([tasks[0], tasks[2]]) == [10, 30]
    assert disk.groups == [[1], [2, 3]]
    assert tasks[1].cancelled()


def test_callers_of_several_event_loops_are_each_told(disk: Disk) -> None:
    writer = GroupWriter(disk.commit)
    outcomes: list[int] = []

    async def many() -> None:
        outcomes.extend(await asyncio.gather(*(writer.put(number) for number in range(50))))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    writer.close()
    assert sorted(outcomes) == sorted([number * 10 for number in range(50)] * 3)


async def test_a_loop_that_has_gone_away_harms_nobody(writer: GroupWriter[int, int], disk: Disk) -> None:
    disk.go.clear()

    async def give_up() -> None:
        (await put(writer, 1))[0].cancel()

    await asyncio.to_thread(lambda: asyncio.run(give_up()))
    tasks = await put(writer, 2)
    disk.go.set()
    assert await results(tasks) == [20]


async def test_who_waits_too_long_is_told_and_committed_all_the_same(disk: Disk) -> None:
    writer = GroupWriter(disk.commit, patience_s=0.01)
    disk.go.clear()
    with pytest.raises(StoreUnavailable, match="no commit within"):
        await writer.put(1)
    disk.go.set()
    await asyncio.to_thread(writer.close)
    assert disk.groups == [[1]]
