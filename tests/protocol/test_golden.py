"""Golden bytes, checked by eye against TS 23.140 annex L: element order does not rest on the table that writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from lxml import etree

from airflow_provider_mm7.protocol import (
    Address,
    AddressKind,
    CancelReq,
    CancelRsp,
    ContentRef,
    DeliverReq,
    DeliverRsp,
    DeliveryReportReq,
    DeliveryReportRsp,
    Fault,
    Message,
    Part,
    ReadReplyReq,
    ReadReplyRsp,
    Recipients,
    ReplaceReq,
    ReplaceRsp,
    ReplyCharging,
    RSErrorRsp,
    SenderIdentification,
    Status,
    SubmitReq,
    SubmitRsp,
    UACapabilities,
    VASPErrorRsp,
    dump,
    encode_content,
    load,
)
from airflow_provider_mm7.protocol.schema import OPERATIONS
from tests.support.elements import elements

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2020, 1, 2, 12, 0, 0, tzinfo=timezone(timedelta(hours=-5)))
LATER = datetime(2020, 1, 3, 12, 0, 0, 250000, tzinfo=UTC)
HANDSET = Address(value="+64211234567")
SERVICE = Address(value="111122", kind=AddressKind.SHORT_CODE)
MAIL = Address(value="a@b.example", kind=AddressKind.RFC2822, display_only=True)
HIDDEN = Address(value="x1", address_coding="encrypted", id="a1")
SENDER = SenderIdentification(vasp_id="TNN", vas_id="News", sender_address=SERVICE)
EVERYONE = Recipients(to=(HANDSET, MAIL), cc=(HIDDEN,), bcc=(SERVICE,))
OK = Status(status_code=1000, status_text="Success", details="all of it")
APPLICATION = {"applic_id": "app", "reply_applic_id": "reply", "aux_applic_info": "aux"}
MEDIA = {
    "contents": (ContentRef(href="cid:pics", allow_adaptations=False, type="MULTIMEDIA_HIGH"),),
    "additional_information": ("cid:more",),
    "message_extra_data": (("key", "value"),),
}
EXTENSION = (
    '<Extension xmlns="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"><a></a></Extension>',
)
UA = UACapabilities(ua_prof="http://ua.example/p.xml", timestamp=LATER)

MESSAGES: dict[str, Message] = {
    "submit_req": SubmitReq(
        mm7_version="6.8.0",
        extensions=EXTENSION,
        sender_identification=SENDER,
        recipients=EVERYONE,
        preferred_channels=("MMS", "SMS"),
        service_code="gold",
        linked_id="l1",
        message_class="Informational",
        timestamp=NOON,
        reply_charging=ReplyCharging(size=1000, deadline=timedelta(days=1)),
        earliest_delivery=LATER,
        expiry=timedelta(days=2, hours=1),
        delivery_report=True,
        read_reply=False,
        priority="High",
        subject='News <&> "today"',
        charged_party="ThirdParty",
        charged_party_id="payer",
        third_party_payer=HANDSET,
        distribution_indicator=True,
        delivery_conditions=(1, 2),
        **APPLICATION,  # type: ignore[arg-type]
        content_class="image-basic",
        drm_content=False,
        **MEDIA,  # type: ignore[arg-type]
    ),
    "submit_rsp": SubmitRsp(status=OK, extensions=EXTENSION, message_id="041502073667"),
    "cancel_req": CancelReq(
        sender_identification=SENDER, extensions=EXTENSION, message_id="1", recipients=EVERYONE, **APPLICATION
    ),
    "cancel_rsp": CancelRsp(status=OK, extensions=EXTENSION),
    "replace_req": ReplaceReq(
        sender_identification=SENDER,
        extensions=EXTENSION,
        message_id="1",
        service_code="gold",
        timestamp=NOON,
        read_reply=True,
        earliest_delivery=timedelta(hours=3),
        distribution_indicator=False,
        content_class="text",
        drm_content=True,
        **APPLICATION,  # type: ignore[arg-type]
        **MEDIA,  # type: ignore[arg-type]
    ),
    "replace_rsp": ReplaceRsp(status=OK, extensions=EXTENSION),
    "deliver_req": DeliverReq(
        mms_relay_server_id="relay",
        extensions=EXTENSION,
        vasp_id="TNN",
        vas_id="News",
        linked_id="l1",
        sender=HANDSET,
        recipients=Recipients(to=(SERVICE,), cc=(HANDSET,), bcc=(MAIL,)),
        previously_sent_by=((1, HANDSET), (None, MAIL)),
        previously_sent_date_and_time=((1, NOON), (2, LATER)),
        sender_spi="s",
        recipient_spi="r",
        timestamp=NOON,
        reply_charging_id="rc",
        priority="Low",
        subject="Grüße",
        **APPLICATION,  # type: ignore[arg-type]
        ua_capabilities=UA,
        **MEDIA,  # type: ignore[arg-type]
    ),
    "deliver_rsp": DeliverRsp(status=OK, extensions=EXTENSION, service_code="gold"),
    "delivery_report_req": DeliveryReportReq(
        mms_relay_server_id="relay",
        extensions=EXTENSION,
        message_id="1",
        recipient=HANDSET,
        sender=SERVICE,
        date=LATER,
        mm_status="Rejected",
        mm_status_extension="RejectionByMMSRecipient",
        status_text="no",
        **APPLICATION,
        ua_capabilities=UA,
    ),
    "delivery_report_rsp": DeliveryReportRsp(status=OK, extensions=EXTENSION),
    "read_reply_req": ReadReplyReq(
        mms_relay_server_id="relay",
        extensions=EXTENSION,
        message_id="1",
        recipient=HANDSET,
        sender=SERVICE,
        timestamp=LATER,
        mm_status="Read",
        status_text="seen",
        **APPLICATION,
    ),
    "read_reply_rsp": ReadReplyRsp(status=OK, extensions=EXTENSION),
    "rs_error_rsp": RSErrorRsp(
        status=Status(status_code=3000, status_text="Server error", details="disk"), extensions=EXTENSION
    ),
    "vasp_error_rsp": VASPErrorRsp(status=Status(status_code=2007, details="Subject"), extensions=EXTENSION),
    "fault": Fault(fault_code="env:Client", fault_string="no", detail="what"),
}


def golden(name: str) -> bytes:
    """Read a file that is broken into lines between elements, for people, as it goes over the wire."""
    text = (GOLDEN / f"{name}.xml").read_bytes().rstrip(b"\n")
    return text.replace(b">\n<", b"><").replace(b"?><", b"?>\n<", 1)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_messages_are_written_as_they_always_were(name: str) -> None:
    assert dump(MESSAGES[name], transaction_id="vas00001-sub").body == golden(name)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_what_was_written_is_read_and_written_again(name: str) -> None:
    envelope = load(golden(name), "text/xml")
    assert dump(envelope.message, transaction_id=envelope.transaction_id).body == golden(name)


def file_name(operation: str) -> str:
    """Return the name of an operation's golden file: ``DeliveryReportReq`` is in ``delivery_report_req``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", operation).lower()


