"""A draft becomes bytes: checked, encoded once, and never larger than the MMSC takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.exceptions import AddressError, InputError, MediaTooLarge, SmilError
from airflow_provider_mm7.hooks.sending import MAX_SHOWN, describe_preview, preview_result
from airflow_provider_mm7.media import MediaObject
from airflow_provider_mm7.protocol import Envelope, SubmitReq
from airflow_provider_mm7.sending import Draft, Prepared, Profile, prepare
from tests.media import samples

_BODIES = {name: body for name, _, body, _ in samples.SUPPORTED}
GIF, JPEG, MP4 = _BODIES["gif89a"], _BODIES["jpeg"], _BODIES["mp4-isom"]

NOW = datetime(2026, 1, 2, 9, 30, 47, 123456, tzinfo=UTC)
SMIL = (
    '<smil><head><layout><root-layout/><region id="Image"/><region id="Text"/></layout></head>'
    '<body><par dur="5s"><img src="cid:saturn.gif" region="Image"/><text src="cid:text_0.txt" region="Text"/></par>'
    "</body></smil>"
)


class Bucket:
    """Objects by URI, and which of them were fetched."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {f"s3://news/{name.replace('_', '.')}": body for name, body in objects.items()}
        self.fetched: list[str] = []

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        self.fetched.append(uri)
        return MediaObject(uri=uri, body=self.objects[uri], etag=None, declared_type=None, name=uri.rpartition("/")[2])


def made(*, profile: Profile | None = None, bucket: Bucket | None = None, **fields: Any) -> Prepared:
    draft = Draft(**{"to": ("+64211234567",), "text": ("hello",), "smil": "none", **fields})
    return prepare(draft, profile or Profile(), bucket or Bucket(), now=NOW)


def wire(prepared: Prepared) -> Envelope:
    payload = prepared.payload(prepared.recipients, "t1")
    assert len(payload) == len(payload.body)
    return protocol.load(payload.body, payload.content_type)


def request(prepared: Prepared) -> SubmitReq:
    message = wire(prepared).message
    assert isinstance(message, SubmitReq)
    return message


class TestRecipients:
    def test_duplicates_get_one_message_in_the_first_list_that_holds_them(self) -> None:
        prepared = made(to=("+64211234567", "64211234567"), cc=("+64211234568", "+64211234567"), bcc=("64211234568",))
        assert [(item.number, item.role) for item in prepared.recipients] == [
            ("+64211234567", "to"),
            ("+64211234568", "cc"),
        ]
        assert any(text.startswith("3 recipients") for text in prepared.warnings)

    def test_warnings_are_masked(self) -> None:
        prepared = made(to=("+64211234567", "7255441234"))
        (warning,) = prepared.warnings
        assert "7255****34" in warning
        assert "numbering plan" in warning

    def test_strict_numbers_refuse_what_otherwise_warns(self) -> None:
        with pytest.raises(AddressError, match=r"^to\[1\]: \+7255\*\*\*\*34 .*numbering plan") as caught:
            made(to=("+64211234567", "7255441234"), profile=Profile(strict_numbers=True))
        assert "7255441234" not in str(caught.value)

    @pytest.mark.parametrize(("number_format", "spelled"), [("plus", "+64211234567"), ("digits", "64211234567")])
    def test_number_format(self, number_format: str, spelled: str) -> None:
        (address,) = request(made(profile=Profile(number_format=number_format))).recipients.all
        assert address.value == spelled

    def test_nobody(self) -> None:
        with pytest.raises(InputError, match=r"^to: no recipient"):
            made(to=())


class TestContent:
    def test_media_keep_their_bytes_and_types(self) -> None:
        bucket = Bucket(saturn_gif=GIF, rings_jpg=JPEG)
        parts = wire(made(bucket=bucket, media=tuple(bucket.objects), text=("one", "", "zwei ü"))).parts
        assert [part.content_type.partition(";")[0] for part in parts] == [
            "text/plain",
            "text/plain",
            "image/gif",
            "image/jpeg",
        ]
        assert [part.body for part in parts] == [b"one", "zwei ü".encode(), GIF, JPEG]

    @pytest.mark.parametrize(("spelling", "content_type"), [("registered", "video/mp4"), ("vendor", "image/mpeg")])
    def test_the_spelling_of_media_types(self, spelling: str, content_type: str) -> None:
        bucket = Bucket(clip_mp4=MP4)
        prepared = made(bucket=bucket, media=tuple(bucket.objects), profile=Profile(media_types=spelling))
        assert wire(prepared).parts[-1].content_type.partition(";")[0] == content_type

    def test_nothing_to_send(self) -> None:
        with pytest.raises(InputError, match=r"^text: neither text nor media"):
            made(text=("", " \n"))

    def test_the_content_is_encoded_once_for_everyone(self) -> None:
        bucket = Bucket(saturn_gif=GIF + bytes(50_000))
        prepared = made(to=("+64211234567", "+64211234568"), bucket=bucket, media=tuple(bucket.objects))
        # One by one, and two in one request, which is written the long way.
        payloads = [prepared.payload(prepared.recipients[:count], "t") for count in (1, 2)]
        shared = set(map(id, payloads[0].chunks)) & set(map(id, payloads[1].chunks))
        assert shared
        assert bucket.fetched == ["s3://news/saturn.gif"]


