"""The ledger: what was sent, and what came back.

:func:`open_store` gives a :class:`Store`; its values are in :mod:`airflow_provider_mm7.store.types`.
"""

from __future__ import annotations

from airflow_provider_mm7.store.alerts import AlertLimit, HeldBack, Ruling
from airflow_provider_mm7.store.batches import RowKey, batch_id_of
from airflow_provider_mm7.store.components import FRESH_S
from airflow_provider_mm7.store.consent import (
    OPTED_OUT_TEXT,
    Confirmation,
    OptOut,
    OptOutChange,
    OptOutNews,
    Source,
    connection_scope,
    short_code_scope,
)
from airflow_provider_mm7.store.contents import NewContent, Options, SentContent, SentMedia, SentPart
from airflow_provider_mm7.store.facade import Store, open_store
from airflow_provider_mm7.store.filters import InboundFilter
from airflow_provider_mm7.store.handed import ClaimedInbound, ClaimState, Holder, InboundClaim, WaitingInbound
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
    "OPTED_OUT_TEXT",
    "AlertLimit",
    "Aside",
    "Batch",
    "BatchSummary",
    "ClaimState",
    "ClaimedInbound",
    "Component",
    "Confirmation",
    "DeliverySummary",
    "HeldBack",
    "Holder",
    "Inbound",
    "InboundClaim",
    "InboundFilter",
    "InboundPart",
    "NewContent",
    "NewInbound",
    "NewReport",
    "NewSubmission",
    "OptOut",
    "OptOutChange",
    "OptOutNews",
    "Options",
    "Origin",
    "Owner",
    "PruneCounts",
    "Report",
    "ReportKind",
    "RowKey",
    "Ruling",
    "SentContent",
    "SentMedia",
    "SentPart",
    "Settlement",
    "Source",
    "State",
    "Store",
    "StoreCheck",
    "Submission",
    "WaitingInbound",
    "batch_id_of",
    "connection_scope",
    "open_store",
    "short_code_scope",
]
