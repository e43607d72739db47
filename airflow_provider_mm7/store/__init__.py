"""The ledger: what was sent, and what came back.

:func:`open_store` gives a :class:`Store`; its values are in :mod:`airflow_provider_mm7.store.types`.
"""

from __future__ import annotations

from airflow_provider_mm7.store.batches import RowKey, batch_id_of
from airflow_provider_mm7.store.components import FRESH_S
from airflow_provider_mm7.store.facade import Store, open_store
from airflow_provider_mm7.store.filters import InboundFilter
from airflow_provider_mm7.store.inbox import ClaimedInbound, ClaimState, Holder, InboundClaim, WaitingInbound
from airflow_provider_mm7.store.types import (
    Aside,
    Batch,
    BatchSummary,
    Component,
    DeliverySummary,
    Inbound,
    InboundPart,
    NewInbound,
    NewReport,
    NewSubmission,
    Origin,
    Owner,
    PruneCounts,
    Report,
    ReportKind,
    Settlement,
    State,
    StoreCheck,
    Submission,
)

__all__ = [
    "FRESH_S",
    "Aside",
    "Batch",
    "BatchSummary",
    "ClaimState",
    "ClaimedInbound",
    "Component",
    "DeliverySummary",
    "Holder",
    "Inbound",
    "InboundClaim",
    "InboundFilter",
    "InboundPart",
    "NewInbound",
    "NewReport",
    "NewSubmission",
    "Origin",
    "Owner",
    "PruneCounts",
    "Report",
    "ReportKind",
    "RowKey",
    "Settlement",
    "State",
    "Store",
    "StoreCheck",
    "Submission",
    "WaitingInbound",
    "batch_id_of",
    "open_store",
]
