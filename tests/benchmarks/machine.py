"""The machine a benchmark ran on, since its absolute figures hold for no other."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

#: What is in the way of a message.
_PACKAGES = ("requests", "urllib3", "sqlalchemy", "psycopg", "lxml", "apache-airflow")
FSYNCS = 50
FSYNC_BYTES = 4096


def describe(folder: Path) -> dict[str, Any]:
    """Tell processor, memory, versions, how busy the machine is, and what an fsync costs.

    :param folder: on the disk where ledgers are kept.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "commit": _commit(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "fsync_ms": round(_fsync_s(folder) * 1000, 3),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def sentence(machine: dict[str, Any]) -> str:
    """Return the description as one line."""
    return (
        f"{machine['cores']} cores, {machine['processor']}, {machine['memory_gb']} GB, {machine['system']}, "
        f"{machine['python']}; fsync {machine['fsync_ms']} ms; load before {machine['load_before'][0]}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _fsync_s(folder: Path) -> float:
    """Return the median seconds of a small write that is made to last."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fsync"
    times = []
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(FSYNCS):
                started = time.perf_counter()
                file.write(bytes(FSYNC_BYTES))
                os.fsync(file.fileno())
                times.append(time.perf_counter() - started)
    finally:
        path.unlink(missing_ok=True)
    return median(times)
