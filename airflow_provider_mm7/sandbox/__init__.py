"""An MMSC for development, in one process."""

from __future__ import annotations
