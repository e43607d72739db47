from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_mm7.exceptions import InputError, MediaChanged, MediaNotFound, StoreUnavailable
from airflow_provider_mm7.hooks import inbox
from airflow_provider_mm7.hooks.inbound import InboundMMS
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.store import ClaimState, InboundPart, Store, open_store
from tests.store.test_inbound import MESSAGE
from tests.support.empty_ledgers import empty_ledger

PATIENCE_S = 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = empty_ledger(tmp_path / "mm7.db")
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    return open_store(url)


@pytest.fixture
def task_try(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets a try of a task run: what Airflow tells of it is all that the door looks at."""

    def run(number: int, task_id: str = "keep") -> None:
        ti = SimpleNamespace(
            dag_id="d", run_id="r", task_id=task_id, map_index=-1, id=f"{task_id} {number}", try_number=number
        )
        monkeypatch.setattr("airflow.sdk.get_current_context", lambda: {"ti": ti})

    return run


def came(store: Store, count: int, **fields: Any) -> list[int]:
    before = len(store.inbound(1000))
    store.add_inbound([replace(MESSAGE, digest=f"d{before + n}", **fields) for n in range(count)])
    return [one.id for one in store.inbound(1000)][before:]


def claim(**arguments: Any) -> Any:
    return MM7Hook("mm7_default").claim_inbound(consumer="inbox", **arguments)


def states(store: Store, ids: Sequence[int]) -> list[str | None]:
    claims = store.inbound_claims("inbox", ids)
    return [claims[one].state if one in claims else None for one in ids]


def test_handled_messages_are_acknowledged_when_the_block_ends(store: Store) -> None:
    ids = came(store, 3)
    with claim(limit=2) as messages:
        assert [message.id for message in messages] == ids[:2]
        assert messages[0] == InboundMMS.of(store.inbound(1)[0], attempts=1)
        assert states(store, ids) == ["claimed", "claimed", None]
    assert states(store, ids) == ["done", "done", None]


def test_an_error_gives_them_back(store: Store) -> None:
    ids = came(store, 2)
    with pytest.raises(KeyError), claim():
        raise KeyError("x")
    assert states(store, ids) == ["released", "released"]
    with claim() as messages:
        assert [message.attempts for message in messages] == [2, 2]


def test_a_task_that_is_ended_gives_them_back(store: Store) -> None:
    ids = came(store, 1)
    with pytest.raises(SystemExit), claim():
        raise SystemExit
    assert states(store, ids) == ["released"]


def test_one_by_one(store: Store) -> None:
    ids = came(store, 4)

    def work() -> None:
        with claim() as messages:
            messages.ack(messages[0])
            messages.release(messages[1])
            messages.release(messages[0])
            messages.ack(messages[1])
            assert messages.held == set(ids[2:])
            raise KeyError("x")

    with pytest.raises(KeyError):
        work()
    assert states(store, ids) == ["done", "released", "released", "released"]
    with claim() as messages:
        messages.release(messages[0])
    assert sorted(map(str, states(store, ids))) == ["done", "done", "done", "released"]


def test_filters_are_of_this_connection(store: Store) -> None:
    came(store, 1, conn_id="mm7_other")
    ids = came(store, 1)
    with claim(keyword="yes", short_code="111122", sender="+6421", has_media=True, linked_id="l1") as messages:
        assert [message.id for message in messages] == ids
    with claim(keyword="no") as messages:
        assert not messages


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("limit", 0),
        ("limit", True),
        ("lease_s", 1),
        ("lease_s", float("nan")),
        ("keyword", "!"),
        ("max_attempts", 0),
        ("max_attempts", True),
    ],
)
def test_wrong_arguments(store: Store, field: str, wrong: object) -> None:
    with pytest.raises(InputError, match=field), claim(**{field: wrong}):
        raise AssertionError


class TestMaxAttempts:
    def test_a_bad_message_is_parked_and_its_neighbours_are_handled(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad, *good = came(store, 3)
        handled: list[int] = []
        failures = 0

        def run() -> int:
            with claim(max_attempts=2) as messages:
                for message in messages:
                    if message.id == bad:
                        raise KeyError(message.attempts)
                handled.extend(message.id for message in messages)
                return len(messages)

        left = 1
        while left:
            try:
                left = run()
            except KeyError:
                failures += 1
        assert (handled, failures) == (good, 2)
        assert states(store, [bad, *good]) == ["parked", "done", "done"]
        (said,) = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
        assert f"1 messages were not handled in 2 attempts and are parked, ids {bad}." in said

    def test_one_that_kills_its_worker(self, store: Store, task_try: Any) -> None:
        ids = came(store, 1)
        for number in (1, 2):
            task_try(number)
            # Its worker ends here, without a word.
            assert len(claim(max_attempts=2).__enter__()) == 1
        task_try(3)
        with claim(max_attempts=2) as messages:
            assert not messages
        assert states(store, ids) == ["parked"]

    def test_given_back_by_hand(self, store: Store) -> None:
        ids = came(store, 1)
        with claim(max_attempts=1) as messages:
            messages.release(messages[0])
            assert states(store, ids) == ["parked"]

    def test_without_a_limit_it_comes_again_for_ever(self, store: Store) -> None:
        ids = came(store, 1)

        def run() -> None:
            with claim() as messages:
                raise KeyError(messages[0].attempts)

        for attempt in range(1, 12):
            with pytest.raises(KeyError, match=f"^{attempt}$"):
                run()
        assert states(store, ids) == ["released"]


class TestRetry:
    def test_the_next_try_takes_over_at_once(self, store: Store, task_try: Any) -> None:
        ids = came(store, 2)
        task_try(1)
        died = claim()
        died.__enter__()
        # The same try does not get what it has.
        with claim() as messages:
            assert not messages
        task_try(1, "another")
        with claim() as messages:
            assert not messages
        task_try(2)
        with claim() as messages:
            assert [(message.id, message.attempts) for message in messages] == [(ids[0], 2), (ids[1], 2)]
        died.__exit__(None, None, None)
        assert states(store, ids) == ["done", "done"]

    def test_outside_of_a_task_nobody_takes_over(self, store: Store) -> None:
        came(store, 1)
        with claim(), claim() as messages:
            assert not messages

    def test_a_try_that_comes_late_is_told(self, store: Store, task_try: Any, caplog: pytest.LogCaptureFixture) -> None:
        ids = came(store, 1)
        task_try(1)
        with claim():
            task_try(2)
            with claim() as messages:
                assert len(messages) == 1
                second = store.inbound_claims("inbox", ids)[ids[0]]
        assert "1 of 1 messages of consumer inbox were handed to another task" in caplog.text
        assert (second.state, states(store, ids)) == (ClaimState.CLAIMED, ["done"])


class Renewals(Store):
    """Says when a lease was renewed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.renewed = threading.Event()
        self.fail = False

    def extend_inbound(self, *arguments: Any, **options: Any) -> int:
        try:
            if self.fail:
                self.fail = False
                raise StoreUnavailable("away")
            return super().extend_inbound(*arguments, **options)
        finally:
            self.renewed.set()


class TestLease:
    @pytest.fixture
    def renewals(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> Renewals:
        other = Renewals(store._db.url.render_as_string(hide_password=False))
        monkeypatch.setattr(inbox, "open_ledger", lambda: other)
        monkeypatch.setattr(inbox, "MIN_LEASE_S", 0.05)
        return other

    def test_is_renewed_while_the_block_runs_and_not_after(self, store: Store, renewals: Renewals) -> None:
        ids = came(store, 1)
        with claim(lease_s=600):
            first = store.inbound_claims("inbox", ids)[ids[0]].lease_until
        before = threading.active_count()
        ids = came(store, 1)
        with claim(lease_s=3):
            claimed = store.inbound_claims("inbox", ids)[ids[0]].lease_until
            assert renewals.renewed.wait(PATIENCE_S)
            renewals.renewed.clear()
            assert renewals.renewed.wait(PATIENCE_S)
            lease = store.inbound_claims("inbox", ids)[ids[0]].lease_until
            assert claimed is not None
            assert lease is not None
            assert first is not None
            assert lease > claimed
        assert threading.active_count() == before
        assert states(store, ids) == ["done"]
        renewals.close()

    def test_a_renewal_that_fails_is_tried_again(
        self, store: Store, renewals: Renewals, caplog: pytest.LogCaptureFixture
    ) -> None:
        came(store, 1)
        renewals.fail = True
        with claim(lease_s=3):
            for _ in range(2):
                assert renewals.renewed.wait(PATIENCE_S)
                renewals.renewed.clear()
        assert "was not renewed: away" in caplog.text
        renewals.close()

    def test_what_is_lost_is_told(self, store: Store, renewals: Renewals, caplog: pytest.LogCaptureFixture) -> None:
        ids = came(store, 2)
        with claim(lease_s=3) as messages:
            store.release_inbound("inbox", ids[:1], token=messages._token)
            assert renewals.renewed.wait(PATIENCE_S)
        assert "1 messages of consumer inbox were handed to another task" in caplog.text
        renewals.close()


class TestStoreAway:
    def test_an_acknowledgement_is_tried_again(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = came(store, 1)
        ack, failures = Store.ack_inbound, iter([StoreUnavailable("away")])

        def away(self: Store, *arguments: Any, **options: Any) -> int:
            for failure in failures:
                raise failure
            return ack(self, *arguments, **options)

        monkeypatch.setattr(Store, "ack_inbound", away)
        with claim():
            pass
        assert states(store, ids) == ["done"]

    def test_the_error_of_the_block_is_the_one_that_is_seen(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def away(*arguments: Any, **options: Any) -> int:
            raise StoreUnavailable("away")

        came(store, 1)
        monkeypatch.setattr(Store, "release_inbound", away)
        with pytest.raises(KeyError), claim():
            raise KeyError("x")
        assert "come again when their lease ends" in caplog.text


class TestMedia:
    def part(self, path: Path, body: bytes) -> InboundPart:
        path.write_bytes(body)
        return InboundPart(
            content_type="image/gif",
            content_id=None,
            content_location="../x",
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            uri=path.as_uri(),
        )

    def test_are_read_to_the_byte(self, store: Store, tmp_path: Path) -> None:
        body = bytes(range(256))
        came(store, 1, parts=(self.part(tmp_path / "d-000.gif", body),))
        with claim() as messages:
            (media,) = messages[0].media
            assert (messages.read(media), media.name) == (body, "d-000.gif")

    @pytest.mark.parametrize("body", [b"abd", b"ab"])
    def test_that_are_not_what_was_received_are_refused(self, store: Store, tmp_path: Path, body: bytes) -> None:
        part = self.part(tmp_path / "a.gif", b"abc")
        came(store, 1, parts=(part,))
        (tmp_path / "a.gif").write_bytes(body)
        with claim() as messages, pytest.raises(MediaChanged, match="sha256"):
            messages.read(messages[0].media[0])

    def test_that_are_gone(self, store: Store, tmp_path: Path) -> None:
        part = self.part(tmp_path / "a.gif", b"abc")
        (tmp_path / "a.gif").unlink()
        came(store, 1, parts=(part,))
        with claim() as messages, pytest.raises(MediaNotFound):
            messages.read(messages[0].media[0])


def test_logs_name_no_numbers_and_no_texts(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    came(store, 1, sender="+64211234567", text="secret words")
    with claim():
        pass
    assert "1 messages" in caplog.text
    assert "211234567" not in caplog.text
    assert "secret" not in caplog.text
