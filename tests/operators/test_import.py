"""The dag-processor imports the operators for every DAG file: what sends is imported when something is sent."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("lxml", "requests", "alembic", "boto3", "phonenumbers", "airflow_provider_mm7.store")
CODE = f"""
import sys
import airflow.sdk.bases.operator
import airflow.sdk.definitions.xcom_arg
before = set(sys.modules)
import airflow_provider_mm7.operators.mm7, airflow_provider_mm7.notifications.mm7, airflow_provider_mm7.decorators.mm7
print([name for name in {HEAVY!r} if name in sys.modules and name not in before])
"""


def test_importing_the_operators_imports_nothing_that_sends() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"
