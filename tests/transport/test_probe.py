"""What the Test button finds out: each failure is met by a real server that fails so, and named for a person."""

from __future__ import annotations

import datetime
import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

from airflow_provider_mm7.exceptions import ConnectionConfigError
from airflow_provider_mm7.transport import Endpoint, ProbeResult, Reach, probe
from airflow_provider_mm7.transport.translate import not_sent
from tests.support.scripted import Exchange, free_port, scripted

#: Stands in every place where a credential may stand; no sentence may repeat it.
MARKER = "marker7secret"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the proxies that a test names."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def ask(url: str, **settings: Any) -> ProbeResult:
    """Probe with the marker for a password and a header's value."""
    given = {"login": "u", "password": MARKER, "headers": {"X-Api-Key": MARKER}, "read_timeout_s": 5.0, **settings}
    result = probe(Endpoint(url=url, **given))
    assert MARKER not in result.text
    return result


def answering(status: str, body: bytes = b"", **headers: str) -> Callable[[Exchange], None]:
    def script(peer: Exchange) -> None:
        peer.read()
        peer.answer(status, body, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return script


def answer_to(status: str, body: bytes = b"", *, settings: dict[str, Any] | None = None, **headers: str) -> ProbeResult:
    with scripted(answering(status, body, **headers)) as server:
        return ask(server.url, **settings or {})


# --- reached ---------------------------------------------------------------------------------------------------------


def test_sends_a_get_with_the_credentials() -> None:
    with scripted(answering("405 Method Not Allowed")) as server:
        result = probe(Endpoint(url=server.url, login="u", password="p"))
    assert (result.ok, result.http_status) == (True, 405)
    assert result.text == "reached, not refused (HTTP 405 to a GET)"
    (request,) = server.requests
    assert request.head.startswith("GET /mm7")
    assert request.body == b""
    assert request.header("Authorization") == "Basic dTpw"


def test_digest_credentials_are_presented_too() -> None:
    def script(peer: Exchange) -> None:
        peer.read()
        peer.answer("401 Unauthorized", headers={"WWW-Authenticate": 'Digest realm="mms", nonce="n1", qop="auth"'})
        peer.read()
        peer.answer("405 Method Not Allowed")

    with scripted(script) as server:
        assert ask(server.url, auth="digest").ok
    assert (server.requests[1].header("Authorization") or "").startswith('Digest username="u"')


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        ("405 Method Not Allowed", b"<html><body>405</body></html>", "text/html"),
        ("400 Bad Request", b"<!DOCTYPE html><html>", "text/html"),
        ("500 Internal Server Error", b"<env:Envelope/>", "text/xml"),
        ("200 OK", b"<?xml version='1.0'?><env:Envelope/>", "text/xml"),
        ("200 OK", b"", "text/plain"),
        ("204 No Content", b"", "text/plain"),
    ],
)
def test_how_servers_of_mm7_answer_a_get(status: str, body: bytes, content_type: str) -> None:
    result = answer_to(status, body, Content_Type=content_type)
    assert (result.ok, result.reach) == (True, Reach.REACHED), result.text


def test_without_a_login_it_says_so() -> None:
    settings: dict[str, Any] = {"login": None, "password": None}
    assert "no login is given" in answer_to("405 No", settings=settings).text
    assert "No login is given" in answer_to("401 Unauthorized", settings=settings).text


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_names_credentials(status: str) -> None:
    result = answer_to(status, WWW_Authenticate='Basic realm="digest, or so"')
    assert (result.ok, result.reach) == (False, Reach.DENIED)
    assert "credentials or IP allow list" in result.text
    assert "It asks for" not in result.text


def test_names_the_kind_of_authentication_that_is_wanted() -> None:
    assert "It asks for digest" in answer_to("401 No", WWW_Authenticate='Digest realm="mms", nonce="1"').text
    both = answer_to("401 No", WWW_Authenticate='Basic realm="x", Digest realm="y", nonce="1"')
    assert "It asks for" not in both.text
    settings = {"auth": "digest"}
    assert "It asks for basic" in answer_to("401 No", WWW_Authenticate='Basic realm="x"', settings=settings).text


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_names_the_path(status: str) -> None:
    result = answer_to(status, b"<html>", Content_Type="text/html")
    assert (result.ok, result.reach) == (False, Reach.PATH)
    assert "nothing at the path /mm7" in result.text


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://mmsc.example/new/mm7?key=marker7secret", "https://mmsc.example/new/mm7;"),
        ("/other", "/other;"),
        ("https://u:marker7secret@mmsc.example:8443/x", "https://mmsc.example:8443/x;"),
        ("https://[marker7secret/", "leads on;"),
        ("https://mmsc.example/" + "x" * 5000, "leads on;"),
    ],
)
def test_says_where_a_redirect_leads_and_does_not_follow(location: str, shown: str) -> None:
    with scripted(answering("301 Moved", Location=location)) as server:
        result = ask(server.url)
    assert (result.ok, result.reach, server.connections) == (False, Reach.PATH, 1)
    assert shown in result.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<p>hello</p>", "text/html; charset=utf-8"),
        (b"<html xmlns='...'>", "application/xhtml+xml"),
        (b"\n<!-- portal -->\n<!DOCTYPE HTML PUBLIC ''><html>", "text/plain"),
    ],
)
def test_a_web_page_is_no_mm7_server(body: bytes, content_type: str) -> None:
    result = answer_to("200 OK", body, Content_Type=content_type)
    assert (result.ok, result.reach, result.http_status) == (False, Reach.NOT_MM7, 200)
    assert "not an MM7 server" in result.text


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_a_server_that_is_away(status: str) -> None:
    result = answer_to(status, b"<html>", Content_Type="text/html")
    assert (result.ok, result.reach) == (False, Reach.AWAY)


