"""What the operators that send have in common: the parameters of a message, and how a result ends the task."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException, BaseOperator

from airflow_provider_mm7.exceptions import (
    ConnectionConfigError,
    InputError,
    MediaChanged,
    MM7Error,
    StoreNotMigrated,
    StoreNotShared,
)
from airflow_provider_mm7.hooks.links import MMSLink

if TYPE_CHECKING:
    from enum import StrEnum

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_mm7.hooks.lineage import Passage
    from airflow_provider_mm7.hooks.sending import Courier
    from airflow_provider_mm7.sending import Draft, FailOn, OnUnknown, SendResult
    from airflow_provider_mm7.store import Origin

log = logging.getLogger(__name__)

#: XCom keys of the contract.
BATCH_ID_KEY = "batch_id"
RETURN_KEY = "return_value"

#: What running the same again cannot mend.
_PERMANENT = (InputError, ConnectionConfigError, StoreNotMigrated, StoreNotShared)

_Choice = TypeVar("_Choice", bound="StrEnum")


class SendingOperator(BaseOperator):
    """Base of the operators that send.

    :param smil: ``auto`` writes slides for the parts; ``none`` leaves them out; or a URI, or a document.
    :param delivery_report: whether reports are asked for; a DeliveryReportSensor needs them.
    :param read_reply: whether the recipient's handset is asked to tell that the message was read.
    :param priority: ``Normal``, ``High`` or ``Low``.
    :param message_class: ``Personal``, ``Informational``, ``Advertisement`` or ``Auto``.
    :param linked_id: MessageID of the message that this one answers.
    :param expiry: when the MMSC gives up: a timedelta from now, a datetime with zone, or RFC 3339 text.
    :param earliest_delivery: not before; like ``expiry``.
    :param charged_party: ``Sender``, ``Recipient``, ``Both``, ``Neither``, ``ThirdParty`` or ``Other``.
    :param distribution_indicator: False forbids handing the message on.
    :param allow_adaptations: whether the MMSC may adapt the media to the handset.
    :param content_class: ``text``, ``image-basic``, ``image-rich``, ``video-basic``, ``video-rich``, ``megapixel``,
        ``content-basic`` or ``content-rich``.
    :param mm7_conn_id: the MMSC's connection.
    :param aws_conn_id: the connection for ``s3://`` URIs; None: boto3's own credential chain.
    :param on_unknown: what to do with messages of which it is unknown whether they were accepted: ``hold`` fails the
        task and never sends them again; ``resend`` lets the next try send them, at the risk of sending twice.
    :param fail_on: fail on ``any`` refused recipient, when ``all`` are, or ``never``.
    :param preview: do everything but the POST, and log the envelope with numbers masked and text left out.
    """

    template_fields: Sequence[str] = (
        "smil",
        "priority",
        "message_class",
        "linked_id",
        "expiry",
        "earliest_delivery",
        "charged_party",
        "content_class",
        "mm7_conn_id",
        "aws_conn_id",
        "idempotency_key",
        "on_unknown",
        "fail_on",
    )
    # A document given as a path with this ending is left to the object store, not to Jinja's loader.
    template_ext: Sequence[str] = ()
    ui_color = "#d7eefc"
    operator_extra_links = (MMSLink(),)
    #: The batch, once it is begun.
    linked_batch: str | None = None
    #: Whether Airflow wants the task to end. A plain flag, since a signal handler sets it.
    _killed = False
    #: What the last run read and sent, for lineage.
    _passage: Passage | None = None

    def __init__(
        self,
        *,
        subject: str | None = None,
        text: str | Sequence[str] | None = None,
        media: str | Sequence[str] | None = None,
        smil: str = "auto",
        delivery_report: bool | None = True,
        read_reply: bool | None = None,
        priority: str | None = None,
        message_class: str | None = None,
        linked_id: str | None = None,
        expiry: timedelta | datetime | str | None = None,
        earliest_delivery: timedelta | datetime | str | None = None,
        charged_party: str | None = None,
        distribution_indicator: bool | None = None,
        allow_adaptations: bool = True,
        content_class: str | None = None,
        mm7_conn_id: str = "mm7_default",
        aws_conn_id: str | None = "aws_default",
        idempotency_key: str | None = None,
        on_unknown: str = "hold",
        fail_on: str | None = None,
        preview: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.subject = subject
        self.text = text
        self.media = media
        self.smil = smil
        self.delivery_report = delivery_report
        self.read_reply = read_reply
        self.priority = priority
        self.message_class = message_class
        self.linked_id = linked_id
        self.expiry = expiry
        self.earliest_delivery = earliest_delivery
        self.charged_party = charged_party
        self.distribution_indicator = distribution_indicator
        self.allow_adaptations = allow_adaptations
        self.content_class = content_class
        self.mm7_conn_id = mm7_conn_id
        self.aws_conn_id = aws_conn_id
        self.idempotency_key = idempotency_key
        self.on_unknown = on_unknown
        self.fail_on = fail_on
        self.preview = preview

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if isinstance(parent, SendingOperator):
            # Airflow shows rendered fields, and stores them before it executes: by then our secrets must be known.
            _mask_connection(parent.mm7_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, and return the result.

        :raises AirflowFailException: bad input, a refusal that ``fail_on`` counts, or messages held in doubt.
        :raises AirflowException: something was not sent and may be, by a retry.
        """
        from airflow_provider_mm7.hooks.sending import Courier
        from airflow_provider_mm7.sending import FailOn, OnUnknown

        try:
            on_unknown = choice(OnUnknown, self.on_unknown, "on_unknown")
            fail_on = choice(FailOn, self.fail_on, "fail_on") if self.fail_on else None
            courier = Courier(mm7_conn_id=self.mm7_conn_id, aws_conn_id=self.aws_conn_id)
            self._passed(reads=self._sources())
            return self._run(context, courier, on_unknown, fail_on)
        except MediaChanged:
            # An upload that is under way: the next try finds it complete.
            raise
        except _PERMANENT as exc:
            raise AirflowFailException(str(exc)) from exc

    def _run(self, context: Context, courier: Courier, on_unknown: OnUnknown, fail_on: FailOn | None) -> dict[str, Any]:
        """Send, and return the XCom contract."""
        raise NotImplementedError

    def _sources(self) -> tuple[str, ...]:
        """Return the URIs that the rendered parameters name. Reads nothing.

        :raises InputError: they cannot be told.
        """
        raise NotImplementedError

    @property
    def _own_key(self) -> str | None:
        """The user's ``idempotency_key``; None: there is none.

        :raises InputError: it is not text.
        """
        key: object = self.idempotency_key
        if key is None or key == "":
            return None
        if not isinstance(key, str):
            # Not taken for its digits: Python reads "1_12" and "11_2" as one integer, and one key is one batch.
            raise InputError(
                "idempotency_key",
                f"is of type {type(key).__name__}",
                'Give text; where templates render native objects, begin it with a word ("campaign-{{ ds_nodash }}")',
            )
        return key

    def on_kill(self) -> None:
        """Send nothing more, record what is answered, give back the rest; then :meth:`execute` ends."""
        self._killed = True

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage what will be read: a task that is killed tells no more."""
        from airflow_provider_mm7.hooks.lineage import Passage

        try:
            return self._describe(Passage(reads=self._sources()))
        except MM7Error:
            # The task is about to say so itself.
            return None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Tell OpenLineage what was read and sent. Called where its provider is installed, on failure too."""
        return None if self._passage is None else self._describe(self._passage)

    def _describe(self, passage: Passage) -> OperatorLineage[Any, Any]:
        from airflow_provider_mm7.hooks.mm7 import MM7Hook

        return passage.describe(lambda: MM7Hook(mm7_conn_id=self.mm7_conn_id).settings)

    def _passed(self, **values: Any) -> None:
        """Keep what was read or sent, for lineage."""
        from airflow_provider_mm7.hooks.lineage import Passage

        self._passage = replace(self._passage or Passage(), **values)

    def _push(self, ti: Any, values: Mapping[str, Any]) -> None:
        # Airflow leaves the returned value out without do_xcom_push; so do we what it does not push itself.
        if self.do_xcom_push:
            for key, value in values.items():
                ti.xcom_push(key=key, value=value)

    def _begun(self, ti: Any, batch_id: str) -> None:
        """Tell what is being sent, before the first request leaves."""
        self.linked_batch = batch_id
        self._push(ti, {BATCH_ID_KEY: batch_id})

    def _push_contract(self, ti: Any, contract: Mapping[str, Any]) -> None:
        """Push what Airflow would, before a failure is raised."""
        self._push(ti, {**(contract if self.multiple_outputs else {}), RETURN_KEY: contract})

    def _shared_draft(self) -> Draft:
        """Return the message without recipients, subject, text and media."""
        from airflow_provider_mm7.sending import Draft, digits_as_text, parse_when

        return Draft(
            to=(),
            smil=self.smil,
            delivery_report=self.delivery_report,
            read_reply=self.read_reply,
            priority=self.priority,
            message_class=self.message_class,
            linked_id=digits_as_text(self.linked_id),
            expiry=parse_when(self.expiry, field="expiry"),
            earliest_delivery=parse_when(self.earliest_delivery, field="earliest_delivery"),
            charged_party=self.charged_party,
            distribution_indicator=self.distribution_indicator,
            allow_adaptations=self.allow_adaptations,
            content_class=self.content_class,
        )

    def _finish(
        self, ti: Any, result: SendResult, contract: dict[str, Any], *, fail_on: FailOn, on_unknown: OnUnknown
    ) -> dict[str, Any]:
        """Return the contract, or push it and fail the task.

        :raises AirflowFailException: running the same again cannot help.
        :raises AirflowException: it can.
        """
        from airflow_provider_mm7.sending import find_failure

        self._passed(accepted=result.summary.accepted)
        failure = find_failure(result, fail_on=fail_on, on_unknown=on_unknown)
        if failure is None:
            return contract
        self._push_contract(ti, contract)
        raise (AirflowException if failure.retryable else AirflowFailException)(failure.text)


def default_key(ti: Any, last: object) -> str:
    """Return ``dag_id/run_id/task_id/last``."""
    return "/".join(str(part) for part in (ti.dag_id, ti.run_id, ti.task_id, last))


def origin_of(ti: Any) -> Origin:
    """Return which task a batch belongs to."""
    from airflow_provider_mm7.store import Origin

    return Origin(dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=ti.map_index)


def choice(kind: type[_Choice], value: str, field: str) -> _Choice:
    """Read one of a parameter's values.

    :raises InputError: it is none of them; lists them.
    """
    try:
        return kind(value)
    except ValueError:
        raise InputError(field, f"{value!r} is unknown", f"Give one of: {', '.join(kind)}") from None


def _mask_connection(conn_id: str) -> None:
    """Make a connection's secrets known to the maskers, if it can be read; otherwise ``execute`` will say why not."""
    from airflow_provider_mm7.hooks.mm7 import MM7Hook

    with contextlib.suppress(Exception):
        _ = MM7Hook(mm7_conn_id=conn_id).settings
