"""Airflow's metadata database on SQLite: migrated once for each version of Airflow, then copied."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "build" / "metadata"


def put_metadata_database(home: Path, migrate: Callable[[], object]) -> None:
    """Put a migrated database into an Airflow home.

    :param home: an Airflow home without one.
    :param migrate: migrates the database of that home; called if this version has no copy yet.
    """
    made = home / "airflow.db"
    copy = _FOLDER / f"airflow-{metadata.version('apache-airflow')}.db"
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        # The suite runs in several processes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            migrate()
            part = copy.with_suffix(".part")
            shutil.copyfile(made, part)
            part.rename(copy)
            return
    shutil.copyfile(copy, made)
