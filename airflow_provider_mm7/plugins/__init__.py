"""Airflow plugin: the receiver inside the API server."""

from __future__ import annotations
