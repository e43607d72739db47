from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from airflow_provider_mm7.exceptions import AddressError, InputError, ProtocolError
from airflow_provider_mm7.protocol import (
    MM7_NAMESPACE,
    OPERATIONS,
    Address,
    CancelReq,
    Content,
    ContentRef,
    DeliveryReportReq,
    Dialect,
    Fault,
    Message,
    Part,
    Recipients,
    ReplyCharging,
    RSErrorRsp,
    SenderIdentification,
    Status,
    SubmitReq,
    SubmitRsp,
    VASPErrorRsp,
    describe,
    dump,
    encode_content,
    http_headers,
    load,
)
from tests.support import messages as strategies

SCHEMA_NAMESPACE = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-6-MM7-1-4"
TO = Recipients(to=(Address(value="+64211234567"),))
GIF = Part(content_type="image/gif", body=bytes(range(256)), content_id="saturn.gif")


def minimal(**fields: Any) -> SubmitReq:
    return SubmitReq(**{"recipients": TO, **fields})


def content(*parts: Part) -> Content:
    return encode_content(parts or (GIF,), content_id="pictures", boundary="inner")


@cache
def schema() -> etree.XMLSchema:
    if "MM7_XSD" not in os.environ:
        pytest.skip("MM7_XSD does not name the Rel-6 schema")
    return etree.XMLSchema(file=str(Path(os.environ["MM7_XSD"])))


@given(strategies.operations | strategies.faults, strategies.tokens | st.none())
def test_every_message_is_read_back_as_it_was_written(message: Message, transaction_id: str | None) -> None:
    payload = dump(message, transaction_id=transaction_id)
    envelope = load(payload.body, payload.content_type)
    assert envelope.message == message
    assert envelope.transaction_id == transaction_id
    assert envelope.parts == ()


@given(strategies.operations)
def test_what_is_written_is_valid_against_the_schema(message: Message) -> None:
    validator = schema()
    dialect = Dialect(mm7_namespace=SCHEMA_NAMESPACE)
    message = replace(message, extensions=())
    root = etree.fromstring(dump(message, transaction_id="t", dialect=dialect).body)
    operation = next(root.iter(f"{{{SCHEMA_NAMESPACE}}}{type(message).__name__}"))
    validator.assertValid(etree.fromstring(etree.tostring(operation)))


@pytest.mark.parametrize(
    "extension",
    [
        '<Extension xmlns="urn:v"><a b="1">t<c/>u</a>v<d/></Extension>',
        '<v:Extension xmlns:v="urn:v" xmlns="urn:w"><v:a b="1">t<v:c/>u</v:a>v<v:d/></v:Extension>',
        f'<Extension xmlns="{SCHEMA_NAMESPACE}"><a xmlns="urn:v" b="1">t<c/>u</a>v<d xmlns="urn:v"/></Extension>',
    ],
)
def test_an_extension_is_one_of_the_message_whatever_namespace_it_was_given_in(extension: str) -> None:
    written = etree.fromstring(dump(minimal(extensions=(extension,)), transaction_id="t").body)
    (found,) = written.iter(f"{{{MM7_NAMESPACE}}}Extension")
    assert [(child.tag, dict(child.attrib.items()), child.text, child.tail) for child in found] == [
        ("{urn:v}a", {"b": "1"}, "t", "v"),
        ("{urn:v}d", {}, None, None),
    ]
    assert [(child.tag, child.tail) for child in found[0]] == [("{urn:v}c", "u")]


def test_a_refusal_has_the_message_id_that_the_schema_asks_for_and_names_none() -> None:
    body = dump(SubmitRsp(mm7_version="5.3.0", status=Status(status_code=2002)), transaction_id="t").body
    assert body.count(b"</Status><MessageID></MessageID></SubmitRsp>") == 1
    assert load(body, None).message == SubmitRsp(
        mm7_version="5.3.0", status=Status(status_code=2002, status_text="Address error")
    )


