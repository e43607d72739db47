"""Recipients files: read once, checked line by line, kept on disk; what became of each line is written beside them."""

from __future__ import annotations
