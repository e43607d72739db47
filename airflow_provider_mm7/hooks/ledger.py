"""The store of this Airflow deployment."""

from __future__ import annotations

import re

from airflow_provider_mm7.exceptions import StoreNotShared
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.store import Store, open_store

#: Executors whose tasks run on the scheduler's machine; with any other, tasks may run where the SQLite file is not.
LOCAL_EXECUTORS = ("LocalExecutor", "SequentialExecutor")

#: Before the class name stand, as in ``team1=alias:package.module.Class``, a team, an alias and a module.
_SEPARATORS = re.compile(r"[=:.]")


def open_ledger() -> Store:
    """Open the store that ``[mm7] sql_alchemy_conn`` names.

    :raises StoreNotShared: SQLite under an executor that spans machines.
    :raises StoreUnavailable: it cannot be reached.
    :raises StoreNotMigrated: its schema is not this package's.
    """
    url = config.store_url()
    refuse_unshared(url, executors())
    return open_store(url)


def executors() -> tuple[str, ...]:
    """Return the class names of the executors of ``[core] executor``, team and alias stripped."""
    from airflow.providers.common.compat.sdk import conf

    entries = str(conf.get("core", "executor", fallback="LocalExecutor")).replace(";", ",").split(",")
    return tuple(name for entry in entries if (name := _SEPARATORS.split(entry)[-1].strip()))


def refuse_unshared(url: str, executors: tuple[str, ...]) -> None:
    """Refuse a file where several machines would each write their own: a message would be sent once by each."""
    remote = [name for name in executors if name not in LOCAL_EXECUTORS]
    if url.startswith("sqlite") and remote:
        raise StoreNotShared(
            f"[mm7] sql_alchemy_conn is SQLite, and [core] executor {', '.join(remote)} runs tasks on several "
            "machines: set it to a PostgreSQL URL and run `airflow mm7 db upgrade`"
        )
