"""The protocol: values to bytes and bytes to values."""

from __future__ import annotations