# --- no answer -------------------------------------------------------------------------------------------------------


def test_names_the_host_that_does_not_resolve() -> None:
    result = ask("https://mmsc.invalid/mm7")
    assert result.reach is Reach.DNS
    assert "mmsc.invalid:443 does not resolve" in result.text


def test_a_refused_connection() -> None:
    port = free_port()
    result = ask(f"http://127.0.0.1:{port}/")
    assert result.reach is Reach.REFUSED
    assert result.text == f"127.0.0.1:{port} refused the connection; check host and port"


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue of connections is full, so that it takes no more and refuses none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


def test_nobody_answers_the_connection(full: int) -> None:
    result = ask(f"http://127.0.0.1:{full}/", connect_timeout_s=0.2)
    assert result.reach is Reach.REFUSED
    assert "did not answer within 0.2 s" in result.text
    assert "allow list" in result.text


def test_connected_and_nobody_answers() -> None:
    def wait(peer: Exchange) -> None:
        peer.read()
        peer.server.released.wait(20)

    with scripted(wait) as server:
        result = ask(server.url, read_timeout_s=0.2)
    assert result.reach is Reach.LOST
    assert "no answer to a GET within 0.2 s" in result.text


def test_connected_and_closed() -> None:
    def leave(peer: Exchange) -> None:
        peer.read()

    with scripted(leave) as server:
        result = ask(server.url)
    assert result.reach is Reach.LOST
    assert "closed without an answer" in result.text


def test_something_else_than_http_answers() -> None:
    def ssh(peer: Exchange) -> None:
        peer.read()
        peer.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with scripted(ssh) as server:
        result = ask(server.url)
    assert result.reach is Reach.LOST
    assert "does not speak HTTP" in result.text


def test_an_address_that_is_not_of_this_machine() -> None:
    with scripted(answering("405 No")) as server:
        result = ask(server.url, source_address="192.0.2.7")
    assert result.reach is Reach.REFUSED
    assert "this machine does not have the address 192.0.2.7; check source_address" in result.text


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ETIMEDOUT, "did not answer within 10 s"),
        (errno.ENETUNREACH, "no route to mmsc.example:443"),
        (errno.EHOSTUNREACH, "no route to mmsc.example:443"),
        (errno.EMFILE, "no connection to mmsc.example:443 could be made"),
    ],
)
def test_what_the_network_of_this_machine_says(number: int, told: str) -> None:
    # Routes cannot be taken from a machine that runs tests, so the error is made as urllib3 makes it.
    failed = NewConnectionError(HTTPConnection("mmsc.example"), "failed")
    failed.__cause__ = OSError(number, "said by the kernel")
    endpoint = Endpoint(url="https://mmsc.example/mm7")
    assert told in str(not_sent(requests.ConnectionError(failed), endpoint))


def test_what_cannot_be_sent() -> None:
    assert ask("http://127.0.0.1:99999/").reach is Reach.CONFIG

    def challenge(peer: Exchange) -> None:
        peer.read()
        peer.answer("401 No", headers={"WWW-Authenticate": 'Digest realm="mms", nonce="n1", qop="auth"'})

    with scripted(challenge) as server:
        result = ask(server.url, auth="digest", login=f"ключ{MARKER}")
    assert (result.reach, "Latin-1" in result.text) == (Reach.CONFIG, True)


