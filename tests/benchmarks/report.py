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


def restructured(found: Sequence[Mapping[str, Any]]) -> str:
    """Return suites' files as the tables of the documentation."""
    blocks = []
    for suite in found:
        rows = [("What", "Median", "Rounds", "Target")] + [
            (
                one["title"],
                f"{show(one['median'])} {one['unit']}".rstrip(),
                f"{show(min(one['values']))} to {show(max(one['values']))}",
                one["target"] or "",
            )
            for one in suite["figures"]
        ]
        lines = [f".. list-table:: {suite['title']}", "   :header-rows: 1", "   :widths: 58 14 16 12", ""]
        for row in rows:
            lines += [f"   {'*' if not index else ' '} - {cell}".rstrip() for index, cell in enumerate(row)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def read(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Read the files of suites that have run."""
    paths = [folder / f"{name}.json" for name in names]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


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
