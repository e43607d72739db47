"""A real Airflow of four processes in a folder of its own. Used by the tests and by the demo."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests

from .processes import ProcessTree, free_ports

#: Seconds from the start of the four processes until all are healthy; two cores need 40, shared ones more.
HEALTHY_S = 300.0

#: Seconds until a DAG file is parsed and its DAG may be triggered.
PARSED_S = 120.0

#: Seconds between two questions to the API.
POLL_S = 0.5

#: Airflow's command line.
AIRFLOW = (sys.executable, "-m", "airflow")

_FINAL_RUN_STATES = frozenset({"success", "failed"})

#: Variables of the caller that must not reach the deployment: another Airflow's settings, credentials, proxies.
_FOREIGN_PREFIXES = ("AIRFLOW", "_AIRFLOW", "MM7_", "AWS_", "PYTEST_", "COV_", "COVERAGE_")
_FOREIGN = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "PYTHONHOME", "PYTHONWARNINGS"})


class DeploymentError(Exception):
    """The deployment did not do what was asked; the text names states and log files."""


class AirflowDeployment:
    """api-server, scheduler, dag-processor and triggerer, on loopback, with everything below one folder.

    On SQLite with LocalExecutor, unless ``extra_env`` says otherwise.

    :param home: becomes AIRFLOW_HOME and HOME; created when missing.
    :param dags: folder or folders with DAG files.
    :param connections: connection id -> URI, or a mapping as Airflow's JSON form of a connection takes it.
    :param extra_env: further environment variables; they win.
    :param paused: whether new DAGs start paused.
    :param triggerer: whether deferred tasks are served.
    """

    def __init__(
        self,
        home: Path,
        dags: Path | Sequence[Path],
        connections: Mapping[str, str | Mapping[str, Any]] | None = None,
        extra_env: Mapping[str, str] | None = None,
        *,
        paused: bool = False,
        triggerer: bool = True,
    ) -> None:
        self.home = home.resolve()
        self._dags = [path.resolve() for path in ([dags] if isinstance(dags, Path) else dags)]
        self._port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self._port}"
        #: Environment of the processes; what is added after :meth:`start` is not seen by them.
        self.env = self._environment(extra_env or {}, paused=paused)
        for conn_id, connection in (connections or {}).items():
            self.connect(conn_id, connection)
        self._session = requests.Session()
        self._session.trust_env = False
        self._triggerer = triggerer
        commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self._port)],
            # Their log servers listen on every interface; the API server reads the files itself here.
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
        }
        if triggerer:
            commands["triggerer"] = ["triggerer", "--skip-serve-logs"]
        self._commands = {name: [*AIRFLOW, *arguments] for name, arguments in commands.items()}
        self._tree = ProcessTree(self._commands, env=self.env, cwd=self.home, logs=self.home / "process-logs")
        #: Trees of what was started again.
        self._restarted: list[ProcessTree] = []

    def _environment(self, extra: Mapping[str, str], *, paused: bool) -> dict[str, str]:
        bundles = [
            {
                "name": f"{index}-{path.name}",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path), "refresh_interval": 5},
            }
            for index, path in enumerate(self._dags)
        ]
        own = {
            "PATH": f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(paused),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # SQLite serialises what writes to it: more tasks at once would only wait for each other.
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            # A DAG that is due when it is first seen would run by itself, beside the run that was asked for.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # Seconds. The API server's first answer to a task took 6 to 39 on two busy cores.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN_PREFIXES) and name.upper() not in _FOREIGN
        }
        return inherited | own | dict(extra)

    def connect(self, conn_id: str, connection: str | Mapping[str, Any]) -> None:
        """Give a connection by environment variable, before :meth:`start`.

        :param connection: a URI, JSON text, or the mapping that Airflow's JSON form holds.
        """
        text = connection if isinstance(connection, str) else json.dumps(dict(connection))
        self.env[f"AIRFLOW_CONN_{conn_id.upper()}"] = text

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Create the metadata database, start the four processes and wait until all are healthy.

        :raises DeploymentError: they did not become healthy; nothing is left running.
        """
        for folder in (self.home, self.home / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self.cli("db", "migrate")
            self._tree.start()
            self._until(self._healthy, HEALTHY_S, "Airflow did not become healthy")
            token = self._session.get(f"{self.url}/auth/token", timeout=10)
            token.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the processes of this deployment and no others. The folder stays."""
        self._session.close()
        with contextlib.ExitStack() as stack:
            for tree in (self._tree, *self._restarted):
                stack.callback(tree.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def processes(self) -> ProcessTree:
        """The processes, for tests that kill one."""
        return self._tree

    def kill_and_restart(self, name: str) -> None:
        """Kill one of the processes with SIGKILL and start it again; returns when that has begun.

        :param name: such as ``api-server``.
        """
        for tree in (self._tree, *self._restarted):
            if name in tree.pids:
                tree.kill(name)
        logs = self.home / "process-logs" / f"again-{len(self._restarted)}"
        tree = ProcessTree({name: self._commands[name]}, env=self.env, cwd=self.home, logs=logs)
        self._restarted.append(tree)
        tree.start()

    def cli(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run an ``airflow`` command in the deployment's environment.

        :return: its standard output.
        :raises DeploymentError: it did not end with 0.
        """
        done = subprocess.run(
            [*AIRFLOW, *arguments],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            said = done.stdout[-2000:] + done.stderr[-4000:]
            raise DeploymentError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{said}")
        return done.stdout

    # -- the REST API ----------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, *, json_body: Any = None, **parameters: Any) -> Any:
        """Call ``/api/v2`` with the administrator's token.

        :param path: below ``/api/v2``, without a leading slash.
        :return: the decoded answer, None when it is empty.
        :raises DeploymentError: the answer is not 2xx.
        """
        answer = self._session.request(
            method, f"{self.url}/api/v2/{path}", json=json_body, params=parameters, timeout=30
        )
        if not answer.ok:
            raise DeploymentError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:2000]}")
        return answer.json() if answer.content else None

    def wait_parsed(self, dag_id: str, timeout: float = PARSED_S) -> None:
        """Wait until the DAG is known.

        :raises DeploymentError: it was not within ``timeout`` seconds; the text holds the import errors.
        """

        def known() -> bool:
            return self._session.get(f"{self.url}/api/v2/dags/{dag_id}", timeout=10).ok

        try:
            self._until(known, timeout, f"DAG {dag_id} was not parsed")
        except DeploymentError as error:
            errors = self.api("GET", "importErrors")["import_errors"]
            raise DeploymentError(f"{error}\nimport errors: {json.dumps(errors, indent=1)[:6000]}") from None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Un-pause a DAG and start a run, as soon as it is parsed.

        :return: the run's id.
        """
        self.wait_parsed(dag_id)
        self.api("PATCH", f"dags/{dag_id}", json_body={"is_paused": False})
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.api("POST", f"dags/{dag_id}/dagRuns", json_body=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run as the API shows it."""
        found: dict[str, Any] = self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")
        return found

    def wait_run(self, dag_id: str, run_id: str, timeout: float, *, expect: str | None = "success") -> str:
        """Wait for the end of a run.

        :param timeout: seconds.
        :param expect: the state it must end in; None takes any.
        :return: the run's final state.
        :raises DeploymentError: it did not end in time or ended otherwise; the text shows the tasks.
        """
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self.run(dag_id, run_id)["state"]
            return state in _FINAL_RUN_STATES

        try:
            self._until(ended, timeout, f"run {run_id} of {dag_id} did not end")
        except DeploymentError as error:
            raise DeploymentError(f"{error}\n{self._account(dag_id, run_id)}") from None
        if expect is not None and state != expect:
            raise DeploymentError(f"run {run_id} of {dag_id} ended as {state}\n{self._account(dag_id, run_id)}")
        return state

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task instances of a run, by task id; mapped ones as ``task_id[map_index]``."""
        found = self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {
            task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]": task
            for task in found
        }

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Task id -> state."""
        return {name: task["state"] for name, task in self.tasks(dag_id, run_id).items()}

    def wait_task(self, dag_id: str, run_id: str, task_id: str, states: Sequence[str], timeout: float) -> str:
        """Wait until a task is in one of the states.

        :return: the state reached.
        """

        def reached() -> bool:
            if self.task_states(dag_id, run_id).get(task_id) in states:
                return True
            if self.run(dag_id, run_id)["state"] in _FINAL_RUN_STATES:
                raise DeploymentError(f"the run ended before task {task_id} became {' or '.join(states)}")
            return False

        try:
            self._until(reached, timeout, f"task {task_id} of {dag_id} did not become {' or '.join(states)}")
        except DeploymentError as error:
            raise DeploymentError(f"{error}\n{self._account(dag_id, run_id)}") from None
        return str(self.task_states(dag_id, run_id)[task_id])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """An XCom value, decoded."""
        entry = self.api(
            "GET",
            f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}",
            deserialize="true",
            map_index=map_index,
        )
        return entry["value"]

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """A task's log as the API gives it."""
        return json.dumps(
            self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"), indent=1
        )

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _healthy(self) -> bool:
        health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        parts = ["metadatabase", "scheduler", "dag_processor", *(["triggerer"] if self._triggerer else [])]
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def _until(self, condition: Callable[[], bool], timeout: float, otherwise: str) -> None:
        """Ask until it holds.

        :raises DeploymentError: with ``otherwise`` after ``timeout`` seconds, or at once when a process has ended.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                if condition():
                    return
                answer = ""
            except requests.RequestException as error:
                answer = f" ({type(error).__name__})"
            for tree in (self._tree, *self._restarted):
                if ended := tree.ended():
                    raise DeploymentError(f"{otherwise}: {', '.join(ended)} ended\n{_tails(tree, ended)}")
            if time.monotonic() > end:
                raise DeploymentError(f"{otherwise} within {timeout:.0f} s{answer}; logs are in {self._tree.logs}")
            time.sleep(POLL_S)

    def _account(self, dag_id: str, run_id: str) -> str:
        """What the tasks say, for the text of an error."""
        lines = []
        for name, task in self.tasks(dag_id, run_id).items():
            lines.append(f"{name}: {task['state']}, try {task['try_number']}")
            if task["state"] in {"failed", "upstream_failed", "up_for_retry", "running"} and task["try_number"]:
                lines += self._complaints(dag_id, run_id, task["task_id"])
        return "\n".join(lines)

    def _complaints(self, dag_id: str, run_id: str, task_id: str) -> list[str]:
        """Warnings and errors of a task's log files, newest last."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        found = []
        for path in sorted(folder.rglob("*.log")):
            for line in path.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get("level") in {"warning", "error", "critical"}:
                    reasons = [f"{one['exc_type']}: {one['exc_value']}" for one in entry.get("error_detail") or ()]
                    found.append("; ".join([f"  {path.stem}: {entry['event']}", *reasons])[:1000])
        return found[-20:]


def _tails(tree: ProcessTree, names: Sequence[str]) -> str:
    return "\n".join(
        f"--- {name}\n" + (tree.logs / f"{name}.log").read_text(errors="replace")[-3000:] for name in names
    )
