"""What is let in, what is refused and why, and what the record says of it."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from requests.auth import HTTPDigestAuth

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.sandbox.auth import DigestAuthenticator
from tests.sandbox.client import (
    CONTENT,
    GIF,
    MM7,
    address,
    basic,
    connection,
    envelope,
    field,
    headers,
    multipart,
    operation,
    post,
    post_to,
    status,
    submit,
    submit_body,
)
from tests.support.sandbox import PATIENCE_S, RunningSandbox

HERE = Path(__file__).parent
NUMBER = "+64211234567"


def refused(sandbox: RunningSandbox, answer: requests.Response, code: int) -> str:
    """The details of a refusal; the record agrees with the answer."""
    (record,) = sandbox.messages()
    assert (status(answer), record["status_code"]) == (code, code)
    assert (record["accepted"], record["valid"], record["message_id"]) == (False, False, None)
    assert record["problems"]
    return str(field(answer, "Details"))


@pytest.mark.parametrize(
    "authorization",
    [None, "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"sandbox:wrong").decode(), "Digest username=sandbox"],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_wrong_credentials(sandbox: RunningSandbox, method: str, authorization: str | None) -> None:
    given = {"Authorization": authorization} if authorization else {}
    answer = requests.request(method, sandbox.url, data=b"x", headers=headers(**given), timeout=PATIENCE_S)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert sandbox.messages() == []
    assert sandbox.health()["unauthorized"] == 1


def test_without_a_login_any_credentials_will_do_but_some_must_be_there(
    make_sandbox: Callable[..., RunningSandbox],
) -> None:
    sandbox = make_sandbox(login="")
    assert requests.get(sandbox.url, auth=("who", "ever"), timeout=PATIENCE_S).status_code == 405
    assert requests.get(sandbox.url, timeout=PATIENCE_S).status_code == 401


def test_get_with_credentials(sandbox: RunningSandbox) -> None:
    answer = requests.get(sandbox.url, auth=(sandbox.login, sandbox.password), timeout=PATIENCE_S)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/mm7", "/"])
def test_both_paths(sandbox: RunningSandbox, path: str) -> None:
    assert status(post_to(sandbox.base_url + path, sandbox, multipart(envelope(submit_body(NUMBER))))) == 1000


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_digest(make_sandbox: Callable[..., RunningSandbox], algorithm: str) -> None:
    sandbox = make_sandbox(auth="digest", digest_algorithm=algorithm, login="me", password="pä:ss")
    body = multipart(envelope(submit_body(NUMBER)))
    with requests.Session() as session:
        session.auth = HTTPDigestAuth("me", "pä:ss")
        for _ in range(3):
            answer = session.post(sandbox.url, data=body, headers=headers(), timeout=PATIENCE_S)
            assert status(answer) == 1000
        session.auth = HTTPDigestAuth("me", "wrong")
        assert session.post(sandbox.url, data=body, headers=headers(), timeout=PATIENCE_S).status_code == 401
    assert len(sandbox.accepted()) == 3


def test_digest_takes_no_count_twice_and_no_foreign_request() -> None:
    """RFC 7616 section 5.12: a response seen on the wire is worth nothing."""
    door = DigestAuthenticator("me", "secret", "MD5")
    challenge = door.challenge_for(None, method="POST", target="/mm7")
    assert challenge is not None
    given = dict(pair.split("=", 1) for pair in challenge.removeprefix("Digest ").replace('"', "").split(", "))

    def answer(uri: str = "/mm7", nc: str = "00000001", nonce: str = given["nonce"], named: str | None = None) -> str:
        first = hashlib.md5(f"me:{given['realm']}:secret".encode()).hexdigest()
        second = hashlib.md5(f"POST:{uri}".encode()).hexdigest()
        response = hashlib.md5(f"{first}:{nonce}:{nc}:c:auth:{second}".encode()).hexdigest()
        return (
            f'Digest username="me", realm="{given["realm"]}", nonce="{nonce}", uri="{named or uri}", qop=auth, '
            f"nc={nc}, "
            f'cnonce="c", opaque="{given["opaque"]}", response="{response}"'
        )

    def asked(authorization: str) -> str | None:
        return door.challenge_for(authorization, method="POST", target="/mm7")

    assert asked(answer()) is None
    assert "stale=true" in str(asked(answer()))
    assert asked(answer(nc="00000003")) is None
    assert asked(answer(nc="00000002")) is None
    for wrong in (answer(uri="/other", nc="00000004"), answer(named="/other", nc="00000004")):
        refusal = asked(wrong)
        assert refusal is not None
        assert "stale=true" not in refusal
    assert "stale=true" in str(asked(answer(nonce="00" * 16, nc="00000005")))


def test_chunked_is_refused(sandbox: RunningSandbox) -> None:
    answer = requests.post(
        sandbox.url, data=iter([b"x"]), headers=headers(), auth=(sandbox.login, sandbox.password), timeout=PATIENCE_S
    )
    assert answer.status_code == 411
    assert "chunked" in sandbox.messages()[0]["problems"][0]


def test_no_length_at_all_is_refused(sandbox: RunningSandbox) -> None:
    with socket.create_connection(address(sandbox), timeout=PATIENCE_S) as raw:
        raw.sendall(f"POST /mm7 HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(sandbox)}\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 411")


def test_a_folded_head_is_refused(sandbox: RunningSandbox) -> None:
    with socket.create_connection(address(sandbox), timeout=PATIENCE_S) as raw:
        head = (
            f"POST /mm7 HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(sandbox)}\r\nContent-Type: text/xml;\r\n charset=x"
        )
        raw.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


def test_absurd_length_is_refused_before_it_is_sent(sandbox: RunningSandbox) -> None:
    with socket.create_connection(address(sandbox), timeout=PATIENCE_S) as raw:
        head = (
            f"POST /mm7 HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(sandbox)}\r\nContent-Length: 99999999999\r\n\r\n"
        )
        raw.sendall(head.encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


def test_what_the_product_sends_is_taken_and_recorded(make_sandbox: Callable[..., RunningSandbox]) -> None:
    """Also by a pedantic sandbox, and the record holds what was sent, read by other means than the product's."""
    sandbox = make_sandbox(pedantic=True)
    picture = os.urandom(5000) + b"\r\n--outer\r\n\x00"
    parts = [
        protocol.Part(content_type="text/plain; charset=utf-8", body="Grüße".encode(), content_id="text_0.txt"),
        protocol.Part(content_type="image/gif", body=picture, content_id="saturn.gif", content_location="saturn.gif"),
    ]
    smil = protocol.Part(
        content_type="application/smil",
        body=b'<smil><body><par><img src="cid:saturn.gif"/></par></body></smil>',
        content_id="smil",
    )
    content = protocol.encode_content(parts, content_id="content", boundary="inner", smil=smil)
    message = protocol.SubmitReq(
        sender_identification=protocol.SenderIdentification(
            vasp_id="TNN", vas_id="News", sender_address=protocol.Address(value="+6421999")
        ),
        recipients=protocol.Recipients(
            to=(protocol.Address(value=NUMBER),),
            cc=(protocol.Address(value="64211234568"),),
            bcc=(protocol.Address(value="+64211234569/TYPE=PLMN"),),
        ),
        linked_id="earlier",
        priority="High",
        subject="Röntgen & <co>",
        delivery_report=True,
    )
    payload = protocol.dump(message, transaction_id="tx-9", content=content)
    answer = requests.post(
        sandbox.url,
        data=payload.body,
        headers=protocol.http_headers(payload),
        auth=(sandbox.login, sandbox.password),
        timeout=PATIENCE_S,
    )

    said = protocol.load(answer.content, answer.headers["Content-Type"])
    (record,) = sandbox.messages()
    assert isinstance(said.message, protocol.SubmitRsp)
    assert (said.transaction_id, said.message.message_id) == ("tx-9", record["message_id"])
    assert said.message.status == protocol.Status(status_code=1000, status_text="Success")
    assert (record["valid"], record["problems"]) == (True, [])
    assert record["to"] == [NUMBER]
    assert record["cc"] == ["64211234568"]
    assert record["bcc"] == ["+64211234569/TYPE=PLMN"]
    assert record["recipients"] == record["to"] + record["cc"] + record["bcc"]
    assert (record["subject"], record["sender"], record["linked_id"]) == ("Röntgen & <co>", "+6421999", "earlier")
    assert (record["vasp_id"], record["vas_id"], record["priority"]) == ("TNN", "News", "High")
    assert [one["sha256"] for one in record["parts"]] == [
        hashlib.sha256(one.body).hexdigest() for one in (smil, *parts)
    ]
    assert record["parts"][1]["text"] == "Grüße"
    inner = record["structure"]["parts"][1]
    assert [one["content_type"] for one in inner["parts"]] == [
        "application/smil",
        "text/plain; charset=utf-8",
        "image/gif",
    ]
    assert inner["content_type"] == "multipart/related"
    assert sandbox.raw(record["seq"]) == payload.body
    assert record["headers"]["authorization"] == "Basic ***"
    assert record["headers"]["content-length"] == str(len(payload))


