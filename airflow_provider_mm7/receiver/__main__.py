"""``python -m airflow_provider_mm7.receiver``: the receiver on a host that carriers can reach, without Airflow."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys

from airflow_provider_mm7.exceptions import MM7Error, StoreUnavailable
from airflow_provider_mm7.media import FolderSink
from airflow_provider_mm7.receiver import settings as variables
from airflow_provider_mm7.receiver.app import create_app
from airflow_provider_mm7.receiver.serve import serve
from airflow_provider_mm7.receiver.settings import read_settings
from airflow_provider_mm7.store import open_store

log = logging.getLogger("airflow_provider_mm7.receiver")


def main() -> int:
    """Read the environment, look at the store, serve.

    :return: exit code: 2 when something is configured so that it cannot work.
    """
    # No options; ``--help`` lists the variables.
    argparse.ArgumentParser(
        prog="python -m airflow_provider_mm7.receiver",
        description=_plain(str(variables.__doc__)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(os.environ)
        settings.media_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            open_store(settings.store_url)
        except StoreUnavailable as exc:
            # It may come up later; until then callbacks are answered 503 and come again.
            log.warning("%s", exc)
    except (MM7Error, OSError) as exc:
        print(f"mm7 receiver: {' '.join(str(exc).split())}", file=sys.stderr)
        return 2
    app = create_app(
        credentials=settings,
        store=lambda: open_store(settings.store_url),
        sink=FolderSink(settings.media_folder),
        config=settings.config,
        prefix="/mm7",
    )
    serve(app, host=settings.host, port=settings.port)
    return 0


def _plain(text: str) -> str:
    """Return a text without reST's backticks, the columns of its table where they were."""
    first_column = re.compile(r"^``.*?``(?=  )", re.MULTILINE)
    padded = first_column.sub(lambda match: match[0].replace("``", "").ljust(len(match[0])), text)
    return padded.replace("``", "")


if __name__ == "__main__":
    sys.exit(main())
