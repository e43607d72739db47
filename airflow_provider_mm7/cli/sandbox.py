"""``airflow mm7 sandbox``: an MMSC for development."""

from __future__ import annotations

from argparse import Namespace

from airflow_provider_mm7.cli.boundary import CommandError
from airflow_provider_mm7.sandbox.server import run as serve
from airflow_provider_mm7.sandbox.settings import from_namespace


def run(args: Namespace) -> None:
    """Run until SIGINT or SIGTERM.

    :raises CommandError: the address cannot be listened on.
    """
    try:
        serve(from_namespace(args))
    except OSError as exc:
        raise CommandError(f"{args.host}:{args.port}: {exc.strerror or exc}") from exc
