"""Airflow's own session and permissions decide who sees what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from airflow_provider_mm7.pages.access import Forbidden, NotLoggedIn, Viewer


class AirflowAccess:
    """Users of Airflow's API server.

    The page wants what the list of plugins wants, which is how Airflow's UI comes to show its entry: permission to view
    plugins. Batches want permission to read their DAG.
    """

    async def viewer(self, request: Request) -> Viewer:
        """Return the user of Airflow's session cookie or bearer token. See :meth:`Access.viewer`."""
        from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
        from fastapi import HTTPException

        try:
            # The argument in the middle is there for the sake of Airflow's own documentation.
            user = await get_user(request, None, await bearer_scheme(request))
        except HTTPException as exc:
            if exc.status_code == HTTPStatus.UNAUTHORIZED:
                raise NotLoggedIn from None
            raise Forbidden from None
        viewer = AirflowViewer(user)
        if not await asyncio.to_thread(viewer.may_open):
            raise Forbidden
        return viewer


class AirflowViewer:
    """One user, for one request.

    :param user: as Airflow's auth manager knows it.
    """

    def __init__(self, user: Any) -> None:
        from airflow.api_fastapi.app import get_auth_manager

        self._user = user
        self._manager: Any = get_auth_manager()
        self.sees_numbers = lru_cache(self._sees_numbers)

    def may_open(self) -> bool:
        """Tell whether the user may view plugins."""
        from airflow.api_fastapi.auth.managers.models.resource_details import AccessView

        return bool(self._manager.is_authorized_view(access_view=AccessView.PLUGINS, user=self._user))

    def readable(self, dag_ids: Iterable[str]) -> set[str]:
        """Return the DAGs that the user may read."""
        by_team: dict[str | None, set[str]] = {}
        for dag_id, team in _teams(dag_ids).items():
            by_team.setdefault(team, set()).add(dag_id)
        allowed: set[str] = set()
        for team, members in by_team.items():
            allowed |= self._manager.filter_authorized_dag_ids(
                dag_ids=members, user=self._user, method="GET", team_name=team
            )
        return allowed

    def _sees_numbers(self, *, dag_id: str | None, conn_id: str) -> bool:
        """Whole numbers stand in XComs: who may read those of the DAG sees them here too.

        What no DAG sent is for those who may read the connection.
        """
        from airflow.api_fastapi.auth.managers.models.resource_details import (
            ConnectionDetails,
            DagAccessEntity,
            DagDetails,
        )

        if dag_id is None:
            return bool(
                self._manager.is_authorized_connection(
                    method="GET", details=ConnectionDetails(conn_id=conn_id), user=self._user
                )
            )
        details = DagDetails(id=dag_id, team_name=_teams([dag_id])[dag_id])
        return bool(
            self._manager.is_authorized_dag(
                method="GET", access_entity=DagAccessEntity.XCOM, details=details, user=self._user
            )
        )


def _teams(dag_ids: Iterable[str]) -> dict[str, str | None]:
    """Return each DAG's team; Airflow asks for it where it checks permissions."""
    from airflow.models.dag import DagModel
    from airflow.providers.common.compat.sdk import conf

    wanted = list(dag_ids)
    if not wanted or not conf.getboolean("core", "multi_team", fallback=False):
        return dict.fromkeys(wanted)
    known = DagModel.get_dag_id_to_team_name_mapping(wanted)
    return {dag_id: known.get(dag_id) for dag_id in wanted}
