<<<<<<< HEAD
"""Fixtures that rooms share."""

from __future__ import annotations

pytest_plugins = ["tests.support.airflow_cli", "tests.support.seaweedfs"]
=======
"""Fixtures that several rooms use."""

from __future__ import annotations

pytest_plugins = ["tests.support.sandbox"]
>>>>>>> sandbox
