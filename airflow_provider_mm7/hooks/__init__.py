"""Airflow hooks: a Connection becomes objects of the core."""

from __future__ import annotations
