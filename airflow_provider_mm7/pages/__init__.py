"""The MMS page in Airflow's UI: what was sent, what became of it, and what came in. Rendered here; nothing runs."""

from __future__ import annotations

from airflow_provider_mm7.pages.access import Access, Forbidden, NotLoggedIn, Viewer
from airflow_provider_mm7.pages.app import create_pages

__all__ = ["Access", "Forbidden", "NotLoggedIn", "Viewer", "create_pages"]
