"""MM7 as values and bytes. Pure: no socket, clock, random number, logging or Airflow.

:func:`load` reads what a peer sent, :func:`dump` writes what we send; both are driven by the table in
:mod:`airflow_provider_mm7.protocol.schema`.
"""

from __future__ import annotations

from airflow_provider_mm7.protocol.addresses import mask, normalise_number, number_key
from airflow_provider_mm7.protocol.codec import dump, http_headers, load
from airflow_provider_mm7.protocol.describe import describe
from airflow_provider_mm7.protocol.encoder import Content, EncodedPart, RelatedEncoder, encode_content, encode_part
from airflow_provider_mm7.protocol.httpmessage import read_http
from airflow_provider_mm7.protocol.imprint import Imprint
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits
from airflow_provider_mm7.protocol.messages import (
    Address,
    AddressKind,
    CancelReq,
    CancelRsp,
    ContentRef,
    DeliverReq,
    DeliverRsp,
    DeliveryReportReq,
    DeliveryReportRsp,
    Fault,
    Message,
    ReadReplyReq,
    ReadReplyRsp,
    Recipients,
    ReplaceReq,
    ReplaceRsp,
    ReplyCharging,
    Response,
    RSErrorRsp,
    SenderIdentification,
    ServerRequest,
    Status,
    SubmitReq,
    SubmitRsp,
    UACapabilities,
    VASPErrorRsp,
    VaspRequest,
    When,
)
from airflow_provider_mm7.protocol.multipart import Entity, read_entity
from airflow_provider_mm7.protocol.parts import (
    MM7_NAMESPACE,
    MM7_VERSION,
    SOAP_NAMESPACE,
    Dialect,
    Envelope,
    Part,
    Payload,
)
from airflow_provider_mm7.protocol.schema import OPERATIONS
from airflow_provider_mm7.protocol.statuses import (
    MM_STATUSES,
    STATUS_CODES,
    UNKNOWN,
    MMStatus,
    Outcome,
    Verdict,
    is_final,
    status_text,
    verdict,
)

__all__ = [
    "DEFAULT_LIMITS",
    "MM7_NAMESPACE",
    "MM7_VERSION",
    "MM_STATUSES",
    "OPERATIONS",
    "SOAP_NAMESPACE",
    "STATUS_CODES",
    "UNKNOWN",
    "Address",
    "AddressKind",
    "CancelReq",
    "CancelRsp",
    "Content",
    "ContentRef",
    "DeliverReq",
    "DeliverRsp",
    "DeliveryReportReq",
    "DeliveryReportRsp",
    "Dialect",
    "EncodedPart",
    "Entity",
    "Envelope",
    "Fault",
    "Imprint",
    "Limits",
    "MMStatus",
    "Message",
    "Outcome",
    "Part",
    "Payload",
    "RSErrorRsp",
    "ReadReplyReq",
    "ReadReplyRsp",
    "Recipients",
    "RelatedEncoder",
    "ReplaceReq",
    "ReplaceRsp",
    "ReplyCharging",
    "Response",
    "SenderIdentification",
    "ServerRequest",
    "Status",
    "SubmitReq",
    "SubmitRsp",
    "UACapabilities",
    "VASPErrorRsp",
    "VaspRequest",
    "Verdict",
    "When",
    "describe",
    "dump",
    "encode_content",
    "encode_part",
    "http_headers",
    "is_final",
    "load",
    "mask",
    "normalise_number",
    "number_key",
    "read_entity",
    "read_http",
    "status_text",
    "verdict",
]
