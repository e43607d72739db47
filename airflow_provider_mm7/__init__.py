"""Apache Airflow provider for MM7, the SOAP protocol by which carriers take and return picture messages (MMS)."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata (entry point ``apache_airflow_provider``)."""
    from copy import deepcopy

    from airflow_provider_mm7.provider_info import PROVIDER_INFO

    # Airflow adds keys of its own to what it gets.
    return deepcopy(PROVIDER_INFO)
