"""Tables for people, files for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure, Outcome

_HEAD = ("", "median", "of rounds", "target", "")


def table(figures: Sequence[Figure]) -> str:
    """Return figures as lines of text."""
    rows = [_HEAD] + [
        (
            figure.title,
            f"{show(figure.value)} {figure.unit}".rstrip(),
            f"{show(min(figure.values))} to {show(max(figure.values))}" if len(figure.values) > 1 else "",
            str(figure.target or ""),
            figure.verdict,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for title, *cells, verdict in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:-1], strict=True)]
        lines.append("  ".join([title.ljust(widths[0]), *aligned, verdict]))
    return "\n".join(line.rstrip() for line in lines)


def show(value: float) -> str:
    """Return a number with three digits that count, and no more."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write(path: Path, outcome: Outcome, about: Mapping[str, Any]) -> None:
    """Write a suite's file.

    :param about: the machine and the settings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {**about, "figures": [figure.as_json() for figure in outcome.figures], "raw": outcome.raw}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
