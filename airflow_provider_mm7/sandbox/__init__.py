"""An MMSC for development, in one process: it accepts, reports, answers like the real one, and misbehaves on request.

What it received is the truth in tests: everything is recorded before it is answered.
"""

from __future__ import annotations

from airflow_provider_mm7.sandbox.app import create_app
from airflow_provider_mm7.sandbox.scenarios import SCENARIOS, Scenario
from airflow_provider_mm7.sandbox.server import SandboxServer
from airflow_provider_mm7.sandbox.settings import Settings

__all__ = ["SCENARIOS", "SandboxServer", "Scenario", "Settings", "create_app"]
