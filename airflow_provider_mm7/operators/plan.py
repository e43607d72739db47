"""Cut a recipients file into chunks, for as many mapped tasks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, BaseOperator

from airflow_provider_mm7.exceptions import InputError, MediaChanged

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)


class PlanRecipientsOperator(BaseOperator):
    """Plan the chunks of a recipients file, without reading it whole, for SendMMSBatchOperator's ``expand``.

    .. code-block:: python

        plan = PlanRecipientsOperator(task_id="plan", recipients="s3://news/people.csv", chunks=8)
        SendMMSBatchOperator.partial(task_id="send", text="...").expand(recipients=plan.output)

    Each record stands on one line, and the file must not change until its chunks are sent.

    :param recipients: a file ``.csv``, ``.jsonl`` or ``.ndjson``, not compressed.
    :param chunks: how many chunks, at most 1,024 (Airflow's ``max_map_length``); a small file gives fewer.
    :param chunk_bytes: about how many bytes each, in place of ``chunks``.
    :param skip_when_empty: skip the task, and not fail, when there is no recipient.
    :param aws_conn_id: the connection for ``s3://`` URIs; None: boto3's own credential chain.

    Returns a list of ``{"uri", "start", "end", "etag", "header"}``.
    """

    template_fields: Sequence[str] = ("recipients", "chunks", "chunk_bytes", "aws_conn_id")
    template_ext: Sequence[str] = ()
    ui_color = "#d7eefc"

    def __init__(
        self,
        *,
        recipients: str,
        chunks: int | str | None = None,
        chunk_bytes: int | str | None = None,
        skip_when_empty: bool = False,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients = recipients
        self.chunks = chunks
        self.chunk_bytes = chunk_bytes
        self.skip_when_empty = skip_when_empty
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan.

        :raises AirflowFailException: the file cannot be cut, or is not there.
        """
        from airflow_provider_mm7.hooks.recipients import open_files
        from airflow_provider_mm7.hooks.stores import S3Connection
        from airflow_provider_mm7.sending.recipients.chunks import plan_chunks

        try:
            found = plan_chunks(
                open_files(S3Connection(self.aws_conn_id)),
                self.recipients,
                chunks=_whole(self.chunks, "chunks"),
                chunk_bytes=_whole(self.chunk_bytes, "chunk_bytes"),
            )
        except MediaChanged:
            raise
        except InputError as exc:
            raise AirflowFailException(str(exc)) from exc
        if not found and self.skip_when_empty:
            raise AirflowSkipException("there is no recipient")
        if not found:
            raise AirflowFailException("recipients: no recipient. Give a file with lines, or skip_when_empty")
        log.info("%s: %d chunks", self.recipients, len(found))
        return [chunk.as_json() for chunk in found]


def _whole(value: int | str | None, field: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise InputError(field, f"{value!r} is no whole number above 0", "Give such a number")
    return number