def test_the_same_media_again_are_read_once_and_recorded_alike(sandbox: RunningSandbox) -> None:
    for number in (NUMBER, "+64211234568", "+64211234569"):
        assert status(submit(sandbox, number)) == 1000
    different = multipart(envelope(submit_body(NUMBER)), media=GIF + b"x")
    post(sandbox, different)

    records = sandbox.messages()
    assert records[0]["parts"] == records[1]["parts"] == records[2]["parts"]
    assert records[3]["parts"][1]["sha256"] == hashlib.sha256(GIF + b"x").hexdigest()
    assert sandbox.raw(records[3]["seq"]) == different


def test_the_vendors_example_as_printed(sandbox: RunningSandbox, make_sandbox: Callable[..., RunningSandbox]) -> None:
    body = (HERE / "vendor_submit_req.txt").read_bytes()
    content_type = (
        'multipart/related; boundary="NextPart_000_0028_01C19839.84698430"; type=text/xml; '
        'start="</tnn-200102/mm7-submit>"'
    )
    answer = post(sandbox, body, Content_Type=content_type, MIME_Version=None)

    assert (status(answer), field(answer, "TransactionID")) == (1000, "vas00001-sub")
    assert b'"https://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"' in answer.content
    assert b'"https://schemas.xmlsoap.org/soap/envelope/"' in answer.content
    (record,) = sandbox.messages()
    assert (record["valid"], record["recipients"], record["scenario"]) == (True, ["7255441234"], "ordinary")
    assert "Priority must stand before Subject in SubmitReq" in record["problems"]
    assert [one["content_type"] for one in record["parts"]] == ["text/plain; charset=us-ascii", "image/gif"]
    assert record["parts"][0]["text"].strip() == "Science news, new Saturn pictures..."

    pedantic = make_sandbox(pedantic=True)
    answer = post(pedantic, body, Content_Type=content_type, MIME_Version=None)
    assert "Priority must stand before Subject" in refused(pedantic, answer, 2007)


