"""A test that leaves loopback is refused, and is told why."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.loopback import RULE

#: Addresses for documentation, RFC 5737 and RFC 3849: if the guard fails, nobody is bothered.
V4, V6 = "192.0.2.1", "2001:db8::1"


LOOK_UPS: dict[str, Callable[[], object]] = {
    "getaddrinfo": lambda: socket.getaddrinfo("mmsc.invalid", 443),
    "getaddrinfo of bytes": lambda: socket.getaddrinfo(b"mmsc.invalid", 443),
    "gethostbyname": lambda: socket.gethostbyname("mmsc.invalid"),
    "gethostbyname_ex": lambda: socket.gethostbyname_ex("mmsc.invalid"),
    "gethostbyaddr": lambda: socket.gethostbyaddr(V4),
    "getnameinfo": lambda: socket.getnameinfo((V4, 80), 0),
    "create_connection": lambda: socket.create_connection(("mmsc.invalid", 443)),
    "asyncio": lambda: asyncio.run(asyncio.open_connection("mmsc.invalid", 443)),
}


@pytest.mark.parametrize("name", LOOK_UPS)
def test_no_other_name_is_looked_up(name: str) -> None:
    with pytest.raises(socket.gaierror, match=RULE) as caught:
        LOOK_UPS[name]()
    assert caught.value.errno == socket.EAI_NONAME


@pytest.mark.parametrize("host", [V4, V6, f"::ffff:{V4}", "10.0.0.1", "169.254.169.254"])
def test_no_other_address_is_connected_to(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as stream:
        stream.settimeout(0.1)
        with pytest.raises(PermissionError, match=RULE):
            stream.connect((host, 80))
        with pytest.raises(PermissionError, match=RULE):
            stream.connect_ex((host, 80))
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(PermissionError, match=RULE):
            datagrams.sendto(b"x", (host, 9))
        with pytest.raises(PermissionError, match=RULE):
            datagrams.sendmsg([b"x"], [], 0, (host, 9))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1", "0.0.0.0", "localhost"])
def test_loopback_is_open(host: str) -> None:
    with socket.create_server(("127.0.0.2" if host == "127.0.0.2" else "127.0.0.1", 0)) as listener:
        socket.create_connection((host, listener.getsockname()[1]), timeout=10).close()


def test_the_machine_knows_itself() -> None:
    assert socket.getfqdn()
    assert socket.getaddrinfo(None, 80)


def test_unix_sockets_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as stream:
        listener.bind("unix")
        listener.listen()
        stream.connect("unix")
        assert stream.sendmsg([b"x"]) == 1
