"""Sphinx configuration."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from airflow_provider_mm7 import __version__

project = "airflow-provider-mm7"
author = "The airflow-provider-mm7 authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"airflow-provider-mm7 {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
templates_path: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_mock_imports: list[str] = []
autodoc_default_options = {"members": True, "show-inheritance": False}

nitpicky = True
# Types of other projects, whose inventories are not fetched: the docs build without network.
FOREIGN_MODULES = (
    "airflow|alembic|asyncio|collections|datetime|enum|ipaddress|lxml|pathlib|requests|sqlalchemy|sa|starlette|typing"
    "|etree|ssl|os|abc|queue|threading|types"
)
FOREIGN_NAMES = (
    "Any|Context|Iterable|Iterator|Mapping|Sequence|Collection|Callable|Path|datetime|timedelta|ValueError|Exception"
    "|BaseException|Enum|StrEnum|None|dict|list|tuple|str|int|float|bool|bytes|optional|type|object"
    r"|Airflow\w*Exception|AirflowSensorTimeout|PokeReturnValue|TaskDecorator"
)
nitpick_ignore_regex = [
    ("py:.*", rf"({FOREIGN_MODULES})\..*"),
    ("py:.*", rf"({FOREIGN_NAMES})"),
    # Inside of the package: named in signatures, no part of what users import.
    ("py:class", r"airflow_provider_mm7\.(hooks\.connection|sensors\.base|triggers|transport|store|sending)\..*"),
    ("py:class", r"DeliveryReportTrigger|InboundAnswerTrigger|ReplyContent"),
]
