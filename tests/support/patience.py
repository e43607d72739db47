"""Tests do not wait for an MMSC that is down as long as a task does."""

from __future__ import annotations

import pytest

from airflow_provider_mm7.sending import patience
from airflow_provider_mm7.sending.patience import Patience

#: As many tries and probes as by default, and next to no pauses.
SHORT = Patience(first_pause_s=0.01, longest_pause_s=0.05)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", SHORT)
