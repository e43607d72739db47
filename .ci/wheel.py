"""Build the wheel, install it into a clean virtual environment, and ask Airflow whether it sees the provider.

``python .ci/wheel.py``: beside the packages of the environment that runs it, which takes seconds; ``make wheel``.
``python .ci/wheel.py 3.3`` or ``3.2``: with every dependency installed anew, a whole Airflow; before a release.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "airflow-provider-mm7"
PACKAGE = "airflow_provider_mm7"
#: Prints where the package was imported from.
WHERE = f"import pathlib, {PACKAGE} as package; print(pathlib.Path(package.__file__).resolve())"


def main() -> int:
    """Run every check; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("airflow", nargs="?", help="version with a file in constraints/, such as 3.3")
    version = parser.parse_args().airflow
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        wheel = _wheel(work)
        if version is None:
            python = _beside_ours(work / "venv", wheel)
        else:
            python = _anew(work / "venv", wheel, ROOT / "constraints" / f"airflow-{version}.txt")
        airflow = _Airflow(python, work / "home")
        if work not in (seen := Path(airflow.run("-c", WHERE).strip())).parents:
            raise SystemExit(f"not the wheel was imported but {seen}")
        provider = _only("providers", airflow("providers", "list"), package_name=NAME)
        hook = _only("hooks", airflow("providers", "hooks"), connection_type="mm7")
        plugin = _only("plugins", airflow("plugins"), name="mm7")
        airflow("mm7", "db", "upgrade")
        print(f"provider {provider['version']}, hook {hook['class']}, plugin from {plugin['source']}: all seen")
    return 0


def _only(kind: str, rows: list[dict[str, str]], **wanted: str) -> dict[str, str]:
    found = [row for row in rows if wanted.items() <= row.items()]
    if len(found) != 1:
        raise SystemExit(f"Airflow sees {len(found)} {kind} with {wanted}, not one")
    return found[0]


class _Airflow:
    def __init__(self, python: Path, home: Path) -> None:
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONPATH"))}
        self._environment = {**kept, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        self._home = home
        self._python = python

    def __call__(self, *args: str) -> Any:
        """Run a command with ``-o json``."""
        return json.loads(self.run("-m", "airflow", *args, "-o", "json"))

    def run(self, *args: str) -> str:
        """Run Python outside the source tree, so that only the wheel can be found."""
        command = [str(self._python), *args]
        return subprocess.check_output(command, cwd=self._home, env=self._environment, text=True)  # noqa: S603  # ours


def _wheel(work: Path) -> Path:
    _pip("wheel", "--no-deps", "-w", str(work), str(ROOT))
    (wheel,) = work.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = {
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    missing = sorted(source - names)
    foreign = sorted(name for name in names - source if not name.startswith(f"{PACKAGE}-"))
    if missing or foreign:
        raise SystemExit(f"missing in the wheel: {missing}; not ours: {foreign}")
    return wheel


def _beside_ours(folder: Path, wheel: Path) -> Path:
    """Make an environment with the wheel and links to all packages of this one, but not to its installation of ours."""
    python = _environment(folder)
    _pip("--python", str(python), "install", "--no-index", "--no-deps", str(wheel))
    (site,) = folder.glob("lib/python*/site-packages")
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            # Path files: an editable installation is one.
            if path.name.startswith(f"{PACKAGE}-") or path.suffix == ".pth" or (site / path.name).exists():
                continue
            (site / path.name).symlink_to(path)
    return python


def _anew(folder: Path, wheel: Path, constraints: Path) -> Path:
    """Make an environment with the wheel and everything that it requires."""
    python = _environment(folder)
    _pip("--python", str(python), "install", "-c", str(constraints), str(wheel))
    return python


def _environment(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def _pip(*args: str) -> None:
    subprocess.check_call([sys.executable, "-m", "pip", "-q", *args])  # noqa: S603  # ours


if __name__ == "__main__":
    sys.exit(main())
