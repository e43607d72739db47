"""What an imprint reads is what would have been read from the same bytes; what it cannot vouch for it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mm7.exceptions import ProtocolError
from airflow_provider_mm7.protocol import Envelope, Imprint, Part, Status, SubmitRsp, dump, encode_content, load

TYPE = 'text/xml; charset="utf-8"'
SUCCESS = Status(status_code=1000, status_text="Success")


def answer(transaction_id: str = "t-1", message_id: str | None = "m-1", *, status: Status = SUCCESS) -> bytes:
    message = SubmitRsp(mm7_version="5.3.0", status=status, message_id=message_id)
    return dump(message, transaction_id=transaction_id).body


def imprint(body: bytes) -> Imprint[Envelope] | None:
    return Imprint.of(body, load(body, TYPE))


def test_the_next_answer_is_read_like_any_other() -> None:
    known = imprint(answer())
    assert known is not None
    body = answer("t-2", "another@id.1")
    assert known.read(body, "t-2") == load(body, TYPE)


@pytest.mark.parametrize(
    "body",
    [
        answer("t-3", "m-2"),
        answer("t-2", "m&2"),
        answer("t-2", "m-2").replace(b"m-2", b" m-2 "),
        answer("t-2", "m-2", status=replace(SUCCESS, status_code=1100)),
        answer("t-2", "m-2", status=replace(SUCCESS, status_text="success")),
        answer("t-2", "m-2").replace(b"<MM7Version", b"<!-- m --><MM7Version"),
        answer("t-2", "m-2").replace(b"m-2", b"<b>m-2</b>"),
        answer("t-2", "m-2").replace(b"m-2", b""),
        answer("t-2", "m-2") + b"<",
        answer("t-2", "m-2")[:-1],
        b"",
    ],
)
def test_what_differs_in_anything_else_is_not_recognised(body: bytes) -> None:
    known = imprint(answer())
    assert known is not None
    assert known.read(body, "t-2") is None


@given(body=st.binary(max_size=20), place=st.integers(0, 400))
def test_whatever_it_recognises_the_long_way_reads_too(body: bytes, place: int) -> None:
    known = imprint(answer())
    assert known is not None
    changed = answer("t-2", "m-2")
    place = min(place, len(changed))
    changed = changed[:place] + body + changed[place + len(body) :]
    read = known.read(changed, "t-2")
    if read is not None:
        assert read == load(changed, TYPE)


@pytest.mark.parametrize(
    "body",
    [
        # Which of two is meant is not told by the bytes.
        answer("m-1", "m-1"),
        answer("Success", "m-1"),
        answer("t-1", "5.3.0"),
        # Not as it stands in the bytes, or not alone between tags.
        answer("t-1", "m&1"),
        answer("t-1", "m-1").replace(b"m-1", b"<![CDATA[m-1]]>"),
        answer("t-1", "m-1").replace(b"m-1", b" m-1\n"),
        answer("t-1", "m-1").decode().encode("utf-16"),
        answer(status=replace(SUCCESS, status_code=4000), message_id=None),
    ],
)
def test_no_imprint_is_taken_of_what_is_ambiguous(body: bytes) -> None:
    try:
        assert imprint(body) is None
    except ProtocolError:
        pytest.fail("the case is to be readable")


def test_no_imprint_is_taken_of_an_answer_with_parts() -> None:
    content = encode_content([Part(content_type="text/plain", body=b"x")], content_id="c", boundary="b")
    envelope = load(answer(), TYPE)
    assert Imprint.of(content.body, replace(envelope, parts=(Part(content_type="text/plain", body=b"x"),))) is None


def test_a_transaction_id_that_needs_escaping_is_not_looked_for() -> None:
    known = imprint(answer())
    assert known is not None
    assert known.read(answer().replace(b"t-1", b"<b/>"), "<b/>") is None
