"""MM7 as values and bytes. Pure: no socket, clock, random number, logging or Airflow."""

from __future__ import annotations
