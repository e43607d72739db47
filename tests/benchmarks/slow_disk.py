"""A disk whose fsync takes two milliseconds, for processes that are started with it. Takes a C compiler, and no rights.

The machine's own disk may answer an fsync out of a cache in tens of microseconds; disks that keep what they say take
milliseconds, and then a commit for each report is what a receiver spends its time on. A delaying block device
(dm-delay) would take root and a kernel module; a library that is loaded before libc's (``slow_disk.c``) holds up the
two calls that SQLite and PostgreSQL make their commits last with, and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

#: Microseconds that an fsync takes: an SSD without a cache that survives a power failure.
FSYNC_US = 2000
_SOURCE = Path(__file__).with_suffix(".c")
_PROBE = """
import os, sys, time
with open(sys.argv[1], "wb", buffering=0) as file:
    for _ in range(20):
        started = time.perf_counter()
        file.write(bytes(4096))
        os.fdatasync(file.fileno())
        print(time.perf_counter() - started)
os.unlink(sys.argv[1])
"""


class NoSlowDisk(RuntimeError):
    """It cannot be made here."""


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that give a process the slow disk.

    :param folder: for the library; every user may read it.
    :raises NoSlowDisk: there is no C compiler, or the library is not loaded.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise NoSlowDisk("there is no C compiler")
    library = folder / "slow_disk.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoSlowDisk(done.stderr.strip())
    library.chmod(0o755)
    found = {"LD_PRELOAD": str(library), "MM7_FSYNC_US": str(FSYNC_US)}
    took_us = fsync_us(folder, found)
    if took_us < FSYNC_US:
        raise NoSlowDisk(f"an fsync takes {took_us:.0f} us all the same")
    return found


def fsync_us(folder: Path, env: dict[str, str]) -> float:
    """Return the median microseconds of a small write that is made to last, in a process with these variables."""
    command = [sys.executable, "-c", _PROBE, str(folder / "probe")]
    said = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True).stdout
    return median(map(float, said.split())) * 1e6
