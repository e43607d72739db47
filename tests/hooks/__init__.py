"""Tests of hooks/."""

from __future__ import annotations
