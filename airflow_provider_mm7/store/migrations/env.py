"""Alembic's environment.

The package hands an open connection over; for writing a migration, alembic.ini or ``-x url=`` does:
``alembic -c airflow_provider_mm7/store/migrations/alembic.ini -x url=sqlite:///x.db revision --autogenerate``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from airflow_provider_mm7.store.tables import VERSION_TABLE, metadata


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given: sa.Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with sa.create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as opened:
        _run(opened)
