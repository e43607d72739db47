"""Hypothesis strategies for every MM7 message that is valid to send."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from airflow_provider_mm7.protocol import messages as m

_LEGAL = st.characters(
    codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"
) | st.sampled_from("\t\n\r<>&'\" \u0085\u2028")


def _keeps_its_lines(value: str) -> bool:
    bare = value.strip(" \t\r\n")
    return not set("\r\n") & set(value.replace(bare, "", 1) if bare else value)


texts = st.text(_LEGAL, max_size=30).filter(_keeps_its_lines)
tokens = st.text(_LEGAL, min_size=1, max_size=30).filter(lambda value: value == value.strip())
folded = st.lists(st.text(string.ascii_letters + "<&é", min_size=1), min_size=1, max_size=3).map(" ".join)
uris = st.text(string.ascii_letters + string.digits + "@._-+", min_size=1, max_size=30).map("cid:{}".format)
numbers = st.integers(1, 999_999_999)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))) | st.just(UTC)
# Far enough from the ends of the calendar for any zone.
_FIRST, _LAST = (datetime(*day, tzinfo=UTC).replace(tzinfo=None) for day in ((1, 1, 3), (9999, 12, 28)))
datetimes = st.datetimes(min_value=_FIRST, max_value=_LAST, timezones=zones)
durations = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=999_999))
whens = datetimes | durations


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


addresses = st.builds(
    m.Address,
    value=st.text(string.digits, min_size=3, max_size=15).map("+{}".format) | tokens,
    kind=st.sampled_from(m.AddressKind),
    display_only=st.booleans(),
    address_coding=st.sampled_from([None, "encrypted", "obfuscated"]),
)
recipients = st.builds(m.Recipients, to=several(addresses), cc=several(addresses), bcc=several(addresses)).filter(
    lambda value: bool(value.all)
)
statuses = st.builds(m.Status, status_code=numbers, status_text=texts, details=maybe(folded))
extensions = several(
    st.sampled_from(
        [
            f'<Extension xmlns="{namespace}"><x:a xmlns:x="urn:x" b="1">&lt;&amp;é</x:a></Extension>'
            for namespace in ("http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3",)
        ]
    )
)
contents = several(
    st.builds(
        m.ContentRef,
        href=uris,
        allow_adaptations=st.booleans(),
        type=st.sampled_from([None, "TEXT", "MULTIMEDIA_LOW", "MULTIMEDIA_HIGH"]),
    )
)
_version = {"mm7_version": st.sampled_from(["5.3.0", "6.8.0"]), "extensions": extensions}
_application = {"applic_id": maybe(texts), "reply_applic_id": maybe(texts), "aux_applic_info": maybe(texts)}
_media = {
    "contents": contents,
    "additional_information": several(uris),
    "message_extra_data": several(st.tuples(texts, texts)),
}
_from_vasp = {
    **_version,
    "sender_identification": st.builds(
        m.SenderIdentification, vasp_id=maybe(tokens), vas_id=maybe(tokens), sender_address=maybe(addresses)
    ),
}
_from_server = {**_version, "mms_relay_server_id": maybe(tokens)}
_response = {**_version, "status": statuses}
_capabilities = {"ua_capabilities": maybe(st.builds(m.UACapabilities, ua_prof=maybe(texts), timestamp=maybe(whens)))}
_booleans = maybe(st.booleans())
_priorities = st.sampled_from([None, "Normal", "High", "Low"])
_content_classes = st.sampled_from(
    [
        None,
        "text",
        "image-basic",
        "image-rich",
        "video-basic",
        "video-rich",
        "megapixel",
        "content-basic",
        "content-rich",
    ]
)

submit_reqs = st.builds(
    m.SubmitReq,
    **_from_vasp,
    recipients=recipients,
    preferred_channels=several(st.sampled_from(["SMS", "MMS", "WAPPUSH"])),
    service_code=maybe(texts),
    linked_id=maybe(tokens),
    message_class=st.sampled_from([None, "Personal", "Informational", "Advertisement", "Auto"]),
    timestamp=maybe(datetimes),
    reply_charging=maybe(st.builds(m.ReplyCharging, size=maybe(numbers), deadline=maybe(whens))),
    earliest_delivery=maybe(whens),
    expiry=maybe(whens),
    delivery_report=_booleans,
    read_reply=_booleans,
    priority=_priorities,
    subject=maybe(texts),
    charged_party=st.sampled_from([None, "Sender", "Recipient", "Both", "Neither", "ThirdParty", "Other"]),
    charged_party_id=maybe(tokens),
    third_party_payer=maybe(addresses),
    distribution_indicator=_booleans,
    delivery_conditions=maybe(several(numbers)),
    **_application,
    content_class=_content_classes,
    drm_content=_booleans,
    **_media,
)
submit_rsps = st.builds(m.SubmitRsp, **_response, message_id=tokens) | st.builds(
    m.SubmitRsp,
    **{**_response, "status": st.builds(m.Status, status_code=st.integers(2000, 4999), status_text=texts)},
    message_id=maybe(tokens),
)
cancel_reqs = st.builds(m.CancelReq, **_from_vasp, message_id=tokens, recipients=maybe(recipients), **_application)
replace_reqs = st.builds(
    m.ReplaceReq,
    **_from_vasp,
    message_id=tokens,
    service_code=maybe(texts),
    timestamp=maybe(datetimes),
    read_reply=_booleans,
    earliest_delivery=maybe(whens),
    distribution_indicator=_booleans,
    content_class=_content_classes,
    drm_content=_booleans,
    **_application,
    **_media,
)
deliver_reqs = st.builds(
    m.DeliverReq,
    **_from_server,
    vasp_id=maybe(tokens),
    vas_id=maybe(tokens),
    linked_id=maybe(tokens),
    sender=addresses,
    recipients=recipients | st.just(m.Recipients()),
    previously_sent_by=several(st.tuples(maybe(numbers), addresses)),
    previously_sent_date_and_time=several(st.tuples(maybe(numbers), whens)),
    sender_spi=maybe(tokens),
    recipient_spi=maybe(tokens),
    timestamp=maybe(datetimes),
    reply_charging_id=maybe(tokens),
    priority=_priorities,
    subject=maybe(texts),
    **_application,
    **_capabilities,
    **_media,
)
deliver_rsps = st.builds(m.DeliverRsp, **_response, service_code=maybe(texts))
_parties = {"message_id": tokens, "recipient": addresses, "sender": addresses, "status_text": maybe(texts)}
delivery_report_reqs = st.builds(
    m.DeliveryReportReq,
    **_from_server,
    **_parties,
    date=datetimes,
    mm_status=st.sampled_from(
        [
            "Expired",
            "Retrieved",
            "Rejected",
            "Indeterminate",
            "Forwarded",
            "Unrecognised",
            "Deferred",
            "DeliveryConditionNotMet",
            "Processing",
            "Cancelled",
            "Replaced",
            "Delivered",
        ]
    ),
    mm_status_extension=st.sampled_from([None, "RejectionByMMSRecipient", "RejectionByOtherRS"]),
    **_application,
    **_capabilities,
)
read_reply_reqs = st.builds(
    m.ReadReplyReq,
    **_from_server,
    **_parties,
    timestamp=datetimes,
    mm_status=st.sampled_from(["Read", "Deleted", "Indeterminate"]),
    **_application,
)
plain_answers = st.one_of(
    *(
        st.builds(kind, **_response)
        for kind in (
            m.CancelRsp,
            m.ReplaceRsp,
            m.DeliveryReportRsp,
            m.ReadReplyRsp,
            m.RSErrorRsp,
            m.VASPErrorRsp,
        )
    )
)
#: Every operation that the schema knows.
operations = st.one_of(
    submit_reqs,
    submit_rsps,
    cancel_reqs,
    replace_reqs,
    deliver_reqs,
    deliver_rsps,
    delivery_report_reqs,
    read_reply_reqs,
    plain_answers,
)
faults = st.builds(m.Fault, fault_code=folded, fault_string=folded, detail=maybe(folded))