def replaced(old: str, new: str) -> str:
    """A SubmitReq with one thing changed."""
    body = submit_body(NUMBER, middle="<Priority>Normal</Priority>")
    assert old in body
    return body.replace(old, new, 1)


CORRUPT = {
    "order": (
        replaced("<Priority>Normal</Priority>", "").replace(CONTENT, CONTENT + "<Priority>Low</Priority>"),
        "Priority",
    ),
    "unknown element": (replaced("<Subject>", "<Colour>red</Colour><Subject>"), "Colour"),
    "twice": (replaced("<Subject>", "<Subject>a</Subject><Subject>"), "Subject"),
    "no sender identification": (
        replaced("<SenderIdentification>", "<Extension>").replace("</SenderIdentification>", "</Extension>"),
        "SenderIdentification",
    ),
    "no recipients": (submit_body().replace("<To></To>", ""), "Recipients"),
    "no numbers": (submit_body(), "To"),
    "enumeration": (replaced("Normal", "normal"), "Priority"),
    "boolean": (replaced("true", "yes"), "DeliveryReport"),
    "date without zone": (
        replaced("<DeliveryReport>", "<TimeStamp>2020-01-02T09:30:47</TimeStamp><DeliveryReport>"),
        "TimeStamp",
    ),
    "date unpadded": (replaced("<DeliveryReport>", "<ExpiryDate>2020-1-2</ExpiryDate><DeliveryReport>"), "ExpiryDate"),
    "empty duration": (replaced("<DeliveryReport>", "<ExpiryDate>P</ExpiryDate><DeliveryReport>"), "ExpiryDate"),
    "attribute": (replaced("allowAdaptations", "AllowAdaptations"), "AllowAdaptations"),
    "no href": (replaced('href="cid:content@vasp" ', ""), "href"),
    "foreign namespace": (replaced("<Subject>", '<Subject xmlns="urn:x">'), "Subject"),
    "two sender addresses": (replaced("<Number>+6421999", "<Number>1</Number><Number>+6421999"), "SenderAddress"),
    "text among elements": (replaced("<To>", "<To>+6421"), "To"),
    "elements in text": (replaced("News</Subject>", "<b/></Subject>"), "Subject"),
}  # fmt: skip


