"""``airflow mm7 ...``."""

from __future__ import annotations
