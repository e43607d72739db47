"""Airflow's API server alone, for tests of pages: no scheduler, half the time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .airflow_env import AIRFLOW, AirflowDeployment
from .processes import ProcessTree


class ApiServer(AirflowDeployment):
    """An API server on a metadata database of its own; everybody is an administrator.

    :param home: becomes AIRFLOW_HOME and HOME.
    :param options: of :class:`AirflowDeployment`.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        dags = home / "dags"
        dags.mkdir(parents=True)
        super().__init__(home, dags, triggerer=False, **options)
        command = [*AIRFLOW, "api-server", "--host", "127.0.0.1", "--port", str(self._port)]
        self._tree = ProcessTree({"api-server": command}, env=self.env, cwd=self.home, logs=self.home / "process-logs")

    def _healthy(self) -> bool:
        health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        return bool(health["metadatabase"]["status"] == "healthy")