def test_the_strategies_know_every_operation() -> None:
    shown = {name for name in dir(strategies) if name.endswith(("_reqs", "_rsps"))}
    assert {name.lower() for name in OPERATIONS if name.endswith("Req")} == {
        name.removesuffix("s").replace("_", "") for name in shown if name.endswith("_reqs")
    }


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.sampled_from(["image/gif", "text/plain"]))
def test_media_arrive_byte_for_byte(bodies: list[bytes], content_type: str) -> None:
    parts = tuple(
        Part(content_type=content_type, body=body, content_id=f"part{number}") for number, body in enumerate(bodies)
    )
    payload = dump(minimal(), transaction_id="t", content=content(*parts), boundary="outer")
    assert load(payload.body, payload.content_type).parts == parts


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"\0" * 100,
        b"--inner",
        b"\r\n--inner\r\n",
        b"a\r\n--inner--\r\nb",
        b"--outer--",
        b"x\n--outer\ny",
        b"a\rb\nc\r\n",
        b"line\r\nline\r\n",
        b"=" * 200,
        b"." * 2000,
        "naïve".encode(),
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", "image/gif", "application/smil"])
def test_boundary_look_alikes_and_line_breaks_in_media_are_kept(body: bytes, content_type: str) -> None:
    part = Part(content_type=content_type, body=body, content_id="a", content_location="a.txt")
    payload = dump(minimal(), transaction_id="t", content=content(part, GIF), boundary="outer")
    assert load(payload.body, payload.content_type).parts == (part, GIF)


@given(strategies.texts, st.binary(max_size=200))
def test_the_announced_length_is_the_sent_length(subject: str, body: bytes) -> None:
    payload = dump(minimal(subject=subject), transaction_id="t", content=content(replace(GIF, body=body)))
    assert http_headers(payload)["Content-Length"] == str(len(b"".join(payload)))
    assert len(payload) == len(payload.body)


def test_payloads_share_the_media_and_never_copy_them() -> None:
    shared = content(GIF, replace(GIF, body=bytes(100_000), content_id="large"), replace(GIF, content_id="last"))
    assert len(shared.chunks) == 3
    payloads = [dump(minimal(subject=str(i)), transaction_id="t", content=shared) for i in range(3)]
    # What stands before and after the large picture is a few hundred bytes: one piece each.
    assert all(len(payload.chunks) == 3 and payload.chunks[1] is shared.chunks[1] for payload in payloads)
    assert all(shared.body in payload.body for payload in payloads)
    assert shared.size == len(shared.body)


def test_the_content_is_referred_to_by_itself_unless_the_message_does() -> None:
    def hrefs(message: SubmitReq) -> list[str]:
        payload = dump(message, transaction_id="t", content=content())
        read = load(payload.body, payload.content_type).message
        assert isinstance(read, SubmitReq)
        return [reference.href for reference in read.contents]

    assert hrefs(minimal()) == ["cid:pictures"]
    assert hrefs(minimal(contents=(ContentRef(href="other"),))) == ["other"]


def test_the_outer_content_type_starts_with_the_soap_part() -> None:
    payload = dump(minimal(), transaction_id="t", content=content(), boundary="outer")
    assert payload.content_type == 'multipart/related; type="text/xml"; start="<soap.outer>"; boundary="outer"'
    assert payload.body.startswith(
        b'--outer\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-ID: <soap.outer>\r\n\r\n<?xml '
    )
    assert payload.body.endswith(b"\r\n--inner--\r\n\r\n--outer--\r\n")


def test_a_soap_part_beyond_ascii_says_so() -> None:
    payload = dump(minimal(subject="Grüße"), transaction_id="t", content=content(), boundary="outer")
    assert b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<?xml" in payload.body


def test_without_a_boundary_the_same_message_gives_the_same_bytes() -> None:
    first, second = (dump(minimal(), transaction_id="t", content=content()) for _ in range(2))
    assert first == second
    assert first != dump(minimal(), transaction_id="u", content=content())


@pytest.mark.parametrize("boundary", ["inner", "inn", "inner2", "a b", "", "x" * 71, "ü", "SubmitReq"])
def test_a_boundary_that_could_be_mistaken_is_refused(boundary: str) -> None:
    message = minimal(subject="x --SubmitReq")
    with pytest.raises(InputError) as caught:
        dump(message, transaction_id="t", content=content(), boundary=boundary)
    assert caught.value.field == "boundary"


def test_a_response_repeats_the_dialect_of_the_request() -> None:
    dialect = Dialect(soap_namespace="https://soap.example/", mm7_namespace="urn:mm7", mm7_version="6.8.0")
    payload = dump(minimal(), transaction_id="t", dialect=dialect)
    assert load(payload.body, payload.content_type).dialect == dialect


@pytest.mark.parametrize("kind", [RSErrorRsp, VASPErrorRsp])
@pytest.mark.parametrize(("code", "side"), [(2007, "Client"), (3000, "Server")])
def test_error_responses_travel_in_a_fault(kind: type[Message], code: int, side: str) -> None:
    message = kind(status=Status(status_code=code, status_text="x"))  # type: ignore[call-arg]
    root = etree.fromstring(dump(message, transaction_id="t").body)
    fault = root[1][0]
    assert etree.QName(fault).localname == "Fault"
    assert [child.tag for child in fault] == ["faultcode", "faultstring", "detail"]
    assert fault[0].text == f"env:{side}"
    assert etree.QName(fault[2][0]).localname == kind.__name__


