"""Everything between an Airflow connection and :mod:`airflow_provider_mm7.sending`: what operator and CLI share."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_mm7.exceptions import MM7Error
from airflow_provider_mm7.hooks.connection import ConnectionSettings
from airflow_provider_mm7.hooks.ledger import open_ledger
from airflow_provider_mm7.hooks.media import open_media_source
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.hooks.sinks import sent_sink
from airflow_provider_mm7.protocol import AddressKind, mask
from airflow_provider_mm7.sending import (
    Draft,
    OnUnknown,
    Prepared,
    Profile,
    SendResult,
    Work,
    prepare,
    send,
    utc_now,
    within_rate,
)
from airflow_provider_mm7.sending.keeping import Keeper
from airflow_provider_mm7.sending.result import MAX_LISTED_MESSAGES
from airflow_provider_mm7.sending.send import read_result
from airflow_provider_mm7.store import Origin, Settlement

#: Recipients that a preview shows of one request.
MAX_SHOWN = 10

log = logging.getLogger(__name__)


def profile_of(settings: ConnectionSettings) -> Profile:
    """Return what this connection's MMSC expects of every submit."""
    return Profile(
        sender=settings.sender_identification,
        service_code=settings.service_code,
        dialect=settings.dialect,
        number_format=settings.number_format,
        strict_numbers=settings.strict_numbers,
        media_types=settings.media_types,
        max_message_bytes=settings.max_message_bytes,
        recipients_per_request=within_rate(settings.recipients_per_request, settings.rate_per_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """Sends drafts over one connection.

    :ivar mm7_conn_id: the connection of the MMSC.
    :ivar aws_conn_id: the connection for ``s3://`` media; None: boto3's own credential chain.
    """

    mm7_conn_id: str
    aws_conn_id: str | None = "aws_default"

    def prepare(self, draft: Draft) -> Prepared:
        """Check everything and read the media; sends nothing.

        :raises InputError: naming the field, the problem and the remedy.
        """
        prepared = prepare(
            draft, profile_of(self.hook().settings), open_media_source(aws_conn_id=self.aws_conn_id), now=utc_now()
        )
        for warning in prepared.warnings:
            log.warning("%s", warning)
        return prepared

    def send(
        self,
        what: Prepared | Work,
        *,
        key: str,
        origin: Origin | None = None,
        family: str | None = None,
        on_unknown: OnUnknown = OnUnknown.HOLD,
        on_batch: Callable[[str], None] | None = None,
        settled: Callable[[Sequence[Settlement]], None] | None = None,
        stopped: Callable[[], bool] | None = None,
        honour_opt_outs: bool = True,
        keeper: Keeper | None = None,
    ) -> SendResult:
        """Send to each recipient at most once under this key.

        Parameters are those of :func:`airflow_provider_mm7.sending.send`; without a keeper, the configuration says
        what is kept.

        :raises StoreError: the ledger cannot be used; nothing more was sent.
        """
        hook = self.hook()
        with hook.get_conn() as client:
            result = send(
                what,
                store=open_ledger(),
                client=client,
                key=key,
                conn_id=self.mm7_conn_id,
                origin=origin,
                family=family,
                on_unknown=on_unknown,
                overrides=hook.verdicts,
                rate_per_s=hook.settings.rate_per_s,
                opt_out_scope=hook.settings.honoured_scope,
                honour_opt_outs=honour_opt_outs,
                on_batch=on_batch,
                settled=settled,
                stopped=stopped,
                keeper=keeper or self.keeper(),
            )
        counts = result.summary
        log.info(
            "batch %s: %d accepted, %d refused, %d unknown, %d suppressed, %d not sent yet, of %d",
            *(counts.batch_id, counts.accepted, counts.refused, counts.unknown, counts.suppressed),
            *(counts.planned, counts.total),
        )
        return result

    def so_far(self, batch_id: str) -> SendResult | None:
        """Read what became of a batch where an error ends its run.

        :return: None: messages may have left, and the ledger, which alone knows of them, cannot be read.
        """
        try:
            return read_result(open_ledger(), batch_id)
        except MM7Error as exc:
            log.warning("what was sent so far cannot be told: %s", exc)
            return None

    def keeper(self) -> Keeper:
        """Return what keeps copies of media where ``[mm7] sent_media_uri`` says."""
        return Keeper(sent_sink())

    def hook(self) -> MM7Hook:
        """Return the hook of the connection."""
        return MM7Hook(mm7_conn_id=self.mm7_conn_id)


def describe_preview(prepared: Prepared) -> str:
    """Return the envelope that would be posted, numbers masked and text left out, and its parts' types and sizes.

    Of a request to many, the envelope shows the first :data:`MAX_SHOWN` recipients.
    """
    in_one = min(prepared.profile.recipients_per_request, len(prepared.recipients))
    size = len(prepared.payload(prepared.recipients[:in_one], str(uuid.uuid4())))
    requests = -(-len(prepared.recipients) // in_one)
    parts = "\n".join(f"{part.content_type} {part.content_id} {len(part.body)} bytes" for part in prepared.parts)
    total = f"about {size} bytes in each of {requests} requests to {len(prepared.recipients)} recipients"
    return f"{_masked_envelope(prepared, in_one)}\n{parts}\n{total}"


def _masked_envelope(prepared: Prepared, in_one: int) -> str:
    template, sender = prepared.template, prepared.template.sender_identification
    address = sender.sender_address
    if address is not None and address.kind is not AddressKind.SHORT_CODE:
        sender = replace(sender, sender_address=replace(address, value=mask(address.value)))
    subject = template.subject
    hidden = replace(
        prepared,
        template=replace(
            template,
            sender_identification=sender,
            subject=f"({len(subject)} characters)" if subject is not None else None,
        ),
    )
    shown = prepared.recipients[: min(in_one, MAX_SHOWN)]
    return hidden.envelope([replace(item, number=mask(item.number)) for item in shown], "preview")


def preview_result(prepared: Prepared) -> dict[str, Any]:
    """Return the XCom contract of a preview: nobody was written to."""
    return {
        "batch_id": None,
        "total": len(prepared.recipients),
        "accepted": 0,
        "refused": 0,
        "unknown": 0,
        "suppressed": 0,
        "planned": len(prepared.recipients),
        "messages": [
            {
                "recipient": item.number,
                "message_id": None,
                "transaction_id": None,
                "state": "planned",
                "status_code": None,
                "status_text": None,
            }
            for item in prepared.recipients[:MAX_LISTED_MESSAGES]
        ],
    }
