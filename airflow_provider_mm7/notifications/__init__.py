"""Airflow notifiers."""

from __future__ import annotations