def test_a_status_without_text_gets_the_standard_one() -> None:
    payload = dump(VASPErrorRsp(status=Status(status_code=2007)), transaction_id=None)
    assert b"<StatusText>Message format corrupt</StatusText>" in payload.body


NAIVE = datetime(2020, 1, 1)  # noqa: DTZ001  # naive is the point
REPORT = DeliveryReportReq(
    message_id="1",
    recipient=Address(value="1"),
    sender=Address(value="2"),
    date=datetime(2020, 1, 1, tzinfo=UTC),
    mm_status="Retrieved",
)
OK = Status(status_code=1000, status_text="Success")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (SubmitReq(), "recipients"),
        (CancelReq(message_id="1", recipients=Recipients()), "recipients"),
        (CancelReq(message_id=""), "message_id"),
        (minimal(priority="Urgent"), "priority"),
        (minimal(priority=["Normal"]), "priority"),
        (minimal(content_class="+64211234567"), "content_class"),
        (minimal(message_class=""), "message_class"),
        (minimal(subject="a\x00b"), "subject"),
        (minimal(subject="bell \x07"), "subject"),
        (minimal(subject="\ufffe"), "subject"),
        (minimal(subject="\ud800"), "subject"),
        (minimal(subject="two\n"), "subject"),
        (minimal(subject="\r\n"), "subject"),
        (minimal(subject=5), "subject"),
        (minimal(linked_id=" 1"), "linked_id"),
        (minimal(linked_id=7), "linked_id"),
        (minimal(timestamp=NAIVE), "timestamp"),
        (minimal(timestamp="2020-01-01T00:00:00Z"), "timestamp"),
        (minimal(timestamp=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=15)))), "timestamp"),
        (minimal(expiry=NAIVE), "expiry"),
        (minimal(expiry=3600), "expiry"),
        (minimal(expiry=timedelta(seconds=-1)), "expiry"),
        (minimal(delivery_report="true"), "delivery_report"),
        (minimal(delivery_conditions=(0,)), "delivery_conditions[0]"),
        (minimal(delivery_conditions=(True,)), "delivery_conditions[0]"),
        (minimal(preferred_channels=("MMS", "FAX")), "preferred_channels[1]"),
        (minimal(reply_charging=ReplyCharging(size=0)), "reply_charging.size"),
        (minimal(contents=(ContentRef(href="cid: x"),)), "contents[0].href"),
        (minimal(contents=(ContentRef(href="cid:x", type="HIGH"),)), "contents[0].type"),
        (minimal(additional_information=("%zz",)), "additional_information[0]"),
        (minimal(message_extra_data=(("a", "b\x01"),)), "message_extra_data[0]"),
        (minimal(extensions=("<Extension>",)), "extensions[0]"),
        (minimal(extensions=("<Extension>R&D</Extension>",)), "extensions[0]"),
        (minimal(extensions=("<Extension><x:a/></Extension>",)), "extensions[0]"),
        (minimal(extensions=("<Other/>",)), "extensions[0]"),
        (minimal(sender_identification=SenderIdentification(vasp_id="")), "sender_identification.vasp_id"),
        (minimal(sender_identification=None), "sender_identification"),
        (
            minimal(recipients=Recipients(to=(Address(value="1", id="1"),))),
            "recipients.to[0].id",
        ),
        (
            minimal(recipients=Recipients(cc=(Address(value="1", address_coding="rot13"),))),
            "recipients.cc[0].address_coding",
        ),
        (
            minimal(recipients=Recipients(to=(Address(value="1", id="a"), Address(value="2", id="a")))),
            "recipients",
        ),
        (replace(REPORT, mm_status="Unrecognized"), "mm_status"),
        (replace(REPORT, mm_status=None), "mm_status"),
        (replace(REPORT, date=None), "date"),
        (replace(REPORT, recipient=None), "recipient"),
        (SubmitRsp(status=OK), "message_id"),
        (SubmitRsp(status=OK, message_id=""), "message_id"),
        (SubmitRsp(status=OK, message_id=" 1"), "message_id"),
        (SubmitRsp(status=Status(status_code=0)), "status.status_code"),
        (RSErrorRsp(status=Status(status_code="x")), "status.status_code"),  # type: ignore[arg-type]
        (Fault(fault_string="x"), "fault_code"),
        (Fault(fault_code="x"), "fault_string"),
        (Message(), "message"),
    ],
)
def test_what_would_not_be_valid_is_refused_by_field(message: Message, field: str) -> None:
    with pytest.raises(InputError) as caught:
        dump(message, transaction_id="t")
    error = caught.value
    assert error.field == field
    assert error.problem
    assert error.remedy
    assert "64211234567" not in str(error)


