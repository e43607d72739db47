"""What was sent and what came back: the ledger."""

from __future__ import annotations
