"""What messages consisted of: recorded once for each different content, found by any message, gone with its batch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from airflow_provider_mm7.exceptions import NoSuchBatch
from airflow_provider_mm7.store import (
    Batch,
    NewContent,
    NewSubmission,
    SentContent,
    SentMedia,
    SentPart,
    State,
    Store,
    Submission,
    schema,
)
from airflow_provider_mm7.store.tables import content, content_media
from tests.store.conftest import Clock
from tests.store.make import claim, numbers, settled
from tests.store.test_pruning import LATER, deletions, rows
from tests.store.test_schema import migrate_to

WHOLE = NewContent(
    subject="Saturn's \u0000 rings \ud83d & <b>",
    options={"priority": "High", "delivery_report": True, "read_reply": False, "expiry": "P2D"},
    parts=(
        SentPart(name="p.smil", content_type="application/smil", size=7, text="<smil/>"),
        SentPart(name="text_0.txt", content_type="text/plain; charset=utf-8", size=3, text="Zoë"),
        SentPart(name="s.gif", content_type="image/gif", size=9, sha256="ab", media="ab"),
        SentPart(media="s3://news/" + "long/" * 100),
    ),
)


def text(words: str, **options: str) -> NewContent:
    return NewContent(options=options, parts=(SentPart(name="t", content_type="text/plain", size=1, text=words),))


def plan(store: Store, contents: Sequence[NewContent], count: int, *, resend: bool = False) -> Batch:
    """Plan as a sending does; message N consists of content N, or of the last one."""
    batch = store.open_batch("k", conn_id="c")
    given = store.record_contents(batch.batch_id, contents)
    wanted = [
        NewSubmission(recipient=number, content=min(n, len(contents) - 1)) for n, number in enumerate(numbers(count))
    ]
    store.replan(batch.batch_id, wanted, contents=given, resend=resend)
    store.drop_unused_contents(batch.batch_id, used=len(given))
    return batch


def words_of(store: Store, batch: Batch, count: int = 100) -> list[str | None]:
    """The text of each message, in the order of their ids."""
    return [words(store.content_of(item)) for item in store.submissions(batch.batch_id, limit=count)]


def words(found: SentContent | None) -> str | None:
    return None if found is None else found.content.parts[-1].text


def count(store: Store, table: sa.Table) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return store._db.read(lambda connection: connection.scalar(query) or 0)


def test_what_was_recorded_is_read_back(store: Store) -> None:
    batch = plan(store, [WHOLE], 2)
    first, second = (store.content_of(item) for item in store.submissions(batch.batch_id))
    assert first is not None
    assert first == second == store.only_content(batch.batch_id)[0]
    assert first.content.subject == "Saturn's \ufffd rings ? & <b>"
    assert first.content.options == WHOLE.options
    assert first.content.parts[:3] == WHOLE.parts[:3]
    # An identifier that no index would hold is kept as one that it holds, and still found by the medium.
    long = SentMedia(key=str(WHOLE.parts[3].media), name="x", content_type="image/gif", size=1, sha256="c", uri="u")
    store.record_media(batch.batch_id, [long])
    found = store.content(batch.batch_id, first.number)
    assert found is not None
    assert found.media[str(found.content.parts[3].media)].uri == "u"


def test_messages_that_share_a_content_name_none(store: Store) -> None:
    batch = plan(store, [text("hello")], 500)
    assert {item.content for item in store.submissions(batch.batch_id)} == {None}
    assert count(store, content) == 1
    assert store.only_content(batch.batch_id) == (store.content(batch.batch_id, 1), False)


def test_a_retry_records_nothing_anew(store: Store) -> None:
    contents = [text("a"), text("b"), text("a"), text("a", priority="High")]
    batch = store.open_batch("k", conn_id="c")
    first = list(store.record_contents(batch.batch_id, contents))
    assert first == [1, 2, 1, 3]
    assert list(store.record_contents(batch.batch_id, contents)) == first
    assert list(store.record_contents(batch.batch_id, [text("b"), text("new")])) == [2, 4]
    assert count(store, content) == 4


def test_as_many_contents_as_messages_are_written_in_bulk(store: Store) -> None:
    statements: list[str] = []

    def listen(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(store._db.engine, "before_cursor_execute", listen)
    batch = plan(store, [text(f"for {n}") for n in range(2500)], 2500)
    sa.event.remove(store._db.engine, "before_cursor_execute", listen)
    assert len([one for one in statements if "INTO mm7_content" in one]) <= 9
    assert len(statements) < 100
    assert not [one for one in statements if one.startswith("UPDATE mm7_submission")]
    items = store.submissions(batch.batch_id, limit=2500)
    assert [item.content for item in items] == [None, *range(2, 2501)]
    for n in (0, 1, 999, 1000, 2499):
        assert words(store.content_of(items[n])) == f"for {n}"
    assert store.only_content(batch.batch_id) == (None, True)


def sent(store: Store, batch: Batch, states: Sequence[State]) -> list[Submission]:
    items = claim(store, batch, len(states))
    for item, state in zip(items, states, strict=True):
        if state is not State.SENDING:
            store.settle(batch.batch_id, settled([item], state))
    return items


@pytest.mark.parametrize("resend", [False, True])
def test_what_was_sent_keeps_its_content_and_what_will_be_gets_the_new_one(store: Store, resend: bool) -> None:
    batch = plan(store, [text("old")], 6)
    sent(store, batch, [State.ACCEPTED, State.REFUSED, State.RETRY, State.UNKNOWN, State.SENDING])
    plan(store, [text("new")], 7, resend=resend)
    doubtful = "new" if resend else "old"
    assert words_of(store, batch) == ["old", "old", "new", doubtful, doubtful, "new", "new"]
    assert store.only_content(batch.batch_id) == (None, True)
    # And back: the record that is there is used again.
    plan(store, [text("old")], 7)
    assert words_of(store, batch) == ["old", "old", "old", doubtful, doubtful, "old", "old"]
    assert count(store, content) == (2 if resend else 1)


def test_a_content_that_nothing_was_sent_with_goes(store: Store) -> None:
    batch = plan(store, [text("old")], 3)
    plan(store, [text("new")], 3)
    assert words_of(store, batch) == ["new"] * 3
    found, differ = store.only_content(batch.batch_id)
    assert (words(found), differ, count(store, content)) == ("new", False, 1)


def test_what_an_earlier_version_sent_is_not_told(store: Store) -> None:
    batch = store.open_batch("k", conn_id="c")
    store.plan(batch.batch_id, [NewSubmission(recipient=number) for number in numbers(3)])
    sent(store, batch, [State.ACCEPTED])
    assert words_of(store, batch) == [None] * 3
    assert store.only_content(batch.batch_id) == (None, False)
    # Nobody knows whether what goes on consists of the same.
    plan(store, [text("new")], 3)
    assert words_of(store, batch) == [None, "new", "new"]
    assert store.only_content(batch.batch_id) == (None, True)


def test_a_message_keeps_its_content_through_claim_and_split(store: Store) -> None:
    batch = plan(store, [text("a"), text("b")], 2)
    group = claim(store, batch, 2, group=2)
    store.split(batch.batch_id, group, transaction_id=lambda: "t")
    store.settle(batch.batch_id, settled(claim(store, batch, 2)))
    assert words_of(store, batch) == ["a", "b"]


def test_media_are_shared_and_the_last_facts_count(store: Store) -> None:
    parts = (SentPart(media="s3://b/x.gif"), SentPart(media="s3://b/y.gif"))
    batch = plan(store, [NewContent(subject=subject, parts=parts) for subject in ("a", "b")], 2)
    x = SentMedia(key="s3://b/x.gif", name="x.gif", content_type="image/gif", size=1, sha256="1")
    y = SentMedia(key="s3://b/y.gif", name="y\0.gif", content_type="image/gif", size=2, sha256="2", text="\ud83d")
    store.record_media(batch.batch_id, [x, y])
    store.record_media(batch.batch_id, [])
    newer = SentMedia(key=x.key, name="x.gif", content_type="image/png", size=3, sha256="3", uri="file:///x")
    store.record_media(batch.batch_id, [x, newer])
    for item in store.submissions(batch.batch_id):
        found = store.content_of(item)
        assert found is not None
        assert found.media[x.key] == newer
        assert (found.media[y.key].name, found.media[y.key].text) == ("y\ufffd.gif", "?")
    assert count(store, content_media) == 2


def test_without_a_batch_there_is_nothing_to_record(store: Store) -> None:
    medium = SentMedia(key="k", name="x", content_type="image/gif", size=1, sha256="1")
    for attempt in (lambda: store.record_contents("b0", [WHOLE]), lambda: store.record_media("b0", [medium])):
        with pytest.raises(NoSuchBatch):
            attempt()
    assert store.content("b0", 1) is None


def test_all_goes_with_the_batch_in_chunks(store: Store, clock: Clock) -> None:
    batch = plan(store, [text(f"for {n}") for n in range(2100)], 3)
    store.record_media(
        batch.batch_id,
        [SentMedia(key=f"{n}", name="x", content_type="image/gif", size=1, sha256="1") for n in range(1200)],
    )
    other = store.open_batch("other", conn_id="c")
    store.record_contents(other.batch_id, [WHOLE])
    deleted = deletions(store)
    assert store.forget_batch(batch.batch_id) is True
    assert 0 < max(deleted) <= 1000
    assert (count(store, content), count(store, content_media)) == (1, 0)
    clock.now = LATER
    assert store.prune(LATER).batches == 1
    assert rows(store)["mm7_content"] == 0


def test_threads_that_record_the_same_at_the_same_moment(store: Store) -> None:
    batch = store.open_batch("k", conn_id="c")
    contents = [text(f"{n}") for n in range(40)]
    barrier = Barrier(4)

    def record(_: int) -> dict[str, int]:
        barrier.wait(60)
        mixed = contents[_ * 10 :] + contents[: _ * 10]
        given = store.record_contents(batch.batch_id, mixed)
        return {str(one.parts[0].text): number for one, number in zip(mixed, given, strict=True)}

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(record, range(4)))
    assert told[0] == told[1] == told[2] == told[3]
    assert sorted(told[0].values()) == list(range(1, 41))


def test_tables_of_the_revision_before_are_kept(store_url: str) -> None:
    store = Store(store_url)
    migrate_to(store, "0003")
    with store._db.engine.begin() as connection:
        old = sa.MetaData()
        old.reflect(connection, only=["mm7_batch", "mm7_submission"])
        now = LATER.replace(tzinfo=None)
        connection.execute(old.tables["mm7_batch"].insert().values(batch_id="b1", key="k", conn_id="c", created_at=now))
        connection.execute(
            old.tables["mm7_submission"].insert().values(
                batch_id="b1", row_no=0, recipient="1", recipient_key="1", state="accepted", attempts=1,
                not_before=now, updated_at=now, delivery="",
            )
        )  # fmt: skip
    store.upgrade()
    assert store.current_revision() == schema.head()
    (item,) = store.submissions("b1")
    assert (item.recipient, item.content, store.content_of(item)) == ("1", None, None)
    store.close()
