"""``airflow mm7 inspect``: one MM7 message from a file, as JSON. Needs neither store nor database nor connection."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from airflow_provider_mm7 import protocol
from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.cli.output import print_object
from airflow_provider_mm7.exceptions import ProtocolError

#: Names standard input.
STDIN = "-"


def inspect(args: Namespace) -> None:
    """Read ``args.file`` and print what it says.

    :raises CommandError: exit code 2: the file cannot be read, or is no MM7 message.
    """
    raw = _read(args.file)
    try:
        if args.content_type and not _has_start_line(raw):
            body, content_type = raw, args.content_type
        else:
            body, content_type = protocol.read_http(raw)
        described = protocol.describe(protocol.load(body, args.content_type or content_type))
    except ProtocolError as exc:
        raise CommandError(f"{args.file}: {exc}", exit_code=EXIT_USAGE) from exc
    print_object(described, args.output, nested="parts")


def _read(name: str) -> bytes:
    # One byte more than may be read, so that a longer file is told from one of just that length.
    bound = protocol.DEFAULT_LIMITS.body_bytes + protocol.DEFAULT_LIMITS.header_bytes
    try:
        if name == STDIN:
            raw = sys.stdin.buffer.read(bound + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(bound + 1)
    except OSError as exc:
        raise CommandError(f"{name}: {exc.strerror}", exit_code=EXIT_USAGE) from exc
    if len(raw) > bound:
        raise CommandError(f"{name}: longer than {bound} bytes", exit_code=EXIT_USAGE)
    return raw


def _has_start_line(raw: bytes) -> bool:
    return b"HTTP/" in raw.lstrip()[:8192].split(b"\n", 1)[0]