@pytest.mark.parametrize("case", CORRUPT)
def test_schema_is_strict(sandbox: RunningSandbox, case: str) -> None:
    body, named = CORRUPT[case]
    answer = post(sandbox, multipart(envelope(body)))

    assert operation(answer) == "SubmitRsp"
    assert named in refused(sandbox, answer, 2007)


GOOD = {
    "durations": "<EarliestDeliveryTime>PT2H</EarliestDeliveryTime><ExpiryDate>P2D</ExpiryDate>",
    "dates": "<TimeStamp>2020-01-02T09:30:47.5-05:00</TimeStamp><ExpiryDate>2020-01-20T09:30:47Z</ExpiryDate>",
    "reply charging": '<ReplyCharging replyChargingSize="10" replyDeadline="P1D"/>',
    "class": "<ServiceCode>x</ServiceCode><LinkedID>1</LinkedID><MessageClass>Auto</MessageClass>",
}


@pytest.mark.parametrize("case", GOOD)
def test_schema_is_not_stricter_than_the_standard(sandbox: RunningSandbox, case: str) -> None:
    answer = post(sandbox, multipart(envelope(replaced("<DeliveryReport>", GOOD[case] + "<DeliveryReport>"))))
    assert status(answer) == 1000
    assert sandbox.messages()[0]["problems"] == []


