"""The acknowledgement that is put together is the one that would be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.protocol import DeliverReq, DeliveryReportReq, Dialect, Envelope, ReadReplyReq, dump, load
from airflow_provider_mm7.protocol.messages import Message
from airflow_provider_mm7.receiver import answers
from tests.receiver import callbacks

REQUESTS: list[Message] = [
    load(callbacks.report(), None).message,
    load(callbacks.report(status="Read", operation="ReadReplyReq"), None).message,
    load(*callbacks.deliver()).message,
]
DIALECTS = [Dialect(), Dialect(soap_namespace="https://schemas.xmlsoap.org/soap/envelope/", mm7_version="5.3.0")]


def test_every_kind_of_callback_is_tried() -> None:
    assert {type(request) for request in REQUESTS} == {DeliverReq, DeliveryReportReq, ReadReplyReq}


@given(
    request=st.sampled_from(REQUESTS),
    dialect=st.sampled_from(DIALECTS),
    transaction_id=st.none()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1).filter(
        lambda text: text == text.strip() != ""
    )
    | st.sampled_from(["tx-1", "<x>", "a&b", 'q"', "a/b:c.d_e", "é", "x" * 300]),
)
def test_it_is_what_would_be_written(request: Message, dialect: Dialect, transaction_id: str | None) -> None:
    envelope = Envelope(message=request, transaction_id=transaction_id, dialect=dialect)
    written = dump(
        answers.RESPONSE_TO[type(request).__name__](status=answers.SUCCESS),
        transaction_id=transaction_id,
        dialect=dialect,
    )
    answer = answers.acknowledgement(envelope)
    assert (answer.body, answer.headers["content-type"]) == (written.body, written.content_type)


@pytest.mark.parametrize("namespace", ["relative", "", "a b", "urn:%zz", "http://a:b/", "urn:" + "a" * 2_000])
def test_a_dialect_that_cannot_be_written_is_answered_in_ours(namespace: str) -> None:
    envelope = Envelope(message=REQUESTS[0], transaction_id="tx-1", dialect=Dialect(mm7_namespace=namespace))
    assert b"<StatusCode>1000</StatusCode>" in bytes(answers.acknowledgement(envelope).body)
