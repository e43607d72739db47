"""Bytes to an MMSC and back over HTTP."""

from __future__ import annotations
