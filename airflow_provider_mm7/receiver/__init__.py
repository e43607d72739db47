"""ASGI application for the MMSC's callbacks: authenticate, parse, store, answer."""

from __future__ import annotations

from airflow_provider_mm7.receiver.app import DEFAULT_CONN_ID, Companion, create_app
from airflow_provider_mm7.receiver.config import ReceiverConfig
from airflow_provider_mm7.receiver.consent import DEFAULT_RULES, ConsentRules, Scope, parse_scope
from airflow_provider_mm7.receiver.credentials import CallbackCredentials, CredentialSource, parse_networks

__all__ = [
    "DEFAULT_CONN_ID",
    "DEFAULT_RULES",
    "CallbackCredentials",
    "Companion",
    "ConsentRules",
    "CredentialSource",
    "ReceiverConfig",
    "Scope",
    "create_app",
    "parse_networks",
    "parse_scope",
]