def paths(element: etree._Element, prefix: str = "") -> Iterator[str]:
    """Name what is below an element as :func:`tests.support.elements.elements` does, without the mark of repetition."""
    for child in element:
        path = prefix + etree.QName(child).localname
        yield path
        yield from (f"{path}@{name!s}" for name in child.attrib)
        yield from paths(child, f"{path}/")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_element_of_the_table_stands_in_a_golden_file(operation: str) -> None:
    (message,) = etree.fromstring(golden(file_name(operation))).iter(f"{{*}}{operation}")
    written = set(paths(message))
    assert [name for name in elements(operation) if name.rstrip("*") not in written] == []


@pytest.mark.parametrize("with_smil", [False, True])
def test_a_whole_picture_message(with_smil: bool) -> None:
    """The vendor's SubmitReq example as we send it."""
    message = SubmitReq(
        sender_identification=SenderIdentification(vasp_id="TNN", vas_id="News"),
        recipients=Recipients(to=(Address(value="7255441234"),)),
        timestamp=NOON,
        delivery_report=True,
        priority="Normal",
        subject="News for today",
    )
    text = Part(
        content_type='text/plain; charset="us-ascii"',
        body=b"Science news, new Saturn pictures...",
        content_id="text_0.txt",
        content_location="text_0.txt",
    )
    picture = Part(
        content_type="image/gif",
        body=b"GIF87a" + bytes(range(100)),
        content_id="saturn.gif",
        content_location="saturn.gif",
        name="saturn.gif",
    )
    smil = Part(content_type="application/smil", body=b"<smil/>", content_id="smil")
    content = encode_content(
        [text, picture], content_id="SaturnPics", boundary="StoryParts", smil=smil if with_smil else None
    )
    payload = dump(message, transaction_id="vas00001-sub", content=content, boundary="NextPart")
    expected = (GOLDEN / ("picture_smil.mime" if with_smil else "picture.mime")).read_bytes()
    assert payload.body == expected
    assert payload.content_type == 'multipart/related; type="text/xml"; start="<soap.NextPart>"; boundary="NextPart"'
