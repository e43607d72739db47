"""``airflow mm7 receiver``: the receiver as a process of its own, set up by Airflow's configuration and connections."""

from __future__ import annotations

import argparse
import os
import sys

#: Loopback: what listens for the world stands behind something that speaks TLS.
HOST = "127.0.0.1"
PORT = 8080


def receiver(args: argparse.Namespace) -> None:
    """Serve ``/mm7/callback`` and ``/mm7/health`` until SIGINT or SIGTERM.

    Exits with 2 and one line when the configuration cannot work.

    :param args: ``host`` and ``port`` (None: the defaults).
    """
    # As Airflow's own connections command does: connections made in the UI are found from here too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"

    from airflow_provider_mm7.exceptions import MM7Error, StoreUnavailable
    from airflow_provider_mm7.hooks.callbacks import create_receiver, open_airflow_store
    from airflow_provider_mm7.receiver.serve import serve

    try:
        app = create_receiver(prefix="/mm7")
        try:
            open_airflow_store().check()
        except StoreUnavailable as exc:
            # It may come up later; until then callbacks are answered 503 and come again.
            print(f"mm7 receiver: {exc}", file=sys.stderr)
    except (MM7Error, OSError) as exc:
        print(f"mm7 receiver: {' '.join(str(exc).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    serve(app, host=args.host or HOST, port=PORT if args.port is None else args.port)
