"""Tests reach this machine and no other: an audit hook refuses other names and addresses before anything is sent.

It sees what Python's own sockets do in the process of the tests and in its forks. It does not see programs that tests
start, nor code that has sockets of its own (libpq, uvloop).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

RULE = "tests stay on loopback"


def pytest_configure() -> None:
    _guard()


@cache
def _guard() -> None:
    """Begin to refuse; an audit hook stays as long as its process."""
    judges: dict[str, Callable[..., None]] = {
        "socket.getaddrinfo": lambda host, *_: _judge_name(host, numbers=True),
        "socket.gethostbyname": lambda host: _judge_name(host, numbers=True),
        # From a number to its name: the network is asked for numbers, too.
        "socket.gethostbyaddr": lambda host: _judge_name(host, numbers=False),
        "socket.getnameinfo": lambda address: _judge_name(address[0], numbers=False),
        "socket.connect": _judge_address,
        "socket.sendto": _judge_address,
        "socket.sendmsg": _judge_address,
    }

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # Called for every import and open: nothing but sockets may cost more than this.
        if (judge := judges.get(event)) is not None:
            judge(*arguments)

    sys.addaudithook(hook)


def _judge_name(host: str | bytes | None, *, numbers: bool) -> None:
    """Let pass what needs no resolver, and this machine's own name.

    :param numbers: whether any numeric address passes; connecting to it is judged for itself.
    :raises socket.gaierror: as a resolver's of a name that does not exist.
    """
    name = (host.decode(errors="replace") if isinstance(host, bytes) else host or "").lower()
    own = socket.gethostname().lower()
    if name in ("", "localhost", own) or name.startswith(f"{own}.") or _is_here(name):
        return
    if numbers and _number(name) is not None:
        return
    raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known ({RULE})")


def _judge_address(sock: socket.socket, address: Any) -> None:
    # A stream's sendmsg has no address: its connect was judged.
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
        return
    host = address[0]
    if host not in ("", "localhost") and not _is_here(host):
        raise PermissionError(errno.EPERM, f"{RULE}, and {host} is not on it")


def _is_here(host: str) -> bool:
    number = _number(host)
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    # Who connects to 0.0.0.0 or :: reaches this machine.
    return number is not None and (number.is_loopback or number.is_unspecified)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
