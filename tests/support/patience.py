"""Tests do not wait for an MMSC that is down as long as a task does, nor for a scheduler that they do not have."""

from __future__ import annotations

import pytest

from airflow_provider_mm7.sending import patience
from airflow_provider_mm7.sending.patience import Patience
from airflow_provider_mm7.triggers import ending

#: As many tries and probes as by default, and next to no pauses.
SHORT = Patience(first_pause_s=0.01, longest_pause_s=0.05)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", SHORT)
    monkeypatch.setattr(ending, "RESUME_AFTER_S", 0.0)
