"""Content x recipients -> SubmitReqs through transport, each one recorded in the store."""

from __future__ import annotations
