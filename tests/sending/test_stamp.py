"""A stamped payload is the one that would have been written for the same recipient."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mm7.protocol import Payload, SubmitReq, load
from airflow_provider_mm7.sending import Draft, Profile, Recipient, prepare
from airflow_provider_mm7.sending.stamp import Stamp
from tests.sending.test_prepare import NOW, Bucket

TRANSACTION_ID = "5a1f0f6e-9d2c-4f6b-8f57-0f3a36a2c001"


def write(template: bytes) -> Stamp | None:
    return Stamp.cut(
        lambda number, transaction_id: Payload(
            content_type="text/xml",
            chunks=(template.replace(b"NUMBER", number.encode()).replace(b"ID", transaction_id.encode()), b"rest"),
        )
    )


@pytest.mark.parametrize("role", ["to", "cc", "bcc"])
def test_a_prepared_message_reads_the_same_for_whomever_it_is_stamped(role: str) -> None:
    fields: dict[str, Any] = {"to": (), role: ("+64211234567",)}
    draft = Draft(**fields, text=("hello",), subject="+64211234567")
    prepared = prepare(draft, Profile(), Bucket(), now=NOW)
    for number in ("+64211234567", "64211234568"):
        recipient = Recipient(number=number, role=role)
        payload = prepared.payload([recipient], TRANSACTION_ID)
        read = load(payload.body, payload.content_type)
        assert isinstance(read.message, SubmitReq)
        assert read.transaction_id == TRANSACTION_ID
        assert [address.value for address in getattr(read.message.recipients, role)] == [number]
        # Two recipients go the long way; but for the other one, nothing differs.
        both = prepared.payload([recipient, Recipient(number="+64211234569", role=role)], TRANSACTION_ID)
        long_way = load(both.body, both.content_type)
        assert isinstance(long_way.message, SubmitReq)
        assert read.parts == long_way.parts
        assert (read.message.subject, read.message.timestamp, read.message.contents) == (
            long_way.message.subject,
            long_way.message.timestamp,
            long_way.message.contents,
        )


def test_stamped_payloads_share_all_but_their_first_chunk() -> None:
    draft = Draft(to=("+64211234567",), text=("hello", "a long one " * 5000))
    prepared = prepare(draft, Profile(), Bucket(), now=NOW)
    one, other = (prepared.payload([Recipient(number=number)], TRANSACTION_ID) for number in ("+64211", "+64212"))
    assert len(one.chunks) == 3
    assert one.chunks[0] != other.chunks[0]
    assert [id(chunk) for chunk in one.chunks[1:]] == [id(chunk) for chunk in other.chunks[1:]]


def test_what_needs_escaping_is_not_stamped() -> None:
    prepared = prepare(Draft(to=("+64211234567",), text=("hello",)), Profile(), Bucket(), now=NOW)
    payload = prepared.payload([Recipient(number="+64211234567")], "a&b<c")
    assert load(payload.body, payload.content_type).transaction_id == "a&b<c"


@pytest.mark.parametrize(
    "template", [b"<ID>", b"<NUMBER>", b"<NUMBER><ID>", b"<ID><ID><NUMBER>", b"<ID><NUMBER><NUMBER>"]
)
def test_a_payload_without_both_places_once_and_in_order_makes_no_stamp(template: bytes) -> None:
    assert write(template) is None


def test_a_stamp_is_set_into_its_places() -> None:
    stamp = write(b"<a>ID</a><b>NUMBER</b>")
    assert stamp is not None
    assert stamp.payload("+64211234567", "t-1") == Payload(
        content_type="text/xml", chunks=(b"<a>t-1</a><b>+64211234567</b>", b"rest")
    )
