"""``airflow mm7 receiver``: the receiver as a process of its own, set up by Airflow's configuration and connections."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.exceptions import InputError, StoreNotMigrated, StoreNotShared, StoreUnavailable
from airflow_provider_mm7.hooks.callbacks import create_receiver, open_airflow_store
from airflow_provider_mm7.receiver.serve import serve


def receiver(args: Namespace) -> None:
    """Serve ``/mm7/callback`` and ``/mm7/health`` until SIGINT or SIGTERM.

    :param args: ``host`` and ``port``.
    :raises CommandError: the configuration cannot work.
    """
    try:
        app = create_receiver(prefix="/mm7")
        try:
            open_airflow_store()
        except StoreUnavailable as exc:
            # It may come up later; until then callbacks are answered 503 and come again.
            print(f"airflow mm7: {exc}", file=sys.stderr)
    except (InputError, StoreNotMigrated, StoreNotShared, OSError) as exc:
        raise CommandError(str(exc), exit_code=EXIT_USAGE) from exc
    serve(app, host=args.host, port=args.port)
