"""What the ledger knows of contents when the first request leaves, and afterwards; whoever sends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.store import SentContent, Store, open_store
from tests.hooks.test_reply import INBOUND
from tests.operators import test_batch, test_mm7
from tests.operators.conftest import TaskInstance
from tests.operators.test_mm7 import GIF
from tests.support.mmsc import Answer, Received, accept, mmsc

SAME = Path(__file__).parents[2] / "example_dags" / "media" / "saturn.gif"
Connect = Callable[..., None]


@pytest.fixture(autouse=True)
def sent_media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's copies are kept."""
    monkeypatch.setenv("AIRFLOW__MM7__SENT_MEDIA_URI", (tmp_path / "sent").as_uri())
    return tmp_path / "sent"


@pytest.fixture
def store(ledger_url: str) -> Store:
    return open_store(ledger_url)


class Witness:
    """An MMSC that looks into the ledger before it answers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen: list[tuple[Received, SentContent | None]] = []

    def __call__(self, received: Received) -> Answer:
        (batch,) = self.store.list_batches()
        (item,) = [one for one in self.store.submissions(batch.batch_id) if one.recipient in received.recipients]
        self.seen.append((received, self.store.content_of(item)))
        return accept(received)


def texts(found: SentContent | None) -> list[str | None]:
    assert found is not None
    return [part.text for part in found.content.parts if part.text is not None]


def test_one_message_is_recorded_before_it_leaves(
    connect: Connect, store: Store, tmp_path: Path, sent_media: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "saturn.gif").write_bytes(GIF)
    with mmsc(Witness(store)) as centre:
        connect(centre.url, vaspid="TNN", sender_address="5555", service_code="gold")
        task = test_mm7.operator(
            to=["+64211234567", "+64211234568"],
            subject="News",
            text="only for Ann",
            media=[(tmp_path / "saturn.gif").as_uri()],
            priority="High",
            expiry=timedelta(days=2),
            message_class="Informational",
            read_reply=True,
        )
        result = test_mm7.execute(task, TaskInstance(centre))
        witness = centre.answer
    assert isinstance(witness, Witness)
    first, second = (found for _, found in witness.seen)
    assert first is not None
    assert second is not None
    # What is known of its media, and their copies, is written beside the sending.
    assert (first.number, first.content) == (second.number, second.content)
    assert dict(first.content.options) == {
        "sender_address": "5555", "vasp_id": "TNN", "service_code": "gold", "message_class": "Informational",
        "priority": "High", "expiry": "P2D", "delivery_report": True, "read_reply": True,
    }  # fmt: skip
    received = witness.seen[0][0].envelope.parts
    assert [(part.name, part.content_type, part.size) for part in first.content.parts] == [
        (part.content_id, part.content_type.partition("; name=")[0], len(part.body)) for part in received
    ]
    assert texts(first) == [received[0].body.decode(), "only for Ann"]
    # The copy was written beside that, and is there when all is sent.
    found, differ = store.only_content(result["batch_id"])
    assert found is not None
    digest = hashlib.sha256(GIF).hexdigest()
    assert [one.uri for one in found.media.values()] == [(sent_media / digest[:2] / digest).as_uri()]
    assert (sent_media / digest[:2] / digest).read_bytes() == GIF
    assert differ is False
    assert "only for Ann" not in caplog.text


def test_a_cleared_task_records_nothing_anew(connect: Connect, store: Store) -> None:
    with mmsc() as centre:
        connect(centre.url)
        for _ in range(2):
            result = test_mm7.execute(test_mm7.operator(expiry="P1D"), TaskInstance(centre))
        assert len(centre.received) == 1
        # Somebody has corrected the text, and cleared the task: who has the old one keeps it.
        again = test_mm7.operator(text="corrected", to=["+64211234567", "+64211234568"])
        test_mm7.execute(again, TaskInstance(centre))
    items = store.submissions(result["batch_id"])
    assert [texts(store.content_of(item))[-1] for item in items] == ["hello", "corrected"]
    assert [item.content for item in items] == [None, 2]


def people(folder: Path, *rows: str) -> str:
    (folder / "people.csv").write_text("\n".join(["to,name,picture", *rows]))
    return str(folder / "people.csv")


def test_each_rows_content_is_recorded_before_it_leaves(connect: Connect, store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(GIF)
    (tmp_path / "b.gif").write_bytes(SAME.read_bytes())
    source = people(tmp_path, "+64211234560,Ann,a.gif", "+64211234561,Bob,b.gif", "+64211234562,Ann,a.gif")
    with mmsc(Witness(store)) as centre:
        connect(centre.url, max_connections=1)
        task = test_batch.operator(
            recipients=source, subject="To {{ name }}", text="Hello {{ name }}", media=["{{ picture }}"],
            media_base=str(tmp_path),
        )  # fmt: skip
        result = test_batch.execute(task, TaskInstance(centre))
        witness = centre.answer
    assert isinstance(witness, Witness)
    shown = {received.recipients[0]: found for received, found in witness.seen}
    assert {number: (one.content.subject, texts(one)) for number, one in shown.items() if one} == {
        "+64211234560": ("To Ann", ["Hello Ann"]),
        "+64211234561": ("To Bob", ["Hello Bob"]),
        "+64211234562": ("To Ann", ["Hello Ann"]),
    }
    assert [item.content for item in store.submissions(result["batch_id"])] == [None, 2, None]
    media = [
        medium
        for item in store.submissions(result["batch_id"])[:2]
        for medium in getattr(store.content_of(item), "media", {}).values()
    ]
    assert [(one.name, one.content_type, one.size) for one in media] == [
        ("a.gif", "image/gif", len(GIF)), ("b.gif", "image/gif", SAME.stat().st_size),
    ]  # fmt: skip
    assert [Path(str(one.uri).removeprefix("file://")).read_bytes() for one in media] == [GIF, SAME.read_bytes()]


def test_rows_that_share_all_are_one_content(connect: Connect, store: Store, tmp_path: Path) -> None:
    source = people(tmp_path, *(f"+6421123456{n},x," for n in range(5)))
    with mmsc() as centre:
        connect(centre.url)
        result = test_batch.execute(test_batch.operator(recipients=source), TaskInstance(centre))
    found, differ = store.only_content(result["batch_id"])
    assert (texts(found), differ) == (["hello"], False)
    assert {item.content for item in store.submissions(result["batch_id"])} == {None}


def test_a_presentation_of_the_users_own_is_kept_once(connect: Connect, store: Store, tmp_path: Path) -> None:
    smil = '<smil><body><par><text src="text_0.txt"/></par></body></smil>'
    source = people(tmp_path, *(f"+6421123456{n},name {n}," for n in range(3)))
    with mmsc() as centre:
        connect(centre.url)
        task = test_batch.operator(recipients=source, text="{{ name }}", smil=smil)
        result = test_batch.execute(task, TaskInstance(centre))
    for item in store.submissions(result["batch_id"]):
        found = store.content_of(item)
        assert found is not None
        assert [one.text for one in found.media.values()] == [smil]


@pytest.mark.parametrize("uri", ["", "s3://", "nowhere://x"])
def test_without_a_place_for_copies_all_is_sent(
    connect: Connect, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MM7__SENT_MEDIA_URI", uri)
    (tmp_path / "saturn.gif").write_bytes(GIF)
    with mmsc() as centre:
        connect(centre.url)
        task = test_mm7.operator(media=[(tmp_path / "saturn.gif").as_uri()])
        result: dict[str, Any] = test_mm7.execute(task, TaskInstance(centre))
    assert result["accepted"] == 1
    found, _ = store.only_content(result["batch_id"])
    assert found is not None
    assert [one.uri for one in found.media.values() if one.uri] == []
    assert [part.size for part in found.content.parts if part.content_type == "image/gif"] == [len(GIF)]


def test_an_answer_of_the_hook_is_recorded_too(connect: Connect, store: Store) -> None:
    with mmsc() as centre:
        connect(centre.url)
        hook = MM7Hook("mm7_default")
        answer = hook.reply(INBOUND, text="Thank you")
    found, _ = store.only_content(answer["batch_id"])
    assert texts(found)[-1] == "Thank you"
