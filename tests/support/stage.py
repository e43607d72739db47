"""Everything a picture message passes: an S3 server, a sandbox MMSC and a real Airflow. For the tests and the demo."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import requests

from .airflow_env import AirflowDeployment
from .processes import ProcessTree, free_ports
from .servers import SeaweedFS

#: Seconds until the sandbox must answer.
SANDBOX_S = 30.0


class SandboxProcess:
    """``python -m airflow_provider_mm7.sandbox`` and what it can be asked.

    :param folder: where its log goes.
    :param callback_url: where it posts reports.
    :param callback_login: what it presents there.
    :param callback_password: likewise.
    :param env: environment of the process.
    :param options: further options of its command line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        callback_url: str,
        callback_login: str,
        callback_password: str,
        env: Mapping[str, str],
        options: Sequence[str] = (),
    ) -> None:
        port = free_ports(1)[0]
        self.login = "vasp"
        self.password = secrets.token_hex(12)
        #: The page that shows messages as a handset would.
        self.page_url = f"http://127.0.0.1:{port}/"
        #: Where messages are submitted.
        self.url = f"http://127.0.0.1:{port}/mm7"
        self._folder = folder
        command = [sys.executable, "-m", "airflow_provider_mm7.sandbox", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--login", self.login, "--password", self.password]
        command += ["--callback-url", callback_url]
        command += ["--callback-login", callback_login, "--callback-password", callback_password]
        self._tree = ProcessTree(
            {"sandbox": [*command, *options]}, env=env, cwd=folder, logs=folder / "process-logs", grace_s=2.0
        )

    def start(self) -> Self:
        """Start it and wait until it answers.

        :raises RuntimeError: it did not.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tree.start()
        end = time.monotonic() + SANDBOX_S
        while True:
            with contextlib.suppress(requests.ConnectionError):
                self.ask("GET", "/health")
                return self
            if self._tree.ended() or time.monotonic() > end:
                said = (self._tree.logs / "sandbox.log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"the sandbox did not start\n{said[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        self._tree.stop()

    def processes(self) -> ProcessTree:
        """Its processes."""
        return self._tree

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make a request below ``/_sandbox``.

        :return: the decoded answer, None when it is empty.
        """
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.page_url}_sandbox{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def messages(self) -> list[dict[str, Any]]:
        """Everything it received, in order."""
        received: list[dict[str, Any]] = self.ask("GET", "/messages")
        return received

    def accepted_for(self, number: str) -> list[dict[str, Any]]:
        """The messages it accepted for one recipient."""
        return [one for one in self.messages() if one["accepted"] and number in one["recipients"]]

    def reports(self) -> list[dict[str, Any]]:
        """Callbacks it made and the answers they got."""
        sent: list[dict[str, Any]] = self.ask("GET", "/reports")
        return sent


class Stage:
    """The three of them, connected: ``mm7_default`` and ``aws_default`` point at the servers, reports come back.

    :param home: everything is kept below it.
    :param dags: folder or folders with DAG files.
    :param sandbox_options: further options of the sandbox's command line.
    :param extra_env: further variables for Airflow.
    """

    def __init__(
        self,
        home: Path,
        dags: Path | Sequence[Path],
        *,
        sandbox_options: Sequence[str] = (),
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self.callback_login = "mmsc"
        self.callback_password = secrets.token_hex(12)
        self.s3 = SeaweedFS(home / "s3", access_key="stage", secret_key=secrets.token_hex(12))
        self.airflow = AirflowDeployment(home / "airflow", dags, extra_env=extra_env)
        self.sandbox = SandboxProcess(
            home / "sandbox",
            callback_url=self.callback_url,
            callback_login=self.callback_login,
            callback_password=self.callback_password,
            env=self.airflow.env,
            options=sandbox_options,
        )

    @property
    def callback_url(self) -> str:
        """Where the plugin takes callbacks."""
        return f"{self.airflow.url}/mm7/callback"

    @property
    def ledger_url(self) -> str:
        """The provider's default store in this Airflow."""
        return f"sqlite:///{self.airflow.home}/mm7.db"

    def mm7_connection(self, **extra: Any) -> dict[str, Any]:
        """``mm7_default`` as Airflow's JSON form.

        :param extra: fields that differ from the default ones.
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
                "callback_login": self.callback_login,
                "callback_password": self.callback_password,
                **extra,
            },
        }

    def start(self) -> Self:
        """Start all; when one of them does not, end those that did."""
        try:
            # Airflow's variables hold the S3 server's port, which is known once that runs.
            self.s3.start()
            self.airflow.connect("aws_default", self.s3.airflow_connection())
            self.airflow.connect("mm7_default", self.mm7_connection())
            self.sandbox.start()
            self.airflow.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.s3.stop)
            stack.callback(self.sandbox.stop)
            stack.callback(self.airflow.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