# --- TLS -------------------------------------------------------------------------------------------------------------

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> str:
    """Path of the authority's certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def over_tls(context: ssl.SSLContext, *, name: str = "127.0.0.1", **settings: Any) -> ProbeResult:
    with scripted(answering("405 No"), tls=context) as server:
        result = ask(server.url.replace("127.0.0.1", name), **settings)
        assert bool(server.requests) is result.ok
        return result


def test_a_certificate_that_is_trusted(authority: trustme.CA, trusted: str) -> None:
    assert over_tls(context_of(authority.issue_cert("127.0.0.1")), ca_bundle=trusted).ok


@pytest.mark.parametrize(
    ("names", "facts", "told"),
    [
        (["other.example"], {}, "is for another name; check the host"),
        (["127.0.0.1"], {"not_before": NOW - 2 * DAY, "not_after": NOW - DAY}, "has expired"),
        (["127.0.0.1"], {"not_before": NOW + DAY, "not_after": NOW + 2 * DAY}, "is not valid yet"),
    ],
)
def test_certificates_that_are_wrong(
    authority: trustme.CA, trusted: str, names: list[str], facts: dict[str, Any], told: str
) -> None:
    result = over_tls(context_of(authority.issue_cert(*names, **facts)), ca_bundle=trusted)
    assert result.reach is Reach.TLS
    assert told in result.text


def test_a_certificate_for_another_host_name(authority: trustme.CA, trusted: str) -> None:
    result = over_tls(context_of(authority.issue_cert("other.example")), name="localhost", ca_bundle=trusted)
    assert "is for another name; check the host" in result.text


def test_an_authority_that_is_not_known(authority: trustme.CA) -> None:
    result = over_tls(context_of(authority.issue_cert("127.0.0.1")))
    assert result.reach is Reach.TLS
    assert "authority that is not known here; give the authority's as ca_bundle" in result.text


def test_a_self_signed_certificate(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with authority.cert_pem.tempfile() as certificate, authority.private_key_pem.tempfile() as key:
        context.load_cert_chain(certificate, key)
    result = over_tls(context)
    assert result.reach is Reach.TLS
    assert "certificate is self-signed" in result.text


def test_a_port_without_tls() -> None:
    def plain(peer: Exchange) -> None:
        peer.sock.recv(10)
        peer.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(plain) as server:
        result = ask(server.url.replace("http:", "https:"))
    assert result.reach is Reach.TLS
    assert "does not speak TLS; check the port, or begin the host with http://" in result.text


def test_a_server_that_wants_a_certificate_of_ours(authority: trustme.CA, trusted: str, tmp_path: Path) -> None:
    context = context_of(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    # Up to TLS 1.2 the handshake itself fails; later the first read does.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    result = over_tls(context, ca_bundle=trusted)
    assert result.reach is Reach.TLS
    assert "check client_cert" in result.text

    own = tmp_path / "own.pem"
    authority.issue_cert("us.example").private_key_and_cert_chain_pem.write_to_path(own)
    assert over_tls(context, ca_bundle=trusted, client_cert=str(own)).ok


@pytest.mark.parametrize(
    ("field", "value"),
    [("ca_bundle", "/no/ca.pem"), ("client_cert", "/no/c.pem"), ("client_cert", (__file__, "/no/key.pem"))],
)
def test_files_that_are_not_there(field: str, value: Any) -> None:
    with pytest.raises(ConnectionConfigError, match="there is no file /no/") as caught:
        ask("https://127.0.0.1:1/", **{field: value})
    assert caught.value.field == field


def test_a_bundle_of_the_environment_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/env.pem")
    with pytest.raises(ConnectionConfigError, match=r"/no/env.pem on this machine .*REQUESTS_CA_BUNDLE"):
        ask("https://127.0.0.1:1/")


@pytest.mark.parametrize("field", ["ca_bundle", "client_cert"])
def test_files_that_hold_no_certificate(authority: trustme.CA, trusted: str, tmp_path: Path, field: str) -> None:
    (tmp_path / "noise.pem").write_text("no certificate\n")
    settings: dict[str, Any] = {"ca_bundle": trusted, field: str(tmp_path / "noise.pem")}
    result = over_tls(context_of(authority.issue_cert("127.0.0.1")), **settings)
    assert result.reach is Reach.TLS
    assert "check ca_bundle and client_cert" in result.text


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{MARKER}@127.0.0.1:{port}")
    result = ask("https://mmsc.invalid/mm7")
    assert result.reach is Reach.REFUSED
    assert f"the proxy 127.0.0.1:{port} on the way to mmsc.invalid:443 cannot be used" in result.text


@pytest.mark.parametrize(
    ("status", "told"),
    [("407 Proxy Authentication Required", "wants credentials (HTTP 407)"), ("403 No", "does not let through")],
)
def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, status: str, told: str) -> None:
    with scripted(answering(status)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{MARKER}@127.0.0.1:{proxy.port}")
        result = ask("https://mmsc.invalid/mm7")
    assert result.reach is Reach.REFUSED
    assert told in result.text
    assert proxy.requests[0].head.startswith("CONNECT mmsc.invalid:443")


def test_a_proxy_for_plain_http_that_wants_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(answering("407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        result = ask("http://mmsc.invalid/mm7")
    assert (result.ok, result.reach, result.http_status) == (False, Reach.PROXY, 407)
