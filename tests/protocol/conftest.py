"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no defect of the code: examples have no deadline here, hostile input has bounds of its own.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
