from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from airflow_provider_mm7.store import InboundFilter, InboundPart, NewInbound, Store
from tests.store.conftest import START, Clock

PART = InboundPart(
    content_type="image/gif", content_id="<a>", content_location=None, size=3, sha256="00", uri="file:///x/1.gif"
)
MESSAGE = NewInbound(
    conn_id="mm7_default",
    digest="d1",
    transaction_id="tx",
    sender="+6421",
    recipients=("111122", "+6422"),
    subject="Kia ora",
    linked_id="l1",
    date=datetime(2026, 1, 1, tzinfo=UTC),
    text="YES",
    priority="Normal",
    parts=(PART, PART),
)


def test_a_message_is_kept_as_it_was_and_once(store: Store) -> None:
    assert store.add_inbound([MESSAGE]) == [True]
    assert store.add_inbound([dataclasses.replace(MESSAGE, text="other")]) == [False]
    (row,) = store.inbound()
    assert (row.message, row.received_at) == (MESSAGE, START)


def test_bare_and_odd_messages(store: Store) -> None:
    bare = NewInbound(
        conn_id="c",
        digest="d2",
        transaction_id=None,
        sender=None,
        recipients=("\0",),
        subject="\ud800",
        linked_id="x" * 10_000,
        date=None,
        text="\0",
        parts=(dataclasses.replace(PART, content_location="\0"),),
    )
    assert store.add_inbound([bare]) == [True]
    (row,) = store.inbound(wanted=InboundFilter(linked_id="x" * 10_000))
    assert (row.message.text, row.message.subject, row.message.recipients) == ("\ufffd", "?", ("\ufffd",))


def test_pages_and_filters(store: Store) -> None:
    for n in range(5):
        store.add_inbound([dataclasses.replace(MESSAGE, digest=f"d{n}", conn_id=f"c{n % 2}", linked_id=f"l{n}")])
    first = store.inbound(2)
    assert [row.message.digest for row in first + store.inbound(after_id=first[-1].id)] == [f"d{n}" for n in range(5)]
    assert len(store.inbound(wanted=InboundFilter(conn_id="c1"))) == 2
    assert [row.message.digest for row in store.inbound(wanted=InboundFilter(linked_id="l3"))] == ["d3"]


def test_what_cannot_be_read_is_kept_to_the_byte(store: Store) -> None:
    body = bytes(range(256))
    key = store.keep_aside("c", None, body, "XmlError\0")
    (row,) = store.aside()
    assert (row.id, row.conn_id, row.content_type, row.body, row.error) == (key, "c", None, body, "XmlError\ufffd")
    assert store.aside(after_id=key) == []


class TestComponents:
    def test_a_heartbeat_renews(self, store: Store, clock: Clock) -> None:
        store.heartbeat("receiver", "a", 1)
        clock.advance(50)
        store.heartbeat("receiver", "a", 1)
        store.heartbeat("trigger", "a", 2)
        (one,) = store.components("receiver")
        assert (one.started_at, one.heartbeat_at) == (START, clock.now)
        assert [found.kind for found in store.components()] == ["receiver", "trigger"]

    def test_receivers_alive(self, store: Store, clock: Clock) -> None:
        store.heartbeat("trigger", "a", 1)
        assert not store.receivers_alive()
        store.heartbeat("receiver", "a", 2)
        clock.advance(60)
        assert store.receivers_alive(60)
        assert not store.receivers_alive(59)
        store.sign_off("receiver", "a", 2)
        assert not store.receivers_alive()

    def test_check_tells_fresh_from_stale_and_warns(self, store: Store, clock: Clock) -> None:
        store.heartbeat("receiver", "a", 1)
        clock.advance(1000)
        store.heartbeat("trigger", "b", 2)
        check = store.check()
        assert check.ok
        assert ([one.kind for one in check.fresh], [one.kind for one in check.stale]) == (["trigger"], ["receiver"])
        assert any("No receiver" in warning for warning in check.warnings)
        assert any("hosts" in warning for warning in check.warnings) == (store.dialect == "sqlite")
        assert "check" not in [one.kind for one in store.components()]

    def test_check_of_what_is_not_migrated(self, store_url: str) -> None:
        store = Store(store_url)
        check = store.check()
        assert (check.ok, check.revision, check.writable) == (False, None, False)
        assert any("airflow mm7 db upgrade" in warning for warning in check.warnings)
        assert check.dialect in store.url_masked
        store.close()
