"""Airflow as several machines run it: CeleryExecutor over Redis, everything that is kept in PostgreSQL, two workers."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from .airflow_env import AIRFLOW, AirflowDeployment, DeploymentError
from .postgres_server import Postgres
from .processes import ProcessTree
from .redis_server import Redis
from .servers import SeaweedFS
from .stage import SandboxProcess

#: Tasks that a worker runs at once.
CONCURRENCY = 2

#: Seconds until a worker takes tasks; an idle machine needs 8.
READY_S = 120.0

#: Seconds that a worker has to end by itself.
GRACE_S = 2.0

#: Seconds without a heartbeat after which a task counts as dead. Airflow's own 300 are meant for networks that stall.
HEARTBEAT_TIMEOUT_S = 20

_ANOTHER_HOST = Path(__file__).with_name("another_host")


class Worker:
    """``airflow celery worker``, on a machine of its own as far as it knows.

    :param name: of the machine.
    :param airflow: the deployment that it belongs to.
    :param queue: which tasks it takes.
    :param env: variables that differ from the deployment's.
    """

    def __init__(
        self, name: str, airflow: AirflowDeployment, *, queue: str = "default", env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._airflow = airflow
        self._env = {"TEST_HOST_NAME": name, "PYTHONPATH": str(_ANOTHER_HOST), **(env or {})}
        # Mingling and gossip are for workers that talk to each other: these do not, and start sooner.
        options = ["--queues", queue, "--concurrency", str(CONCURRENCY), "--without-mingle", "--without-gossip"]
        options += ["--skip-serve-logs", "--pid", str(airflow.home / f"{name}.pid")]
        self._command = [*AIRFLOW, "celery", "worker", *options]
        self._tree: ProcessTree | None = None

    def start(self) -> None:
        """Start it; returns before it is ready."""
        logs = self._airflow.home / "process-logs" / self.name
        self._tree = ProcessTree(
            {"worker": self._command},
            env=self._airflow.env | self._env,
            cwd=self._airflow.home,
            logs=logs,
            grace_s=GRACE_S,
        )
        self._log.unlink(missing_ok=True)
        self._tree.start()

    def wait(self) -> None:
        """Wait until it takes tasks.

        :raises DeploymentError: it does not.
        """
        end = time.monotonic() + READY_S
        while f"{self.name} ready" not in (said := self._log.read_text(errors="replace")):
            if self._running.ended() or time.monotonic() > end:
                raise DeploymentError(f"worker {self.name} is not ready\n{said[-3000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End it and all its tasks as a power failure does: nobody gets to say or do anything."""
        victims = self._running.processes()
        for action in (psutil.Process.suspend, psutil.Process.kill):
            for process in victims:
                with contextlib.suppress(psutil.NoSuchProcess):
                    action(process)
        self.stop()

    def stop(self) -> None:
        """End it. Harmless when it does not run."""
        tree, self._tree = self._tree, None
        if tree is not None:
            tree.stop()

    @property
    def _running(self) -> ProcessTree:
        if self._tree is None:
            raise DeploymentError(f"worker {self.name} does not run")
        return self._tree

    @property
    def _log(self) -> Path:
        return self._airflow.home / "process-logs" / self.name / "worker.log"


def _hurry(sandbox: SandboxProcess) -> None:
    """Let the MMSC run before others where that is allowed: the moments that it records are a measure."""
    for process in sandbox.processes().processes():
        with contextlib.suppress(psutil.AccessDenied):
            process.nice(-15)


class Machines:
    """All of it, with a sandbox MMSC and an S3 server; ``mm7_default`` and ``aws_default`` point at those.

    :param home: everything is kept below it.
    :param dags: folder with DAG files.
    """

    def __init__(self, home: Path, dags: Path) -> None:
        self._home = home
        self._dags = dags
        self._life = contextlib.ExitStack()
        self._callback_login = "mmsc"
        self._callback_password = secrets.token_hex(12)
        #: SQLAlchemy URL of the provider's store.
        self.store_url = ""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.postgres = stack.enter_context(Postgres(fsync=False))
            redis = stack.enter_context(Redis())
            self.s3 = stack.enter_context(
                SeaweedFS(self._home / "s3", access_key="machines", secret_key=secrets.token_hex(12))
            )
            self.store_url = self._database("mm7", "psycopg")
            env = self._environment(redis.url)
            self.airflow = AirflowDeployment(self._home / "airflow", self._dags, extra_env=env, triggerer=False)
            self.sandbox = self._sandbox()
            self.airflow.connect("mm7_default", self.connection())
            self.airflow.connect("aws_default", self.s3.airflow_connection())
            self.workers = [Worker(name, self.airflow) for name in ("worker-a", "worker-b")]
            stack.callback(self.sandbox.stop)
            self.sandbox.start()
            _hurry(self.sandbox)
            self.airflow.home.mkdir(parents=True)
            self.airflow.cli("mm7", "db", "upgrade")
            for worker in self.workers:
                stack.callback(worker.stop)
                worker.start()
            stack.enter_context(self.airflow)
            for worker in self.workers:
                worker.wait()
            self._life = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    def connection(self, **extra: Any) -> dict[str, Any]:
        """The sandbox as a connection, in Airflow's JSON form.

        :param extra: further fields.
        """
        return {
            "conn_type": "mm7",
            "host": self.sandbox.url,
            "login": self.sandbox.login,
            "password": self.sandbox.password,
            "extra": {
                "vaspid": "demo",
                "vasid": "news",
                "sender_address": "+12025550100",
                "callback_login": self._callback_login,
                "callback_password": self._callback_password,
                **extra,
            },
        }

    def _database(self, name: str, driver: str) -> str:
        self.postgres.execute(f'CREATE DATABASE "{name}"')
        return self.postgres.url(name, driver=driver)

    def _environment(self, broker_url: str) -> dict[str, str]:
        return {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            # The names of these machines are known to no resolver, which Airflow's own callable would ask.
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database("airflow", "psycopg2"),
            "AIRFLOW__CELERY__BROKER_URL": broker_url,
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+" + self._database("celery", "psycopg2"),
            "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "AIRFLOW__MM7__SQL_ALCHEMY_CONN": self.store_url,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        }

    def _sandbox(self) -> SandboxProcess:
        return SandboxProcess(
            self._home / "sandbox",
            callback_url=f"{self.airflow.url}/mm7/callback",
            callback_login=self._callback_login,
            callback_password=self._callback_password,
            env=self.airflow.env,
        )