@pytest.mark.parametrize("value", ["", " +64211234567", 64211234567])
def test_an_address_that_is_none_is_an_address_error(value: Any) -> None:
    with pytest.raises(AddressError) as caught:
        dump(minimal(recipients=Recipients(bcc=(Address(value=value),))), transaction_id="t")
    assert caught.value.field == "recipients.bcc[0]"
    assert "64211234567" not in str(caught.value)


def test_the_error_shows_a_plain_word_and_hides_everything_else() -> None:
    with pytest.raises(InputError, match=r"'Urgent' is not a value of MM7\. Use one of High, Low, Normal\."):
        dump(minimal(priority="Urgent"), transaction_id="t")


@pytest.mark.parametrize("transaction_id", ["", " t", "a\nb\n", "\x00"])
def test_a_transaction_id_that_would_change_is_refused(transaction_id: str) -> None:
    with pytest.raises(InputError) as caught:
        dump(minimal(), transaction_id=transaction_id)
    assert caught.value.field == "transaction_id"


@pytest.mark.parametrize("field", ["soap_namespace", "mm7_namespace"])
@pytest.mark.parametrize("value", ["", "a b", "{x}", "a\n", "ü", "urn:%zz", "u" * 1025])
def test_a_dialect_that_xml_cannot_carry_is_refused(field: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        dump(minimal(), transaction_id="t", dialect=replace(Dialect(), **{field: value}))
    assert caught.value.field == field


def test_content_travels_only_with_messages_that_refer_to_it() -> None:
    with pytest.raises(InputError, match="SubmitRsp"):
        dump(SubmitRsp(status=OK, message_id="1"), transaction_id="t", content=content())


def test_two_addresses_have_two_ids() -> None:
    message = minimal(recipients=Recipients(to=(Address(value="1", id="a"), Address(value="2", id="b"))))
    assert load(dump(message, transaction_id="t").body, None).message == replace(message, mm7_version="5.3.0")


def test_extra_headers_replace_ours_but_never_say_what_the_body_is() -> None:
    payload = dump(minimal(), transaction_id="t")
    headers = http_headers(payload, extra={"soapaction": "x", "content-length": "0", "X-Mbuni-TransactionID": "1"})
    assert headers == {
        "Content-Type": 'text/xml; charset="utf-8"',
        "Content-Length": str(len(payload)),
        "MIME-Version": "1.0",
        "soapaction": "x",
        "X-Mbuni-TransactionID": "1",
    }
    assert http_headers(payload)["SOAPAction"] == '""'


@settings(max_examples=200)
@given(st.binary(max_size=200), st.text(max_size=40) | st.none())
def test_whatever_comes_only_a_protocol_error_goes(body: bytes, content_type: str | None) -> None:
    with pytest.raises(ProtocolError):
        load(body, content_type)


@settings(max_examples=300)
@given(
    strategies.operations | strategies.faults,
    st.lists(st.tuples(st.integers(0), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3),
)
def test_a_damaged_message_is_read_or_ends_in_a_protocol_error(
    message: Message, damages: list[tuple[int, bytes, int]]
) -> None:
    with_media = hasattr(message, "contents")
    payload = dump(message, transaction_id="t", content=content() if with_media else None)
    body = payload.body
    for at, insert, skip in damages:
        at %= len(body)
        body = body[:at] + insert + body[at + skip :]
    with suppress(ProtocolError):
        describe(load(body, payload.content_type))


@given(strategies.submit_reqs, st.data())
def test_a_message_cut_off_anywhere_is_never_read(message: SubmitReq, data: st.DataObject) -> None:
    payload = dump(message, transaction_id="t", content=content(), boundary="outer")
    whole = payload.body.rstrip()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ProtocolError):
        load(whole[:cut], payload.content_type)


@given(strategies.plain_answers | strategies.submit_rsps, st.data())
def test_half_an_answer_is_no_answer(message: Message, data: st.DataObject) -> None:
    payload = dump(message, transaction_id="t")
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(ProtocolError):
        load(payload.body[:cut], payload.content_type)