class TestSmil:
    def content(self, smil: str, **objects: bytes) -> tuple[Prepared, Bucket]:
        bucket = Bucket(saturn_gif=GIF, **objects)
        return made(bucket=bucket, media=("s3://news/saturn.gif",), smil=smil), bucket

    def test_none(self) -> None:
        prepared, _ = self.content("none")
        body = prepared.payload(prepared.recipients, "t").body
        assert b"multipart/mixed" in body
        assert b"application/smil" not in body

    @pytest.mark.parametrize("smil", ["auto", SMIL, f"\ufeff\n {SMIL}"], ids=["auto", "inline", "inline after BOM"])
    def test_written_or_given(self, smil: str) -> None:
        prepared, _ = self.content(smil)
        parts = wire(prepared).parts
        assert parts[0].content_type.startswith("application/smil")
        assert b"saturn.gif" in parts[0].body
        assert b'type="application/smil"' in prepared.payload(prepared.recipients, "t").body

    def test_by_uri(self) -> None:
        prepared, bucket = self.content("s3://news/slides.smil", slides_smil=SMIL.encode())
        assert b"saturn.gif" in wire(prepared).parts[0].body
        assert bucket.fetched == ["s3://news/saturn.gif", "s3://news/slides.smil"]

    def test_one_that_names_what_is_not_there(self) -> None:
        with pytest.raises(SmilError):
            self.content(SMIL.replace("saturn.gif", "jupiter.gif"))


class TestSize:
    def test_the_limit_counts_the_whole_encoded_message(self) -> None:
        bucket = Bucket(saturn_gif=GIF + bytes(3_000))
        fields: dict[str, Any] = {"bucket": bucket, "media": tuple(bucket.objects), "subject": "s" * 40}
        size = len(made(**fields).payload(made(**fields).recipients, "0" * 36))
        assert size > 4_000
        made(**fields, profile=Profile(max_message_bytes=size))
        with pytest.raises(MediaTooLarge, match=r"s3://news/saturn\.gif.*limit of a message is") as caught:
            made(**fields, profile=Profile(max_message_bytes=size - 1))
        assert caught.value.limit == size - 1

    def test_and_every_recipient_of_a_request(self) -> None:
        everyone = tuple(f"+6421{number:07d}" for number in range(1, 101))
        profile = Profile(recipients_per_request=100, max_message_bytes=4_000)
        made(profile=profile)
        with pytest.raises(MediaTooLarge):
            made(to=everyone, profile=profile)
        made(to=everyone, profile=replace(profile, recipients_per_request=1))

    def test_numbers_of_unlike_length(self) -> None:
        everyone = ("+6421123", *(f"+64211234567890{digit}"[:16] for digit in range(10)))
        size = len(made(to=everyone[:1]).payload(made(to=everyone[:1]).recipients, "0" * 36))
        with pytest.raises(MediaTooLarge):
            made(to=everyone, profile=Profile(max_message_bytes=size))

    def test_long_text_alone(self) -> None:
        with pytest.raises(MediaTooLarge, match="message"):
            made(text=("x" * 5_000,), profile=Profile(max_message_bytes=4_000))


class TestTimes:
    def test_a_duration_becomes_a_point_in_time_without_fractions(self) -> None:
        message = request(made(expiry=timedelta(days=2), earliest_delivery=timedelta(hours=1)))
        assert message.expiry == datetime(2026, 1, 4, 9, 30, 47, tzinfo=UTC)
        assert message.earliest_delivery == datetime(2026, 1, 2, 10, 30, 47, tzinfo=UTC)
        assert message.timestamp == datetime(2026, 1, 2, 9, 30, 47, tzinfo=UTC)


class TestPreview:
    def test_many_recipients(self) -> None:
        everyone = tuple(f"+6421{number:07d}" for number in range(1, 2_501))
        prepared = made(to=everyone, subject="private", profile=Profile(recipients_per_request=100))
        told = describe_preview(prepared)
        assert told.count("<Number>") == MAX_SHOWN
        assert "(7 characters)" in told
        assert "private" not in told
        assert not any(number in told or number[1:] in told for number in everyone)
        size = len(prepared.payload(prepared.recipients[:100], "0" * 36))
        assert told.endswith(f"about {size} bytes in each of 25 requests to 2500 recipients")
        result = preview_result(prepared)
        assert (result["total"], result["planned"], len(result["messages"])) == (2_500, 2_500, 1_000)

    def test_the_sender_and_the_linked_message(self) -> None:
        address = protocol.Address(value="+64219876543")
        sender = protocol.SenderIdentification(vasp_id="TNN", sender_address=address)
        told = describe_preview(made(profile=Profile(sender=sender), linked_id="m-1"))
        assert "<VASPID>TNN</VASPID>" in told
        assert "<LinkedID>m-1</LinkedID>" in told
        assert "4219876543" not in told