BROKEN = {
    "not xml": ("<SubmitReq", 2007),
    "doctype": (envelope(submit_body(NUMBER)).replace("<env:Envelope", "<!DOCTYPE x><env:Envelope", 1), 2007),
    "no header": (envelope(submit_body(NUMBER)).replace("env:Header>", "env:Footer>"), 2007),
    "no transaction": (envelope(submit_body(NUMBER), transaction_id=" "), 2007),
    "no mustUnderstand": (envelope(submit_body(NUMBER)).replace(' env:mustUnderstand="1"', ""), 2007),
    "soap 1.2": (envelope(submit_body(NUMBER), soap="http://www.w3.org/2003/05/soap-envelope"), 2007),
    "other namespace": (envelope(submit_body(NUMBER), mm7="urn:x").replace(MM7, "urn:x"), 2007),
    "two namespaces": (envelope(submit_body(NUMBER), mm7=MM7.replace("1-3", "1-2")), 2007),
    "two operations": (envelope(submit_body(NUMBER) * 2), 2007),
    "unknown operation": (envelope(f'<QueryStatusReq xmlns="{MM7}"/>'), 4003),
    "an answer": (envelope(f'<SubmitRsp xmlns="{MM7}"/>'), 4003),
    # What the product reads of others, it must never send itself.
    "a text that is not escaped": (envelope(submit_body(NUMBER).replace(">News<", ">R&D<")), 2007),
    "a sign that is not escaped": (envelope(submit_body(NUMBER).replace(">News<", ">1 < 2<")), 2007),
    "an entity of HTML": (envelope(submit_body(NUMBER).replace(">News<", ">A&nbsp;B<")), 2007),
    "references to surrogates": (envelope(submit_body(NUMBER).replace(">News<", ">&#55357;&#56832;<")), 2007),
    "a control character": (envelope(submit_body(NUMBER).replace(">News<", ">\x01<")), 2007),
    "a zero after the end": (envelope(submit_body(NUMBER)) + "\0", 2007),
    "unknown version": (envelope(submit_body(NUMBER).replace("5.3.0", "7.0.0")), 4002),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_understood_gets_a_fault(sandbox: RunningSandbox, case: str) -> None:
    soap, code = BROKEN[case]
    answer = post(sandbox, multipart(soap))

    assert (answer.status_code, operation(answer)) == (500, "RSErrorRsp")
    assert refused(sandbox, answer, code)


def test_entities_are_not_expanded(sandbox: RunningSandbox) -> None:
    bomb = '<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + envelope("&b;").partition("?>")[2]
    assert refused(sandbox, post(sandbox, multipart(bomb)), 2007)


CONTENTS: dict[str, tuple[bytes, dict[str, str | None], str]] = {
    "no content element": (multipart(envelope(submit_body(NUMBER, content=""))), {}, "Content"),
    "content names nothing": (
        multipart(envelope(submit_body(NUMBER, content='<Content href="cid:x"/>'))),
        {},
        "Content",
    ),
    "no media": (envelope(submit_body(NUMBER)).encode(), {"Content_Type": "text/xml", "MIME_Version": None}, "Content"),
    "media type": (multipart(envelope(submit_body(NUMBER)), media_type="application/zip"), {}, "application/zip"),
    "svg": (multipart(envelope(submit_body(NUMBER)), media_type="image/svg+xml"), {}, "image/svg+xml"),
    "no start": (
        multipart(envelope(submit_body(NUMBER))),
        {"Content_Type": 'multipart/related; type="text/xml"; boundary="outer"'},
        "start",
    ),
    "wrong start": (
        multipart(envelope(submit_body(NUMBER))),
        {"Content_Type": 'multipart/related; type="text/xml"; start="<other>"; boundary="outer"'},
        "start",
    ),
    "no type": (
        multipart(envelope(submit_body(NUMBER))),
        {"Content_Type": 'multipart/related; start="<start@vasp>"; boundary="outer"'},
        "type",
    ),
    "too long": (multipart(envelope(submit_body(NUMBER)), media=bytes(800_000)), {}, "bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENTS)
def test_content_is_refused(sandbox: RunningSandbox, case: str) -> None:
    body, changes, named = CONTENTS[case]
    answer = post(sandbox, body, **changes)

    assert (operation(answer), field(answer, "TransactionID")) == ("SubmitRsp", "tx-1")
    assert named in refused(sandbox, answer, 2004)


@pytest.mark.parametrize("media_type", ["video/mp4", "image/mp4", "AUDIO/MPEG3", "text/vcard", "video/x-msvideo"])
def test_both_spellings_of_media_types(sandbox: RunningSandbox, media_type: str) -> None:
    assert status(post(sandbox, multipart(envelope(submit_body(NUMBER)), media_type=media_type))) == 1000


@pytest.mark.parametrize("number", ["0064211234567", "0211234567", "+6", "64 21 1234567", "+642112345678901234", "abc"])
def test_numbers_are_e164(sandbox: RunningSandbox, number: str) -> None:
    details = refused(sandbox, submit(sandbox, NUMBER, number), 2002)

    assert NUMBER not in details
    assert number not in details or number == "+6"


@pytest.mark.parametrize("number", ["7255441234", "64211234567", "+64211234567/TYPE=PLMN"])
def test_numbers_of_the_page(sandbox: RunningSandbox, number: str) -> None:
    assert status(submit(sandbox, number)) == 1000


def test_recipients_per_request(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(recipients_per_request=2)
    assert "3 recipients" in refused(sandbox, submit(sandbox, NUMBER, "+64211234568", "+64211234569"), 3003)
    assert status(submit(sandbox, NUMBER, "+64211234568")) == 1000


@pytest.mark.parametrize("header", ["SOAPAction", "MIME_Version"])
def test_headers_that_the_page_leaves_out(
    sandbox: RunningSandbox, make_sandbox: Callable[..., RunningSandbox], header: str
) -> None:
    body = multipart(envelope(submit_body(NUMBER)))
    assert status(post(sandbox, body, **{header: None})) == 1000
    (record,) = sandbox.messages()
    assert record["valid"] is True
    assert header.replace("_", "-") in record["problems"][0]

    pedantic = make_sandbox(pedantic=True)
    assert refused(pedantic, post(pedantic, body, **{header: None}), 2007)


def test_another_namespace_can_be_allowed(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(accept_namespace="urn:x")
    answer = post(sandbox, multipart(envelope(submit_body(NUMBER), mm7="urn:x").replace(MM7, "urn:x")))
    assert status(answer) == 1000
    assert b'"urn:x"' in answer.content


def about(name: str, message_id: str, tail: str = "") -> bytes:
    """A CancelReq or ReplaceReq as plain text/xml."""
    return envelope(
        f'<{name} xmlns="{MM7}"><MM7Version>5.3.0</MM7Version><SenderIdentification/>'
        f"<MessageID>{message_id}</MessageID>{tail}</{name}>",
        transaction_id="tx-2",
    ).encode()


@pytest.mark.parametrize("name", ["CancelReq", "ReplaceReq"])
def test_cancel_and_replace(sandbox: RunningSandbox, name: str) -> None:
    message_id = str(field(submit(sandbox, NUMBER, report=False), "MessageID"))
    plain: dict[str, str | None] = {"Content_Type": "text/xml; charset=utf-8", "MIME_Version": None}

    answer = post(sandbox, about(name, message_id), **plain)
    assert (operation(answer), status(answer)) == (name.replace("Req", "Rsp"), 1000)
    assert field(answer, "TransactionID") == "tx-2"
    assert field(answer, "MessageID") is None
    assert status(post(sandbox, about(name, "never given"), **plain)) == 2005
    assert status(post(sandbox, about(name, message_id, "<Subject>x</Subject>"), **plain)) == 2007

    records = sandbox.messages()
    assert [one["operation"] for one in records] == ["SubmitReq", name, name, name]
    assert [one["accepted"] for one in records] == [True, False, False, False]
    assert records[1]["about_message_id"] == message_id


def test_xml_schema(make_sandbox: Callable[..., RunningSandbox], tmp_path: Path) -> None:
    """A schema of our own that knows no Subject: it is asked, under its own namespace, and recorded."""
    schema = tmp_path / "mm7.xsd"
    schema.write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:schema" '
        'elementFormDefault="qualified"><xs:element name="CancelReq"><xs:complexType><xs:sequence>'
        '<xs:element name="MM7Version"/><xs:element name="SenderIdentification"/><xs:element name="MessageID"/>'
        "</xs:sequence></xs:complexType></xs:element></xs:schema>"
    )
    sandbox = make_sandbox(schema=str(schema))
    plain: dict[str, str | None] = {"Content_Type": "text/xml; charset=utf-8", "MIME_Version": None}
    post(sandbox, about("CancelReq", "1"), **plain)
    post(sandbox, about("CancelReq", "1", "<ApplicID>x</ApplicID>"), **plain)

    first, second = sandbox.messages()
    assert (first["schema_valid"], first["schema_messages"]) == (True, [])
    assert second["schema_valid"] is False
    assert "ApplicID" in second["schema_messages"][0]


def test_without_a_schema_there_is_no_verdict(
    make_sandbox: Callable[..., RunningSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MM7_XSD", raising=False)
    sandbox = make_sandbox()
    submit(sandbox, NUMBER)
    assert sandbox.messages()[0]["schema_valid"] is None


@pytest.mark.skipif("MM7_XSD" not in os.environ, reason="MM7_XSD names no XML Schema file")
def test_the_real_schema(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox()
    submit(sandbox, NUMBER)
    post(sandbox, multipart(envelope(replaced("<Subject>", "<Colour/><Subject>"))))

    first, second = sandbox.messages()
    assert (first["schema_valid"], first["schema_messages"]) == (True, [])
    assert (second["schema_valid"], second["valid"]) == (False, False)


def test_what_comes_at_the_same_moment_is_all_recorded(sandbox: RunningSandbox) -> None:
    body = multipart(envelope(submit_body(NUMBER)))

    def many(_index: int) -> list[str]:
        mmsc = connection(sandbox)
        given = []
        for _ in range(25):
            mmsc.request("POST", "/mm7", body=body, headers=headers(Authorization=basic(sandbox)))
            given.append(str(field(mmsc.getresponse().read(), "MessageID")))
        mmsc.close()
        return given

    with ThreadPoolExecutor(8) as pool:
        told = [one for some in pool.map(many, range(8)) for one in some]

    records = sandbox.messages()
    assert len(set(told)) == 200
    assert {one["message_id"] for one in records} == set(told)
    assert [one["seq"] for one in records] == list(range(records[0]["seq"], records[0]["seq"] + 200))


def test_bodies_are_bounded_and_records_are_not(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(keep=3)
    for _ in range(10):
        submit(sandbox, NUMBER)

    records = sandbox.messages()
    assert [one["accepted"] for one in records] == [True] * 10
    assert [one["soap"] is not None for one in records] == [False] * 7 + [True] * 3
    assert len({one["parts"][1]["sha256"] for one in records}) == 1
    with pytest.raises(requests.HTTPError, match="404"):
        sandbox.raw(records[0]["seq"])
    assert sandbox.raw(records[-1]["seq"])


def test_bodies_are_bounded_in_bytes_too(make_sandbox: Callable[..., RunningSandbox]) -> None:
    sandbox = make_sandbox(keep_bytes=500_000)
    for index in range(6):
        post(sandbox, multipart(envelope(submit_body(NUMBER)), media=bytes([index]) * 150_000))
    assert [one["soap"] is not None for one in sandbox.messages()] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("ending", ["lf", "preamble", "epilogue"])
def test_multiparts_of_other_writers(sandbox: RunningSandbox, ending: str) -> None:
    body = multipart(envelope(submit_body(NUMBER)))
    changed = {
        "lf": body.replace(b"\r\n", b"\n"),
        "preamble": b"This is a multipart.\r\n" + body,
        "epilogue": body + b"\r\nThat was it.",
    }
    assert status(post(sandbox, changed[ending])) == 1000
    (record,) = sandbox.messages()
    assert record["parts"][1]["sha256"] == hashlib.sha256(GIF).hexdigest()
    assert sandbox.raw(record["seq"]) == changed[ending]


@pytest.mark.parametrize("body", [b"", b"\x00" * 1000, b"--outer", b"--outer\r\n" * 1000, b"--outer--", b"\xff\xfe<"])
def test_rubbish_ends_in_an_answer(sandbox: RunningSandbox, body: bytes) -> None:
    answer = post(sandbox, body)
    assert operation(answer) == "RSErrorRsp"
    assert refused(sandbox, answer, 2007)
