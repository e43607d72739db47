"""Content x recipients -> SubmitReqs through transport, each one recorded in the store."""

from __future__ import annotations

from airflow_provider_mm7.sending.draft import Draft, Profile, Recipient
from airflow_provider_mm7.sending.engine import Engine, claim_bound
from airflow_provider_mm7.sending.pacer import within_rate
from airflow_provider_mm7.sending.parse import digits_as_text, parse_list, parse_texts, parse_when
from airflow_provider_mm7.sending.prepare import Prepared, check_recipients, prepare
from airflow_provider_mm7.sending.result import FailOn, Failure, OnUnknown, SendResult, find_failure
from airflow_provider_mm7.sending.send import Work, send, utc_now

__all__ = [
    "Draft",
    "Engine",
    "FailOn",
    "Failure",
    "OnUnknown",
    "Prepared",
    "Profile",
    "Recipient",
    "SendResult",
    "Work",
    "check_recipients",
    "claim_bound",
    "digits_as_text",
    "find_failure",
    "parse_list",
    "parse_texts",
    "parse_when",
    "prepare",
    "send",
    "utc_now",
    "within_rate",
]
