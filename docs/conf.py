"""Sphinx configuration; ``make docs`` builds with ``-n -W``, so that a broken reference ends the build."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_mm7 import __version__

project = "airflow-provider-mm7"
author = "The airflow-provider-mm7 authors"
copyright = author
version = release = __version__

extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
nitpicky = True
