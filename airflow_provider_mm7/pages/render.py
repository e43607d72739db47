"""Templates, headers, and what every page shares. Values are escaped wherever they stand: nothing is marked as safe."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from airflow_provider_mm7.pages.tally import Tally, label_of, percent, refusal, tone_of
from airflow_provider_mm7.protocol import mask

_HERE: Final = Path(__file__).parent
#: The page's only script: Airflow's theme, and links that lead out of Airflow's frame. Ours alone, by its hash.
SCRIPT: Final = (_HERE / "page.js").read_text(encoding="utf-8")
STYLE: Final = (_HERE / "page.css").read_bytes()
#: Part of the style's address, so that a new version is not taken from a browser's cache.
STYLE_VERSION: Final = hashlib.sha256(STYLE).hexdigest()[:12]

#: For Airflow's navigation, by its theme.
_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="{}" stroke-width="1.6" '
    'stroke-linecap="round" stroke-linejoin="round">'
    '<path d="M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v10a1.5 1.5 0 0 1-1.5 1.5h-8L7.5 21v-3.5H4A1.5 1.5 0 0 1 2.5 16V6'
    'A1.5 1.5 0 0 1 4 4.5z"/><path d="M6.5 14.2l3.3-3.9 2.4 2.6 1.8-1.8 3.5 3.1"/><circle cx="15.8" cy="8.2" r="1.1"/>'
    "</svg>"
)
ICONS: Final[Mapping[str, str]] = {"icon.svg": _ICON.format("#1b2430"), "icon-dark.svg": _ICON.format("#e6e9ee")}
_SCRIPT_HASH: Final = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

#: On everything that is served. ``frame-ancestors``: Airflow shows plugins in a frame of its own origin.
SAFE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; script-src 'sha256-{_SCRIPT_HASH}'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the pages are mounted, and how they are looked at.

    :ivar root: path of the pages, without a final slash.
    :ivar airflow: path of Airflow, without a final slash.
    :ivar framed: whether Airflow's own navigation stands around the page.
    """

    root: str
    airflow: str
    framed: bool

    def link(self, *segments: object, **query: object) -> str:
        """Return the address of a page.

        :param segments: parts of its path.
        :param query: parameters; those that are None are left out.
        """
        path = "/".join(quote(str(segment), safe="") for segment in segments)
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.root}/{path}{'?' + urlencode(given) if given else ''}"

    def run(
        self, dag_id: str, run_id: str | None = None, task_id: str | None = None, map_index: int | None = -1
    ) -> str:
        """Return the address of a DAG, run or task instance in Airflow's UI."""
        path = f"{self.airflow}/dags/{quote(dag_id, safe='')}"
        if run_id is not None:
            path += f"/runs/{quote(run_id, safe='')}"
            if task_id is not None:
                path += f"/tasks/{quote(task_id, safe='')}"
                if map_index is not None and map_index >= 0:
                    path += f"/mapped/{map_index}"
        return path


def page(template: str, place: Place, *, status: int = 200, **values: Any) -> Response:
    """Render a page.

    :param template: file name below ``templates/``.
    :param values: what it shows.
    """
    html = _environment().get_template(template).render(place=place, **values)
    return HTMLResponse(html, status_code=status, headers=dict(SAFE_HEADERS))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, moment=_moment, exact=_exact, size=_size, mask=mask, tone=tone_of, label=label_of
    )
    environment.globals.update(
        # Files of this package, not values.
        script=Markup(SCRIPT),  # noqa: S704
        style_version=STYLE_VERSION,
        tally=Tally.of,
        percent=percent,
        refusal=refusal,
    )
    return environment


def _number(n: float) -> str:
    return f"{n:,.0f}" if n == int(n) or n >= 100 else f"{n:,.1f}"


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _exact(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _size(n: int) -> str:
    if n < 1000:
        return f"{n} bytes"
    return f"{n / 1000:.0f} kB" if n < 1_000_000 else f"{n / 1_000_000:.1f} MB"
