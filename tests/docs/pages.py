"""The documentation as data: its pages, their tables and their code blocks."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: What people read: the README and everything below docs.
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.rst")))

_UNDERLINE = re.compile(r"([=\-~^])\1{2,}")
_FENCE = re.compile(r"```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LITERAL = re.compile(r"``([^`]+)``")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code.

    :ivar language: as the page names it; ``text`` where a paragraph ends with two colons.
    :ivar line: number of its first line.
    """

    page: Path
    language: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str) -> list[Block]:
    """Return the blocks of one language on all pages."""
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    if page.suffix == ".md":
        for match in _FENCE.finditer(text):
            first = text.count("\n", 0, match.start()) + 2
            yield Block(page=page, language=match[1], line=first, text=match[2])
        return
    lines = text.splitlines()
    for number, line in enumerate(lines):
        directive = re.fullmatch(r"(\s*)\.\. code-block:: (\w+)", line)
        shorthand = re.match(r"(\s*)\S.*::$", line)
        if directive:
            language, indent = directive[2], len(directive[1])
        elif shorthand and not line.lstrip().startswith(".."):
            language, indent = "text", len(shorthand[1])
        else:
            continue
        start, body = _indented(lines, number + 1, indent)
        yield Block(page=page, language=language, line=start + 1, text=body)


def _indented(lines: list[str], start: int, indent: int) -> tuple[int, str]:
    """Return the number of the first line of an indented block, and its text without the indentation."""
    while start < len(lines) and not lines[start].strip():
        start += 1
    end = start
    while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
        end += 1
    margin = len(lines[start]) - len(lines[start].lstrip())
    return start, "\n".join(line[margin:] for line in lines[start:end]).rstrip() + "\n"


def sections(page: Path) -> dict[str, list[list[str]]]:
    """Return the rows of the csv-tables in each section of a page, headers left out.

    :return: title of the innermost section -> rows; those of several tables one after the other.
    """
    found: dict[str, list[list[str]]] = {}
    title = ""
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines):
        if number and _UNDERLINE.fullmatch(line) and len(line) >= len(lines[number - 1]) > 0:
            title = lines[number - 1]
        if line.startswith(".. csv-table::"):
            _, body = _indented(lines, number + 1, 0)
            rows = [row for row in body.splitlines() if row and not row.startswith(":")]
            found.setdefault(title, []).extend(csv.reader(rows))
    return found


def literals(text: str) -> list[str]:
    """Return what stands between double backticks."""
    return _LITERAL.findall(text)
