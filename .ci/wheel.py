"""Build the wheel, install it into a clean virtual environment, and ask Airflow whether it sees the provider.

``python .ci/wheel.py 3.3`` or ``3.2``. Not a test of the suite: it installs a whole Airflow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "airflow-provider-mm7"


def main() -> int:
    """Run every check; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("airflow", help="version with a file in constraints/, such as 3.3")
    constraints = ROOT / "constraints" / f"airflow-{parser.parse_args().airflow}.txt"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        python = _environment(work / "venv", _wheel(work), constraints)
        airflow = _Airflow(python, work / "home")
        (provider,) = [row for row in airflow("providers", "list") if row["package_name"] == NAME]
        (hook,) = [row for row in airflow("providers", "hooks") if row["connection_type"] == "mm7"]
        (plugin,) = [row for row in airflow("plugins") if row["name"] == "mm7"]
        airflow("mm7", "db", "upgrade")
        print(f"provider {provider['version']}, hook {hook['class']}, plugin from {plugin['source']}: all seen")
    return 0


class _Airflow:
    def __init__(self, python: Path, home: Path) -> None:
        home.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHONPATH"))}
        self._environment = {**kept, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        self._home = home
        self._python = python

    def __call__(self, *args: str) -> Any:
        """Run a command with ``-o json`` outside the source tree, so that only the wheel can be found."""
        command = [str(self._python), "-m", "airflow", *args, "-o", "json"]
        return json.loads(subprocess.check_output(command, cwd=self._home, env=self._environment))  # noqa: S603  # ours


def _wheel(work: Path) -> Path:
    _pip(sys.executable, "wheel", "--no-deps", "-w", str(work), str(ROOT))
    (wheel,) = work.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = {
        str(path.relative_to(ROOT)) for path in (ROOT / "airflow_provider_mm7").rglob("*.*") if path.suffix != ".pyc"
    }
    missing = sorted(source - names)
    foreign = sorted(name for name in names if not name.startswith(("airflow_provider_mm7/", "airflow_provider_mm7-")))
    if missing or foreign:
        raise SystemExit(f"missing in the wheel: {missing}; not ours: {foreign}")
    return wheel


def _environment(folder: Path, wheel: Path, constraints: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _pip(str(python), "install", "-c", str(constraints), str(wheel))
    return python


def _pip(python: str, *args: str) -> None:
    subprocess.check_call([python, "-m", "pip", "-q", *args])  # noqa: S603  # ours


if __name__ == "__main__":
    sys.exit(main())
