"""Airflow's real command line: as a process with a home and a metadata database of its own, or within this process."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.metadata_database import put_metadata_database

#: Bound for one command; ``db migrate`` is the slowest.
TIMEOUT_S = 240.0


@dataclass(frozen=True)
class AirflowHome:
    """One AIRFLOW_HOME, and ``airflow`` run in it by this interpreter."""

    path: Path

    @property
    def store_path(self) -> Path:
        """Where the ledger stands by default."""
        return self.path / "mm7.db"

    def environment(self, **extra: str) -> dict[str, str]:
        """Return an environment in which no connection and no option of the outside is seen."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW", "MM7_"))
        }
        return {
            **kept,
            "AIRFLOW_HOME": str(self.path),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.path}/airflow.db",
            "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "COLUMNS": "200",
            **extra,
        }

    def run(self, *args: str, stdin: bytes | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``airflow ARGS`` and return what it did; the exit code is the caller's to judge."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *args],
            env=self.environment(**extra),
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def json(self, *args: str, **extra: str) -> Any:
        """Run ``airflow ARGS -o json``, which must succeed, and return what it printed."""
        done = self.run(*args, "-o", "json", stdin=None, **extra)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def in_turn(self, *commands: Sequence[str]) -> list[str]:
        """Run ``airflow ARGS`` for each, in one process; all must succeed. Return what each printed."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.airflow_in_turn"],
            env=self.environment(),
            input=json.dumps(commands),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        printed: list[str] = json.loads(done.stdout)
        return printed


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    """Return a home with a migrated metadata database; copied by :func:`airflow_home`, never written to."""
    home = AirflowHome(tmp_path_factory.mktemp("airflow_home"))

    def migrate() -> None:
        done = home.run("db", "migrate")
        assert done.returncode == 0, done.stderr

    put_metadata_database(home.path, migrate)
    return home


@pytest.fixture
def airflow_home(migrated_home: AirflowHome, tmp_path: Path) -> AirflowHome:
    """Return a home of the test's own."""
    home = AirflowHome(tmp_path / "airflow")
    home.path.mkdir()
    for name in ("airflow.db", "airflow.cfg"):
        source = migrated_home.path / name
        if source.exists():
            # The generated configuration names its home in absolute paths.
            content = source.read_bytes()
            if name == "airflow.cfg":
                content = content.replace(str(migrated_home.path).encode(), str(home.path).encode())
            (home.path / name).write_bytes(content)
    return home


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


class _Terminal(io.TextIOWrapper):
    """Standard input with somebody before it who can be asked."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Commands:
    """``airflow mm7 ARGS`` within this process, over a store of the test's own: no start of Airflow."""

    store_url: str
    _run: Callable[..., Done]

    def __call__(self, *args: str, stdin: bytes = b"", terminal: bool = False) -> Done:
        return self._run(*args, stdin=stdin, terminal=terminal)

    def json(self, *args: str, stdin: bytes = b"") -> Any:
        """Run ``airflow mm7 ARGS -o json``, which must succeed, and return what it printed."""
        done = self(*args, "-o", "json", stdin=stdin)
        assert done.code == 0, done.err
        return json.loads(done.out)


@pytest.fixture
def mm7(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Return a function that runs one of our commands in this process."""
    from airflow.cli.cli_parser import _add_command

    from airflow_provider_mm7.cli.definition import get_mm7_cli_commands

    url = f"sqlite:///{tmp_path}/mm7.db"
    monkeypatch.setenv("AIRFLOW__MM7__SQL_ALCHEMY_CONN", url)
    # Commands set it; this puts it back at the end.
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")
    parser = argparse.ArgumentParser(prog="airflow")
    subparsers = parser.add_subparsers(dest="subcommand", required=True)
    for command in get_mm7_cli_commands():
        _add_command(subparsers, command)

    def run(*args: str, stdin: bytes, terminal: bool) -> Done:
        kind = _Terminal if terminal else io.TextIOWrapper
        monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(stdin)))
        capsys.readouterr()
        code = 0
        try:
            parsed = parser.parse_args(["mm7", *args])
            parsed.func(parsed)
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return Commands(url, run)
