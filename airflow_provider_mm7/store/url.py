"""The database URL: which dialect, which driver, and how it is shown to people."""

from __future__ import annotations

from importlib.util import find_spec

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from airflow_provider_mm7.exceptions import InputError

#: What ``postgresql://`` is taken to mean, in order of preference.
_POSTGRES_DRIVERS = ("psycopg", "psycopg2")

_FIELD = "sql_alchemy_conn"


def parse(url: str) -> sa.URL:
    """Read a database URL and choose a driver where it names none.

    :param url: ``sqlite:///path`` or ``postgresql[+driver]://...`` (also ``postgres://``).
    :raises InputError: not a URL, another database, a driver that is absent, or SQLite in memory.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(_FIELD, "not a database URL", "Write sqlite:///PATH or postgresql://...") from None
    dialect, _, driver = parsed.drivername.partition("+")
    if dialect == "postgres":
        dialect = "postgresql"
    if dialect == "sqlite":
        if not parsed.database or parsed.database == ":memory:" or "mode" in parsed.query:
            raise InputError(
                _FIELD, "a SQLite database in memory is lost with its process", "Name a file: sqlite:////PATH/mm7.db"
            )
        return parsed.set(drivername="sqlite+pysqlite")
    if dialect != "postgresql":
        raise InputError(_FIELD, f"{dialect} is not supported", "Use SQLite or PostgreSQL")
    return parsed.set(drivername=f"postgresql+{driver or _installed_driver()}")


def masked(url: sa.URL) -> str:
    """Show a URL without its password, and without its query, which may hold another one."""
    return url.set(query={}).render_as_string(hide_password=True)


def _installed_driver() -> str:
    for driver in _POSTGRES_DRIVERS:
        if find_spec(driver) is not None:
            return driver
    raise InputError(
        _FIELD, "no PostgreSQL driver is installed", "Install the extra: pip install 'airflow-provider-mm7[postgres]'"
    )
