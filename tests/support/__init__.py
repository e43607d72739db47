"""Real parts for tests: servers, databases, deployments."""

from __future__ import annotations
