"""Fixtures that several rooms use."""

from __future__ import annotations

pytest_plugins = ["tests.support.sandbox"]
