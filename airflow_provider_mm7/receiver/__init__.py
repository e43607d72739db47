"""ASGI application for the MMSC's callbacks: authenticate, parse, store, answer."""

from __future__ import annotations
