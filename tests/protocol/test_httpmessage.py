from __future__ import annotations

import gzip

import pytest

from airflow_provider_mm7.exceptions import LimitExceeded, ProtocolError
from airflow_provider_mm7.protocol import Limits, read_http

BODY = b"<SubmitRsp/>\n\nmore\n"


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"POST /mm7 HTTP/1.1\nHost: x\nContent-Type: text/xml\n\n", "text/xml"),
        (
            b"HTTP/1.1 200 OK\ncontent-type:text/xml;\n charset=utf-8\nContent-Length: nnnn\n\n",
            "text/xml; charset=utf-8",
        ),
        (b"HTTP/1.1 200\nContent-Length: 3\n\n", None),
        (b"HTTP/2 200 \nContent-Type: text/xml\n \n", "text/xml"),
        (b"\n\nPOST https://x/mm7?a=b HTTP/1.0\nA: b\n\n", None),
        (b"Content-Type: text/xml\nContent-ID: <x>\n\n", "text/xml"),
        (b"HTTP/1.1 200 OK\n\n", None),
        (
            b"HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Type: a/b\n\n",
            "a/b",
        ),
    ],
)
def test_headers_are_taken_off(head: bytes, content_type: str | None, newline: bytes) -> None:
    assert read_http(head.replace(b"\n", newline) + BODY) == (BODY, content_type)


@pytest.mark.parametrize("body", [BODY, b"", b"--b\nContent-Type: text/xml\n\n", b"\xef\xbb\xbf<a/>", b"POST it\n"])
def test_a_body_alone_stays_as_it_is(body: bytes) -> None:
    assert read_http(body) == (body, None)


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (b"3\nabc\n2\nde\n0\n", b"abcde"),
        (b"0\r\n\r\n", b""),
        # A capture that was joined already still has the header.
        (b"<SubmitRsp/>", b"<SubmitRsp/>"),
    ],
)
def test_chunks_are_joined(chunks: bytes, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    assert read_http(head + chunks) == (body, None)


@pytest.mark.parametrize("chunks", [b"3\r\nabc\r\n", b"3\r\nab", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n"])
def test_chunks_that_are_cut_off(chunks: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)


GZIP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Encoding: x-gzip\r\n\r\n"


@pytest.mark.parametrize("body", [gzip.compress(BODY), BODY], ids=["packed", "unpacked already"])
def test_a_compressed_body_is_unpacked(body: bytes) -> None:
    assert read_http(GZIP_HEAD + body) == (BODY, "text/xml")


def test_a_compressed_body_in_chunks() -> None:
    packed = gzip.compress(BODY)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read_http(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)) == (BODY, None)


@pytest.mark.parametrize(
    "body", [gzip.compress(BODY)[:-9], gzip.compress(BODY)[:10] + b"\xff" * 20], ids=["cut off", "nonsense"]
)
def test_a_compressed_body_that_is_damaged(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="compressed"):
        read_http(GZIP_HEAD + body)


def test_a_compressed_body_is_bounded() -> None:
    with pytest.raises(LimitExceeded, match="body_bytes"):
        read_http(GZIP_HEAD + gzip.compress(b" " * 1001), limits=Limits(body_bytes=1000))
    assert len(read_http(GZIP_HEAD + gzip.compress(b" " * 1000), limits=Limits(body_bytes=1000))[0]) == 1000


def test_chunks_are_bounded() -> None:
    with pytest.raises(LimitExceeded, match="chunks"):
        read_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_001)


def test_headers_are_bounded() -> None:
    with pytest.raises(LimitExceeded):
        read_http(b"HTTP/1.1 200 OK\r\nA: b\r\n" + b"C: d\r\n" * 10, limits=Limits(header_bytes=30))
