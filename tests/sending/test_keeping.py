"""Copies of what is sent: each object once, beside the sending, which neither waits for them nor fails with them."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.protocol import Part
from airflow_provider_mm7.sending import Draft, Prepared, Profile, SendResult, keeping, prepare, send
from airflow_provider_mm7.sending.keeping import Keeper
from airflow_provider_mm7.store import SentMedia, Store
from tests.media.samples import SUPPORTED
from tests.sending.test_compose import Shelf
from tests.support.mmsc import MMSC, mmsc
from tests.support.sending import NOW, client, numbers

GIF = next(body for name, _, body, _ in SUPPORTED if name == "gif89a")
SECRET = "only for Ann"


@dataclass
class Sink:
    """Remembers what it was given; a test makes it fail or wait."""

    hinder: Callable[[], None] = lambda: None
    names: list[str] = field(default_factory=list)

    def store(self, name: str, body: bytes, content_type: str) -> str:
        self.hinder()
        assert name.endswith(hashlib.sha256(body).hexdigest())
        self.names.append(name)
        return f"kept:{name}"


def message(*bodies: bytes, to: int = 3) -> Prepared:
    objects = {f"{SECRET} {n}.gif": body for n, body in enumerate(bodies)}
    draft = Draft(to=numbers(to), subject=SECRET, text=(SECRET,), media=tuple(objects))
    return prepare(draft, Profile(), Shelf(objects), now=NOW)  # type: ignore[arg-type]


def run(store: Store, centre: MMSC, prepared: Prepared, keeper: Keeper | None, key: str = "k") -> SendResult:
    with client(centre.url) as mmsc_client:
        return send(prepared, store=store, client=mmsc_client, key=key, conn_id="c", keeper=keeper)


def kept(store: Store, result: SendResult) -> list[str | None]:
    """URI of each medium of a batch, in the order of its parts."""
    found, _ = store.only_content(result.summary.batch_id)
    assert found is not None
    keys = [part.media for part in found.content.parts if part.media]
    return [found.media[key].uri if key in found.media else None for key in keys]


def test_each_different_object_once(store: Store, tmp_path: Path) -> None:
    sink, prepared = FolderSink(tmp_path / "sent"), message(GIF, GIF + b"\0", GIF)
    with mmsc() as centre:
        result = run(store, centre, prepared, Keeper(sink))
        again = run(store, centre, prepared, Keeper(sink))
        plain = run(store, centre, prepared, None, key="other")
    digests = [hashlib.sha256(body).hexdigest() for body in (GIF, GIF + b"\0", GIF)]
    uris = [(tmp_path / "sent" / one[:2] / one).as_uri() for one in digests]
    assert kept(store, result) == kept(store, again) == uris
    assert kept(store, plain) == [None] * 3
    assert sorted(one.name for one in (tmp_path / "sent").rglob("*") if one.is_file()) == sorted(set(digests))
    assert (tmp_path / "sent" / digests[0][:2] / digests[0]).read_bytes() == GIF
    # Texts stand in the ledger, and nowhere else.
    assert not [one for one in (tmp_path / "sent").rglob("*") if one.is_file() and SECRET.encode() in one.read_bytes()]


def test_a_store_of_media_that_fails_is_asked_once_and_spoken_of_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        raise OSError(f"{SECRET} cannot be written")

    with mmsc() as centre, caplog.at_level(logging.DEBUG):
        result = run(store, centre, message(GIF, GIF + b"\0"), Keeper(Sink(fail)))
    assert result.summary.accepted == 3
    assert kept(store, result) == [None, None]
    assert len(asked) == 1
    assert caplog.text.count("no copy") + caplog.text.count("a copy is kept") == 1
    assert "OSError" in caplog.text
    assert SECRET not in caplog.text


def test_a_store_of_media_that_hangs_does_not_hold_messages_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeping, "PATIENCE_S", 0.05)
    let_go, written = threading.Event(), threading.Event()

    def hang() -> None:
        let_go.wait(60)
        written.set()

    try:
        with mmsc() as centre:
            result = run(store, centre, message(GIF), Keeper(Sink(hang)))
        assert (result.summary.accepted, written.is_set()) == (3, False)
        assert "not written yet" in caplog.text
    finally:
        let_go.set()
        for thread in threading.enumerate():
            if thread.name == "mm7-keeper":
                thread.join(60)
    # It was late, and is there all the same.
    assert str(kept(store, result)[0]).startswith("kept:")


def test_what_waits_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(keeping, "WAITING_BYTES", len(GIF) + 1)
    with mmsc() as centre:
        result = run(store, centre, message(GIF, GIF + b"\0"), Keeper(sink := Sink()))
    assert result.summary.accepted == 3
    first, second = kept(store, result)
    assert (first, second) == (f"kept:{sink.names[0]}", None)
    assert "more of them come than can be written" in caplog.text


class Broken(Store):
    """The ledger takes everything but this."""

    def record_media(self, batch_id: str, media: object) -> None:
        raise StoreUnavailable("no room")


def test_a_ledger_that_does_not_take_it(store: Store, either_ledger_url: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(either_ledger_url)
    with mmsc() as centre:
        result = run(broken, centre, message(GIF), Keeper(Sink()))
    broken.close()
    assert (result.summary.accepted, kept(store, result)) == (3, [None])
    assert "no room" in caplog.text


def test_many_objects_from_many_threads(store: Store) -> None:
    batch = store.open_batch("k", conn_id="c")
    sink = Sink()
    keeper = Keeper(sink)
    taken = [Part(content_type="image/gif", body=GIF + bytes([n % 50]), name=f"{n}.gif") for n in range(300)]

    def take(first: int) -> None:
        for n in range(first, 300, 3):
            keeper.take(taken[n], key=f"uri {n}")
            keeper.take(taken[n], key=f"uri {n}")

    threads = [threading.Thread(target=take, args=(n,)) for n in range(3)]
    threads[0].start()
    threads[0].join()
    keeper.begin(store, batch.batch_id)
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    keeper.finish()
    assert len(sink.names) == len(set(sink.names)) == 50
    assert recorded(store) == {
        f"uri {n}": f"kept:{one[:2]}/{one}" for n, one in enumerate(hashlib.sha256(x.body).hexdigest() for x in taken)
    }


def recorded(store: Store) -> dict[str, str | None]:
    from airflow_provider_mm7.store.contents import _media
    from airflow_provider_mm7.store.tables import content_media

    query = content_media.select()
    found: list[SentMedia] = store._db.read(lambda connection: [_media(row) for row in connection.execute(query)])
    return {one.key: one.uri for one in found}


def test_nothing_is_begun_where_nothing_is_taken(store: Store) -> None:
    keeper = Keeper(Sink())
    with mmsc() as centre:
        run(store, centre, message(to=1), keeper)
    assert keeper._thread is not None
    assert keeper._thread.ident is None
    Keeper(Sink()).finish()


def test_what_was_written_waits_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [GIF + bytes([n]) for n in range(20)]
    monkeypatch.setattr(keeping, "WAITING_BYTES", 2 * len(bodies[0]))
    writing = threading.Semaphore(0)
    batch, sink = store.open_batch("k", conn_id="c"), Sink(writing.release)
    keeper = Keeper(sink)
    keeper.begin(store, batch.batch_id)
    for n, body in enumerate(bodies):
        keeper.take(Part(content_type="image/gif", body=body, name=f"{n}.gif"))
        # Once this one is being written, those before it are.
        assert writing.acquire(timeout=60)
    keeper.finish()
    assert len(sink.names) == 20
