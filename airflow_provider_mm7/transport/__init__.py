"""Bytes to an MMSC and back over HTTP: every time-out set, nothing retried behind the ledger's back."""

from __future__ import annotations

from airflow_provider_mm7.transport.client import HttpAnswer, MMSCClient
from airflow_provider_mm7.transport.endpoint import Endpoint
from airflow_provider_mm7.transport.judge import parse_retry_after, read_answer
from airflow_provider_mm7.transport.probe import ProbeResult, Reach, probe

__all__ = ["Endpoint", "HttpAnswer", "MMSCClient", "ProbeResult", "Reach", "parse_retry_after", "probe", "read_answer"]
