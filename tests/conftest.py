"""Fixtures that several rooms use: real servers, the airflow command, the sandbox.

Airflow reads its home once, when it is first imported. Before that happens it gets a folder of its own here, so that no
configuration of this machine counts in a test, and no test writes into it. None leaves loopback either.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

_HOME = tempfile.mkdtemp(prefix="mm7-tests-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME

pytest_plugins = [
    "tests.support.airflow_cli",
    "tests.support.empty_ledgers",
    "tests.support.loopback",
    "tests.support.order",
    "tests.support.patience",
    "tests.support.postgres",
    "tests.support.sandbox",
    "tests.support.seaweedfs",
]
