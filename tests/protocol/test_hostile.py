"""Input made to hurt ends in a typed error, within a second. What grows faster than linearly misses that by far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from airflow_provider_mm7.exceptions import LimitExceeded, MultipartError, ProtocolError, XmlError
from airflow_provider_mm7.protocol import DEFAULT_LIMITS, Limits, load, mask, number_key, read_http
from airflow_provider_mm7.protocol.mime import parse_parameters
from tests.support.scripted import Exchange, scripted

#: Seconds of this thread on a processor, which other processes do not lengthen much. The slowest case takes 0.15, with
#: coverage 0.3.
BOUND_S = 1.0
MIB = 1024 * 1024
RELATED = "multipart/related; boundary=b"
RSP = b"<Status><StatusCode>1000</StatusCode></Status><MessageID>1</MessageID>"


@contextmanager
def soon() -> Iterator[None]:
    start = time.thread_time()
    yield
    assert time.thread_time() - start < BOUND_S


def nested(levels: int, kind: bytes = b"multipart/mixed") -> bytes:
    head = b"".join(b"--b%d\nContent-Type: %b; boundary=b%d\n\n" % (i, kind, i + 1) for i in range(levels))
    return (
        head + b"--b%d\n\nx\n--b%d--\n" % (levels, levels) + b"".join(b"--b%d--\n" % i for i in range(levels, -1, -1))
    )


def laughs() -> bytes:
    entities = b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 20))
    return b'<!DOCTYPE x [<!ENTITY a0 "ha">' + entities + b"]><SubmitRsp><StatusText>&a19;</StatusText></SubmitRsp>"


def rsp(inside: bytes = b"", attributes: bytes = b"") -> bytes:
    return b"<SubmitRsp" + attributes + b">" + RSP + inside + b"</SubmitRsp>"


CASES: dict[str, Callable[[], tuple[bytes, str | None]]] = {
    "billion laughs": lambda: (laughs(), None),
    "external entity": lambda: (b'<!DOCTYPE x SYSTEM "http://192.0.2.1/x"><x/>', None),
    "parameter entity": lambda: (b'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///dev/zero"> %p;]><x/>', None),
    "doctype behind comments": lambda: (b"<!---->" * 100_000 + b"<!DOCTYPE x><x/>", None),
    "unclosed comments": lambda: (b"<!--" * 50_000 + b"<!DOCTYPE x>", None),
    "unclosed processing instructions": lambda: (b"<?x " * 50_000 + b"<!DOCTYPE x>", None),
    "unclosed cdata": lambda: (b"<x:a>" + b"<![CDATA[" * 50_000, None),
    "undeclared prefixes": lambda: (b"".join(b"<p%d:a/>" % i for i in range(50_000)), None),
    "unclosed tags": lambda: (b"<a:b " * 90_000, None),
    "attributes without end": lambda: (b"<x:a " + b"y:z=" * 500_000, None),
    "double colons": lambda: (b"<a::b>" * 90_000, None),
    "unclosed declarations": lambda: (b"<x:a" + b" xmlns:a='" * 900 + b">", None),
    "long declaration": lambda: (b"<?xml " + b"encoding " * 400_000, None),
    "depth": lambda: (rsp(b"<a>" * 40_000 + b"</a>" * 40_000), None),
    "depth that the parser allows": lambda: (rsp(b"<a>" * 100 + b"</a>" * 100), None),
    "depth of to": lambda: (
        b"<SubmitReq><Recipients>" + b"<To>" * 200 + b"</To>" * 200 + b"</Recipients></SubmitReq>",
        None,
    ),
    "elements": lambda: (rsp(b"<a/>" * 200_000), None),
    "extensions": lambda: (rsp(b"<Extension/>" * 50_000), None),
    "namespaces": lambda: (rsp(attributes=b"".join(b' xmlns:n%d="u"' % i for i in range(100_000))), None),
    "namespaces of extensions": lambda: (
        rsp(b"<Extension/>" * 200, b"".join(b' xmlns:n%d="u"' % i for i in range(990))),
        None,
    ),
    "attributes": lambda: (rsp(attributes=b"".join(b' a%d=""' % i for i in range(300_000))), None),
    "xml too large": lambda: (rsp(b" " * 5 * MIB), None),
    "body too large": lambda: (b" " * (64 * MIB + 1), None),
    "nested multiparts": lambda: (nested(200), "multipart/related; boundary=b0"),
    "nested multiparts of WSP": lambda: (
        nested(200, b"application/vnd.wap.multipart.mixed"),
        "multipart/related; boundary=b0",
    ),
    "parts within multiparts of WSP": lambda: (
        b"--b\n\n"
        + (b"--b\nContent-Type: application/vnd.wap.multipart.mixed; boundary=i\n\n--i\n\n--i--\n" * 501)
        + b"--b--",
        RELATED,
    ),
    "look-alikes in binary of WSP": lambda: (
        b"--b\nContent-Type: application/vnd.wap.multipart.mixed; boundary=i\n\n" + b"--i\0" * (3 * MIB) + b"\n--b--",
        RELATED,
    ),
    "nested multiparts below the bound, unclosed": lambda: (
        nested(7)[:-100],
        "multipart/related; boundary=b0",
    ),
    "parts": lambda: (b"--b\n\n" * 10_001 + b"--b--", RELATED),
    "a million parts": lambda: (b"--b\n" * 1_000_000 + b"--b--", RELATED),
    "look-alikes": lambda: (b"--bx\n" * 2_000_000 + b"--b\n\nx\n--b--", RELATED),
    "look-alikes in a line": lambda: (b"--b" * 3_000_000, RELATED),
    "delimiters of white space": lambda: ((b"--b" + b" " * 1000 + b"x\n") * 9_000, RELATED),
    "guessed delimiter": lambda: ((b"--" + b" " * 2000 + b"\n") * 5_000, "multipart/related"),
    "no delimiter at all": lambda: (b"-\n" * (5 * MIB), RELATED),
    "gigantic header": lambda: (b"--b\nX: " + b"x" * (10 * MIB) + b"\n\nx\n--b--", RELATED),
    "gigantic folded header": lambda: (b"--b\nX: x\n" + b" x\n" * (3 * MIB) + b"\nx\n--b--", RELATED),
    "headers": lambda: (b"--b\n" + b"a:\n" * (3 * MIB) + b"\nx\n--b--", RELATED),
    "headers of every part": lambda: ((b"--b\n" + b"a:\n" * 250 + b"\n") * 900, RELATED),
    "gigantic content type": lambda: (b"x", "multipart/related;" + "a" * MIB),
    "parameters": lambda: (b"x", "multipart/related" + ';a="' * 4000),
    "escaped parameters": lambda: (b"x", "multipart/related" + ';a="\\"' * 2500),
    "padded base64": lambda: (
        b"--b\nContent-Transfer-Encoding: base64\n\n" + b"QQ==" * 2_000_000 + b"\n--b--",
        RELATED,
    ),
    "encoded names": lambda: (
        b"--b\nContent-Type: x/y; name=" + b"=?utf-8?q?" * 1600 + b"\n\nx\n--b--",
        RELATED,
    ),
    "encoded names of every part": lambda: (
        (b"--b\nContent-Type: x/y; name=" + b"=?utf-8?q?a?= " * 1100 + b"\n\nx\n") * 600 + b"--b--",
        RELATED,
    ),
    "escaped names of every part": lambda: (
        (b"--b\nContent-Type: x/y; name*=x''" + b"%41" * 5000 + b"\n\nx\n") * 600 + b"--b--",
        RELATED,
    ),
    "boundary that is no text": lambda: (b"--\xff\n\n<a/>\n--\xff--", "multipart/related; boundary=\udcff"),
    "boundary that is no text, of XML": lambda: (b"<a/>", "multipart/related; boundary=\udcff"),
    "loose ampersands": lambda: (b"<a>" + b"&" * (4 * MIB - 3), None),
    "references without end": lambda: (b"<a>&" + b"&#" * (2 * MIB - 100), None),
    "numbers without end": lambda: (b"<a>&#" + b"1" * (4 * MIB - 100) + b";", None),
    "names that begin like entities": lambda: (b"<a>" + b"&quo" * (MIB - 100), None),
    "unclosed cdata after a loose ampersand": lambda: (b"<a>&" + b"<![CDATA[" * 90_000, None),
    "unclosed instructions after a loose ampersand": lambda: (b"<a>&" + b"<?" * 90_000, None),
    "surrogates without end": lambda: (b"<a>" + b"&#55357;" * (MIB // 2), None),
    "control characters": lambda: (b"<a>" + b"\x01" * (4 * MIB - 100), None),
    "entities in a loose text": lambda: (laughs().replace(b"&a19;", b"& &a19;"), None),
    "nul bytes": lambda: (b"\0" * (3 * MIB), None),
    "tags of nothing": lambda: (b"<" * (3 * MIB), None),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_hostile_input_ends_in_a_typed_error_soon(case: str) -> None:
    body, content_type = CASES[case]()
    with soon(), pytest.raises(ProtocolError):
        load(body, content_type)


def test_an_external_entity_is_not_fetched() -> None:
    def no_peer(peer: Exchange) -> None:
        peer.read()

    with scripted(no_peer) as server:
        for body in (b'<!DOCTYPE x SYSTEM "%b"><x/>', b'<!DOCTYPE x [<!ENTITY e SYSTEM "%b">]><x>&e;</x>'):
            with pytest.raises(XmlError, match="DTD"):
                load(body % server.url.encode(), None)
    assert server.connections == 0


def test_what_is_merely_large_is_read_soon() -> None:
    media = b"\n--x" * (2 * MIB)
    part = b"--b\nContent-Transfer-Encoding: quoted-printable\n\n" + b"=\n" * MIB + b"\n"
    for body, content_type in (
        (rsp(attributes=b"".join(b' a%d=""' % i for i in range(100_000))), None),
        (rsp(b"<Details>" + b"<a>x</a>" * 40_000 + b"</Details>"), None),
        (rsp(b"<StatusText>" + b"x " * MIB + b"</StatusText>"), None),
        (rsp(b"<StatusText>" + b"& < &#55357;&#1;\x01" * 30_000 + b"</StatusText>"), None),
        (b"--b\n\n" + rsp() + b"\n--b\n\n" + media + b"\n" + part + b"--b--", RELATED),
    ):
        with soon():
            load(body, content_type)


@pytest.mark.parametrize(
    ("limits", "body"),
    [
        (Limits(body_bytes=10), rsp()),
        (Limits(soap_bytes=10), rsp()),
        (Limits(xml_tags=3), rsp()),
        (Limits(xml_depth=2), rsp()),
        (Limits(xml_attributes=0), rsp(attributes=b' a="u"')),
        (Limits(namespaces=0), rsp(attributes=b' xmlns="u"')),
        (Limits(parts=1), b"--b\n\n" + rsp() + b"\n--b\n\nx\n--b--"),
        (Limits(mime_depth=1), b"--b\nContent-Type: multipart/mixed\n\n--c\n\nx\n--c--\n--b--"),
        (Limits(header_bytes=10), b"--b\nContent-Type: text/xml\n\n" + rsp() + b"\n--b--"),
        (Limits(header_lines=1), b"--b\nA: b\nC: d\n\n" + rsp() + b"\n--b--"),
    ],
)
def test_every_bound_names_itself(limits: Limits, body: bytes) -> None:
    changed = next(name for name in Limits.__slots__ if getattr(limits, name) != getattr(DEFAULT_LIMITS, name))
    with pytest.raises(LimitExceeded) as caught:
        load(body, None, limits=limits)
    assert (caught.value.limit, caught.value.allowed) == (changed, getattr(limits, changed))
    load(body.replace(b"\n\nx", b"\n\n" + rsp()), None, limits=replace(limits, **{changed: 10_000}))


def test_the_errors_of_entities_and_structure_are_told_apart() -> None:
    with pytest.raises(XmlError, match="DTD"):
        load(laughs(), None)
    with pytest.raises(LimitExceeded, match="mime_depth"):
        load(*CASES["nested multiparts"]())
    with pytest.raises(LimitExceeded, match="parts"):
        load(*CASES["parts"]())
    with pytest.raises(MultipartError, match="padded"):
        load(*CASES["padded base64"]())


def test_headers_and_addresses_take_linear_time() -> None:
    with soon():
        parse_parameters(";" + " " * MIB + ";a" * MIB)
    with soon():
        mask("1" * MIB)
        number_key("+" * MIB)
    for body in (
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * MIB,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000,
    ):
        with soon(), pytest.raises(ProtocolError):
            read_http(body)
