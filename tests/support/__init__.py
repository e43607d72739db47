"""Servers and fixtures that several rooms of the tests share."""

from __future__ import annotations
