"""A client that the product has no part in: requests as text, so that any of them can be wrong."""

from __future__ import annotations

import base64
import http.client
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from lxml import etree

from tests.support.sandbox import PATIENCE_S, RunningSandbox

MM7 = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
GIF = base64.b64decode("R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs=")
CONTENT = '<Content href="cid:content@vasp" allowAdaptations="true"/>'


def submit_body(
    *recipients: str, report: bool = True, read_reply: bool = False, middle: str = "", content: str = CONTENT
) -> str:
    """The SubmitReq element of a message to these numbers."""
    numbers = "".join(f"<Number>{one}</Number>" for one in recipients)
    wanted = "<DeliveryReport>true</DeliveryReport>" if report else ""
    read = "<ReadReply>true</ReadReply>" if read_reply else ""
    return (
        f'<SubmitReq xmlns="{MM7}"><MM7Version>5.3.0</MM7Version><SenderIdentification><VASPID>TNN</VASPID>'
        f"<VASID>News</VASID><SenderAddress><Number>+6421999</Number></SenderAddress></SenderIdentification>"
        f"<Recipients><To>{numbers}</To></Recipients>{wanted}{read}{middle}<Subject>News</Subject>{content}</SubmitReq>"
    )


def envelope(body: str, *, transaction_id: str = "tx-1", soap: str = SOAP, mm7: str = MM7) -> str:
    """A SOAP envelope around it."""
    return (
        f'<?xml version="1.0"?><env:Envelope xmlns:env="{soap}"><env:Header>'
        f'<mm7:TransactionID xmlns:mm7="{mm7}" env:mustUnderstand="1">{transaction_id}</mm7:TransactionID>'
        f"</env:Header><env:Body>{body}</env:Body></env:Envelope>"
    )


def multipart(soap: str, *, media: bytes = GIF, media_type: str = "image/gif") -> bytes:
    """The envelope, a text and a picture."""
    picture = f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(media).decode()}"
    parts = (
        '--outer\r\nContent-Type: text/xml; charset="utf-8"\r\nContent-ID: <start@vasp>\r\n\r\n' + soap,
        '--outer\r\nContent-Type: multipart/mixed; boundary="inner"\r\nContent-ID: <content@vasp>\r\n',
        '--inner\r\nContent-Type: text/plain; charset="us-ascii"\r\n\r\nScience news',
        f"--inner\r\nContent-Type: {media_type}\r\nContent-ID: <saturn.gif>\r\nContent-Location: saturn.gif\r\n"
        + picture,
        "--inner--\r\n--outer--\r\n",
    )
    return "\r\n".join(parts).encode()


def slide_message(subject: str, *parts: tuple[str, bytes, str], to: str = "+64211234567") -> bytes:
    """A message of named parts.

    :param parts: media type, body, Content-ID.
    """
    escaped = subject.replace("&", "&amp;").replace("<", "&lt;")
    lines = [
        "--outer\r\nContent-Type: text/xml\r\nContent-ID: <start@vasp>\r\n",
        envelope(submit_body(to).replace(">News</Subject>", f">{escaped}</Subject>")),
        '--outer\r\nContent-Type: multipart/related; boundary="inner"\r\nContent-ID: <content@vasp>\r\n',
    ]
    for media_type, body, name in parts:
        encoded = base64.b64encode(body).decode()
        lines.append(
            f"--inner\r\nContent-Type: {media_type}\r\nContent-ID: <{name}>\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}"
        )
    lines.append("--inner--\r\n--outer--\r\n")
    return "\r\n".join(lines).encode()


def headers(**changes: str | None) -> dict[str, str]:
    """Headers of such a request; None leaves one out."""
    wanted: dict[str, str | None] = {
        "Content-Type": 'multipart/related; type="text/xml"; start="<start@vasp>"; boundary="outer"',
        "SOAPAction": '""',
        "MIME-Version": "1.0",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in wanted.items() if value is not None}


def post(sandbox: RunningSandbox, body: bytes, /, **changes: str | None) -> requests.Response:
    """Post it with the right credentials."""
    return post_to(sandbox.url, sandbox, body, **changes)


def post_to(url: str, sandbox: RunningSandbox, body: bytes, /, **changes: str | None) -> requests.Response:
    """Post it to another address of the sandbox."""
    return requests.post(
        url,
        data=body,
        headers=headers(**changes),
        auth=(sandbox.login, sandbox.password),
        timeout=PATIENCE_S,
    )


def submit(sandbox: RunningSandbox, *recipients: str, **options: Any) -> requests.Response:
    """Post a well-formed SubmitReq."""
    return post(sandbox, multipart(envelope(submit_body(*recipients, **options))))


def field(answer: requests.Response | bytes, name: str) -> str | None:
    """Text of the one element of this name in an MM7 answer; None when there is none."""
    content = answer if isinstance(answer, bytes) else answer.content
    found = [one.text for one in etree.fromstring(content).iter("{*}" + name)]
    assert len(found) < 2
    return found[0] if found else None


def status(answer: requests.Response) -> int:
    """StatusCode of an answer."""
    return int(field(answer, "StatusCode") or 0)


def operation(answer: requests.Response) -> str:
    """Local name of the answer's element, within a Fault's detail too."""
    root = etree.fromstring(answer.content)
    names = [etree.QName(one).localname for one in root.iter("{*}*")]
    return next(name for name in names if name.endswith("Rsp"))


def on_the_wire(sandbox: RunningSandbox, body: bytes, *, timeout_s: float = PATIENCE_S) -> bytes:
    """Post over a bare socket.

    :return: every byte that came back until the connection was closed.
    :raises ConnectionResetError: it was reset.
    :raises TimeoutError: nothing came.
    """
    lines = [f"POST /mm7 HTTP/1.1\r\nHost: mmsc\r\nAuthorization: {basic(sandbox)}\r\nConnection: close"]
    lines += [f"{name}: {value}" for name, value in headers(Content_Length=str(len(body))).items()]
    with socket.create_connection(address(sandbox), timeout=timeout_s) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def basic(sandbox: RunningSandbox) -> str:
    """Value of the Authorization header."""
    return "Basic " + base64.b64encode(f"{sandbox.login}:{sandbox.password}".encode()).decode()


def address(sandbox: RunningSandbox) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(sandbox.url)
    return str(parts.hostname), int(parts.port or 0)


def ids(text: bytes, name: str) -> list[str]:
    """Texts of all elements of a name, by pattern: for XML that no parser takes."""
    return [one.decode() for one in re.findall(rb"<%s[^>]*>([^<]*)<" % name.encode(), text)]


def connection(sandbox: RunningSandbox) -> http.client.HTTPConnection:
    """A connection on which requests can be made by hand."""
    host, port = address(sandbox)
    return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
