"""Groups of processes that end with their owner, and free ports for them. Used by the tests and by the demo."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from . import keeper

#: Seconds that processes have to end by themselves after SIGTERM; Airflow's scheduler would wait for its tasks longer.
GRACE_S = 5.0

#: Seconds that :meth:`ProcessTree.stop` allows the keeper, over the grace.
_KEEPER_S = 6 * keeper.KILLED_S + 5


def free_ports(count: int) -> list[int]:
    """Find TCP ports that are free on the loopback interface.

    :param count: how many; all are held at once, so that they differ.
    :return: the port numbers.
    """
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


class ProcessTree:
    """Commands that run in one session under a keeper (:mod:`tests.support.keeper`) and end together.

    They end when :meth:`stop` is called, and also when the owner dies without calling it.

    :param commands: name -> program and arguments.
    :param env: their whole environment, as it is when they are started.
    :param cwd: working directory.
    :param logs: folder that gets ``NAME.log`` for each of them.
    :param grace_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        env: Mapping[str, str],
        cwd: Path,
        logs: Path,
        grace_s: float = GRACE_S,
    ) -> None:
        self._commands = {name: list(argv) for name, argv in commands.items()}
        self._env = env
        self._cwd = cwd
        self._grace_s = grace_s
        self.logs = logs
        self._keeper: subprocess.Popen[bytes] | None = None
        #: name -> process id of each command.
        self.pids: dict[str, int] = {}

    def start(self) -> None:
        """Start all commands; returns when they have been started, not when they are ready.

        :raises RuntimeError: one of them could not be started.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        spec = self.logs / "keeper.json"
        what = {
            "cwd": str(self._cwd),
            "logs": str(self.logs),
            "grace_s": self._grace_s,
            "commands": self._commands,
        }
        spec.write_text(json.dumps(what), encoding="utf-8")
        with (self.logs / "keeper.log").open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, str(Path(keeper.__file__).resolve()), str(spec)],
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._keeper.stdout is not None
        answer = self._keeper.stdout.readline()
        if not answer:
            with contextlib.suppress(RuntimeError):
                self.stop()
            raise RuntimeError(f"could not start {', '.join(self._commands)}; see {self.logs / 'keeper.log'}")
        self.pids = json.loads(answer)

    def ended(self) -> list[str]:
        """Names of the commands that run no more."""
        return [name for name, pid in self.pids.items() if not psutil.pid_exists(pid)]

    def processes(self) -> list[psutil.Process]:
        """Every process below the keeper at this moment, without the keeper."""
        if self._keeper is None:
            return []
        try:
            return psutil.Process(self._keeper.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> None:
        """Kill a command and everything below it with SIGKILL, as a machine that runs out of memory does."""
        leader = psutil.Process(self.pids.pop(name))
        victims = [leader, *leader.children(recursive=True)]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        _, alive = psutil.wait_procs(victims, timeout=self._grace_s)
        if alive:
            raise RuntimeError(f"{len(alive)} processes of {name} survived SIGKILL")

    def stop(self) -> None:
        """End every process of the tree. Harmless when it was not started or has been stopped.

        :raises RuntimeError: a process could not be ended.
        """
        running, self._keeper = self._keeper, None
        if running is None:
            return
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.close()
        try:
            if running.wait(timeout=self._grace_s + _KEEPER_S) != 0:
                raise RuntimeError(f"processes of {', '.join(self._commands)} survived; see {self.logs}")
        finally:
            running.stdout.close()
            if running.poll() is None:
                running.kill()
                running.wait()

    def __enter__(self) -> ProcessTree:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
