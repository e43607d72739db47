"""``airflow mm7 db upgrade | check | prune``: the store itself."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from airflow_provider_mm7.cli.boundary import EXIT_FAILED, EXIT_USAGE, CommandError, confirm
from airflow_provider_mm7.cli.ledger import parse_time
from airflow_provider_mm7.cli.output import Row, print_object
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.store import Store, StoreCheck, open_store


def upgrade(args: Namespace) -> None:
    """Create or migrate the tables."""
    store = open_store(config.store_url(), migrate=True)
    print_object({"url": store.url_masked, "revision": store.current_revision()}, args.output)


def check(args: Namespace) -> None:
    """Print whether the store can be used and who uses it; exit code 1 when it cannot be used."""
    found = _look(config.store_url())
    print_object(_check_row(found), args.output, nested="components")
    if args.output != "json":
        for warning in found.warnings:
            print(f"airflow mm7: {warning}", file=sys.stderr)
    if not found.ok:
        sys.exit(EXIT_FAILED)


def prune(args: Namespace) -> None:
    """Delete what is older than a time, after asking.

    :raises CommandError: no time was given, or two, or nobody can be asked.
    """
    if (args.before is None) == (args.older_than_days is None):
        raise CommandError("give either --before or --older-than-days", exit_code=EXIT_USAGE)
    before = parse_time(args.before, "--before") or datetime.now(UTC) - timedelta(days=args.older_than_days)
    store = open_store(config.store_url())
    if not args.yes:
        confirm(f"Delete everything older than {before.isoformat(timespec='seconds')} from {store.url_masked}?")
    print_object(asdict(store.prune(before)), args.output)


def _look(url: str) -> StoreCheck:
    with closing(Store(url)) as store:
        if store.dialect == "sqlite":
            # It would migrate itself at the first use, so its being old or absent is no fault.
            store.upgrade()
        return store.check()


def _check_row(found: StoreCheck) -> Row:
    return {
        "ok": found.ok,
        "dialect": found.dialect,
        "url": found.url_masked,
        "revision": found.revision,
        "head": found.head,
        "writable": found.writable,
        "warnings": found.warnings,
        "components": [
            {**asdict(one), "fresh": fresh}
            for fresh, components in ((True, found.fresh), (False, found.stale))
            for one in components
        ],
    }
