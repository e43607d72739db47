"""Messages of rows: put together from what is fetched and encoded once, and judged by what can be read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.exceptions import (
    InputError,
    MediaAccessDenied,
    MediaChanged,
    MediaError,
    MediaNotFound,
    MediaUnavailable,
    RecipientError,
)
from airflow_provider_mm7.media import MediaObject
from airflow_provider_mm7.protocol import Envelope, SubmitReq
from airflow_provider_mm7.sending import Draft, Profile
from airflow_provider_mm7.sending.compose import Composer
from airflow_provider_mm7.sending.recipients.spool import RowContent, Spool
from airflow_provider_mm7.store import State, Submission
from tests.media.samples import SUPPORTED

GIF = next(body for name, _, body, _ in SUPPORTED if name == "gif89a")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Shelf:
    """Objects and errors by URI, and how often each was fetched."""

    def __init__(self, objects: dict[str, bytes | MediaError | MediaUnavailable]) -> None:
        self.objects = objects
        self.fetched: Counter[str] = Counter()

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        self.fetched[uri] += 1
        found = self.objects.get(uri) or MediaNotFound(uri, "does not exist", "Check")
        if not isinstance(found, bytes):
            raise found
        return MediaObject(uri=uri, body=found, name=uri.rpartition("/")[2])


def composer(contents: Sequence[RowContent], shelf: Shelf | None = None, **options: Any) -> Composer:
    spool = Spool()
    for number, content in enumerate(contents):
        spool.add(number + 2, f"+6421{number:07}", content)
    options = {"draft": Draft(to=()), "profile": Profile(), **options}
    return Composer(source=shelf or Shelf({}), rows=spool, now=NOW, **options)


def submission(number: int) -> Submission:
    return Submission(id=number + 1, batch_id="b", row=0, recipient=f"+6421{number:07}", state=State.SENDING)


def made(one: Composer, *numbers: int) -> Envelope:
    payload = one.compose([submission(number) for number in numbers], "tid-1")
    assert len(payload) == len(payload.body)
    envelope = protocol.load(payload.body, payload.content_type)
    assert envelope.transaction_id == "tid-1"
    return envelope


def request(envelope: Envelope) -> SubmitReq:
    assert isinstance(envelope.message, SubmitReq)
    return envelope.message


def test_what_differs_and_what_is_shared() -> None:
    shelf = Shelf({"a/x.gif": GIF, "b/x.gif": GIF + b"\0" * 50_000})
    contents = [
        RowContent(subject="Ann", text=("one",), media=("a/x.gif", "b/x.gif")),
        RowContent(subject="Bob & <Co>", text=("two", ""), media=("b/x.gif",)),
        RowContent(subject="Ann", text=("thrée",)),
        RowContent(subject=None, media=("b/x.gif", "a/x.gif")),
        RowContent(subject="Ann", text=("four",), media=("a/x.gif", "b/x.gif")),
    ]
    one = composer(contents, shelf)
    for _ in range(2):
        for number, content in enumerate(contents):
            envelope = made(one, number)
            assert request(envelope).subject == content.subject
            assert [item.value for item in request(envelope).recipients.all] == [f"+6421{number:07}"]
            smil, *parts = envelope.parts
            texts = [text.encode() for text in content.text if text]
            assert [part.body for part in parts] == [*texts, *(shelf.objects[uri] for uri in content.media)]
            # The presentation shows each of them under the name that it has in this message.
            assert all(f'src="cid:{part.content_id}"'.encode() in smil.body for part in parts) or all(
                (part.content_id or "").encode() in smil.body for part in parts
            )
            assert len({part.content_id for part in parts}) == len(parts)
    assert shelf.fetched == {"a/x.gif": 1, "b/x.gif": 1}


def test_encoded_media_are_the_same_object_in_every_message() -> None:
    shelf = Shelf({"x.gif": GIF + b"\0" * 50_000})
    one = composer([RowContent(text=(f"{n}",), media=("x.gif",)) for n in range(3)], shelf)
    large = [next(chunk for chunk in one.compose([submission(n)], "t").chunks if len(chunk) > 50_000) for n in range(3)]
    assert large[0] is large[1] is large[2]


def test_many_threads_fetch_an_object_once() -> None:
    shelf = Shelf({"x.gif": GIF})
    one = composer([RowContent(text=(f"{n}",), media=("x.gif",)) for n in range(128)], shelf)
    with ThreadPoolExecutor(128) as pool:
        payloads = list(pool.map(lambda n: one.compose([submission(n)], "t").body, range(128)))
    assert all(f"\r\n{n}\r\n".encode() in body for n, body in enumerate(payloads))
    assert shelf.fetched == {"x.gif": 1}


def test_one_content_for_a_group() -> None:
    one = composer([RowContent(text=("same",))] * 3, profile=Profile(recipients_per_request=3))
    assert len(request(made(one, 0, 1, 2)).recipients.all) == 3


class TestFaults:
    def test_a_row_whose_picture_is_missing(self) -> None:
        shelf = Shelf({"x.gif": GIF, "text.gif": b"no picture"})
        contents = [RowContent(media=(uri,)) for uri in ("gone.gif", "x.gif", "text.gif", "gone.gif")]
        one = composer([*contents, RowContent(text=("other",), media=("gone.gif",))], shelf)
        for number in (0, 2, 3, 4, 0):
            with pytest.raises(RecipientError, match=r"gone\.gif: does not exist|text\.gif: holds text"):
                one.compose([submission(number)], "t")
        made(one, 1)
        # What is not there is not asked for again.
        assert shelf.fetched == {"gone.gif": 1, "x.gif": 1, "text.gif": 1}

    def test_a_row_whose_message_is_too_large(self) -> None:
        shelf = Shelf({"x.gif": GIF + bytes(6_000), "y.gif": GIF + bytes(1_000)})
        contents = [RowContent(media=media) for media in (("x.gif",), ("x.gif", "y.gif"), ("y.gif",))]
        one = composer(contents, shelf, profile=Profile(max_message_bytes=10_500))
        made(one, 0)
        problem = (
            rf"x\.gif: with {len(GIF) + 6_000} bytes is the largest object of a message of \d+ bytes.* 10500 bytes"
        )
        with pytest.raises(RecipientError, match=problem):
            one.compose([submission(1)], "t")
        made(one, 2)
        with pytest.raises(InputError, match=problem):
            composer(contents[1:2], shelf, profile=one.profile).check((), contents[1:2])

    @pytest.mark.parametrize(
        ("error", "raised"),
        [
            (MediaUnavailable("away", source="x.gif"), MediaUnavailable),
            (MediaChanged("x.gif", "changed", "Again"), MediaUnavailable),
            (MediaAccessDenied("x.gif", "denied", "Ask"), MediaAccessDenied),
        ],
    )
    def test_what_is_not_this_rows_fault_is_no_refusal_and_is_not_kept(
        self, error: MediaError | MediaUnavailable, raised: type[Exception]
    ) -> None:
        shelf = Shelf({"x.gif": error})
        one = composer([RowContent(media=("x.gif",))], shelf)
        with pytest.raises(raised) as caught:
            one.compose([submission(0)], "t")
        assert not isinstance(caught.value, RecipientError)
        shelf.objects["x.gif"] = GIF
        made(one, 0)

    def test_a_submission_without_a_row(self) -> None:
        one = composer([RowContent(text=("x",))])
        with pytest.raises(InputError, match="another task") as caught:
            one.compose([submission(7)], "t")
        assert not isinstance(caught.value, RecipientError)


class TestCheck:
    def test_a_picture_that_must_not_be_read_is_one_rows(self) -> None:
        denied = MediaAccessDenied("x.gif", "denied", "Ask")
        contents = [RowContent(media=("x.gif",)), RowContent(media=("y.gif",))]
        one = composer(contents, Shelf({"x.gif": denied, "y.gif": GIF}))
        one.check((), contents)
        with pytest.raises(MediaAccessDenied):
            one.check((), contents[:1])
        with pytest.raises(MediaAccessDenied):
            one.check(("x.gif",), contents)

    def test_one_content_that_can_be_made_is_enough(self) -> None:
        contents = [RowContent(media=("gone.gif",)), RowContent(text=("x",))]
        composer(contents).check((), contents)

    def test_where_none_can_be_made_nothing_is_sent(self) -> None:
        contents = [RowContent(media=(f"gone{n}.gif",)) for n in range(3)]
        with pytest.raises(InputError, match=r"gone0\.gif") as caught:
            composer(contents).check((), contents)
        assert not isinstance(caught.value, RecipientError)

    def test_what_all_share(self) -> None:
        with pytest.raises(MediaNotFound):
            composer([RowContent(text=("x",))]).check(("gone.gif",), [RowContent(text=("x",))])
        for draft in (Draft(to=(), priority="Urgent"), Draft(to=(), message_class="\0")):
            with pytest.raises(InputError) as caught:
                composer([], draft=draft).check((), [])
            assert not isinstance(caught.value, RecipientError)
