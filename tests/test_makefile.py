"""Which Python `make` takes, and what it says to one that is not supported."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("python3.11", "python3.12", "python3.13", "python3")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def stand_in(path: Path, version: str) -> None:
    """Write a Python of that version, which knows nothing else."""
    path.write_text(
        f'#!/bin/sh\ncase "$1" in -V) echo Python {version}.0;; '
        f'-c) shift 2; for one; do test "$one" = {version} && exit 0; done; exit 1;; *) exit 3;; esac\n'
    )
    path.chmod(0o700)


def make(folder: Path, *arguments: str) -> tuple[int, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "PYTHON")}
    done = subprocess.run(
        ["make", "venv", f"VENV={folder}/venv", *arguments],
        cwd=ROOT,
        env={**kept, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        (("3.11", "3.12", "3.13", "3.14"), "python3.11"),
        (("none", "3.12", "none", "3.14"), "python3.12"),
        (("none", "none", "none", "3.13"), "python3"),
    ],
)
def test_the_oldest_supported_python_is_taken(tmp_path: Path, versions: tuple[str, ...], taken: str) -> None:
    for name, version in zip(NAMES, versions, strict=True):
        stand_in(tmp_path / name, version)
    _, said = make(tmp_path, "-n")
    assert f"\n{taken} -m venv " in said


def test_no_supported_python_is_said(tmp_path: Path) -> None:
    for name in NAMES:
        stand_in(tmp_path / name, "3.14")
    status, said = make(tmp_path)
    assert status != 0
    assert "No Python with venv was found that is one of 3.11 3.12 3.13" in said


def test_a_python_that_is_named_is_looked_at_too(tmp_path: Path) -> None:
    stand_in(tmp_path / "mine", "3.14")
    status, said = make(tmp_path, f"PYTHON={tmp_path}/mine")
    assert status != 0
    assert f"{tmp_path}/mine is Python 3.14.0; supported are 3.11 3.12 3.13" in said
    assert not (tmp_path / "venv").exists()
