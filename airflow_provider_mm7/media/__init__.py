"""What goes into a message: sources, type detection, size limits, SMIL."""

from __future__ import annotations
