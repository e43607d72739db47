"""Who looks: what pages must know of a request's user, whatever Airflow's auth manager is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from starlette.requests import Request


class NotLoggedIn(Exception):
    """The request carries no valid session."""


class Forbidden(Exception):
    """The user may not see this."""


class Viewer(Protocol):
    """The user of one request. Asked in threads: it may look into Airflow's database."""

    def readable(self, dag_ids: Iterable[str]) -> set[str]:
        """Return those DAGs whose batches the user may see."""
        ...

    def sees_numbers(self, *, dag_id: str | None, conn_id: str) -> bool:
        """Tell whether whole phone numbers may be shown, and of what was sent the content.

        :param dag_id: the DAG that sent; None for messages that no DAG sent, or that came in.
        :param conn_id: the connection they went over.
        """
        ...


class Access(Protocol):
    """Finds out who looks."""

    async def viewer(self, request: Request) -> Viewer:
        """Return the user.

        :raises NotLoggedIn: there is none.
        :raises Forbidden: this one may not open the page at all.
        """
        ...
