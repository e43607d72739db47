"""Send picture messages to the recipients of a file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowSkipException, XComArg

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.operators.base import SendingOperator, choice, default_key, origin_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mm7.hooks.batch import Mailing, Order
    from airflow_provider_mm7.hooks.sending import Courier
    from airflow_provider_mm7.sending import FailOn, OnUnknown, SendResult

log = logging.getLogger(__name__)

#: What is rendered for each row, and not by Airflow.
PER_ROW = ("subject", "text", "media")


class OnProblem(StrEnum):
    """What is done when a line cannot be sent."""

    FAIL = "fail"
    SKIP = "skip"


class SendMMSBatchOperator(SendingOperator):
    """Send a picture message to everyone in a recipients file, each of them at most once, in one task.

    The file is read once and as a stream. Every line is checked before anything is sent: numbers, duplicates, and
    whether its message can be rendered. A retry of the task, or a run after it was cleared, sends only what was not
    sent before under the same ``idempotency_key``.

    ``subject``, ``text`` and ``media`` are rendered for each row, with Airflow's names (``ds``, ``params``...), ``row``
    (``row.first_name``), and each column under its own name where Airflow has no such name. They run in a sandbox, a
    name that is not there is an error, and what stands in the file is never taken for a template.

    :param recipients: a file ``.csv`` (with a header line), ``.jsonl`` or ``.ndjson``, each also ``.gz``, on ``s3://``,
        on a local path, or in any object store that Airflow's ObjectStoragePath knows; or a list of numbers or of
        mappings from another task; or one of the chunks of :class:`PlanRecipientsOperator`, by ``expand``.
    :param subject: subject line; handsets show about 40 characters.
    :param text: one text part, or several.
    :param media: URIs of media in their order. An entry that names a column renders to a path below ``media_base``, or
        to nothing for a row without it.
    :param media_base: folder of the media that rows name: ``s3://news/pictures/``.
    :param recipient_column: column of the numbers; default: the first of ``recipient``, ``to``, ``number``, ``phone``,
        ``phone_number``, ``msisdn``, ``mobile`` that is there.
    :param on_invalid: ``fail`` before anything is sent when a line cannot be used, or ``skip`` it.
    :param on_duplicate: ``skip`` a number that stands in the file again (the first line counts), or ``fail``.
    :param results: where to write what became of each line, ``.csv`` or ``.jsonl``; default: beside the file
        (``people.results.csv``; of a chunk below ``people.results/``); ``none`` writes nothing.
    :param idempotency_key: names the batch; default ``dag_id/run_id/task_id/map_index``. Of a chunk: its bytes' hash in
        place of the index, and behind a key of yours.
    :param fail_on: fail on ``any`` refused recipient, when ``all`` are (default), or ``never``.
    :param skip_when_empty: skip the task, and not fail, when there is no recipient.
    :param xcom_messages: whether the result lists the messages (up to 1,000).

    The other parameters are those of :class:`~airflow_provider_mm7.operators.base.SendingOperator`.

    Pushes XCom ``batch_id`` before the first request, and as ``return_value``, before any failure is raised::

        {"batch_id", "total", "accepted", "refused", "unknown", "suppressed", "planned",
         "invalid", "duplicates", "results"}
    """

    # Subject, text and media are among them for what other tasks return; as templates they are rendered for each row.
    template_fields: Sequence[str] = (
        *PER_ROW,
        "recipients",
        "media_base",
        "recipient_column",
        "results",
        "on_invalid",
        "on_duplicate",
        *SendingOperator.template_fields,
    )

    def __init__(
        self,
        *,
        recipients: str | Sequence[Any] | Mapping[str, Any],
        media_base: str | None = None,
        recipient_column: str | None = None,
        on_invalid: str = OnProblem.FAIL.value,
        on_duplicate: str = OnProblem.SKIP.value,
        results: str | None = None,
        skip_when_empty: bool = False,
        xcom_messages: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.recipients = recipients
        self.media_base = media_base
        self.recipient_column = recipient_column
        self.on_invalid = on_invalid
        self.on_duplicate = on_duplicate
        self.results = results
        self.skip_when_empty = skip_when_empty
        self.xcom_messages = xcom_messages

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        # Airflow's own place to customise rendering, for mapped tasks too.
        others = [name for name in template_fields if name not in PER_ROW]
        super()._do_render_template_fields(parent, others, context, jinja_env, seen_oids)
        for name in PER_ROW:
            setattr(parent, name, _resolve(getattr(parent, name), context, seen_oids, name=name))

    def _sources(self) -> tuple[str, ...]:
        # Media that all messages share are known when their templates are read.
        from airflow_provider_mm7.hooks.batch import named_file
        from airflow_provider_mm7.sending import Draft

        return (*named_file(self.recipients), *Draft(to=(), smil=self.smil).uris, *filter(None, [self.media_base]))

    def _run(self, context: Context, courier: Courier, on_unknown: OnUnknown, fail_on: FailOn | None) -> dict[str, Any]:
        from airflow_provider_mm7.hooks.batch import Mailing
        from airflow_provider_mm7.sending import FailOn

        with Mailing(courier, self._order(context)) as mailing:
            mailing.read()
            self._passed(reads=mailing.reads)
            if not mailing.lines and self.skip_when_empty:
                raise AirflowSkipException("there is no recipient")
            if self.preview:
                mailing.refuse()
                if mailing.lines:
                    log.info("preview, nothing is sent:\n%s", mailing.preview())
                return mailing.contract(None, messages=self.xcom_messages)
            return self._send(context["ti"], mailing, on_unknown, fail_on or FailOn.ALL)

    def _send(self, ti: Any, mailing: Mailing, on_unknown: OnUnknown, fail_on: FailOn) -> dict[str, Any]:
        key = self._own_key or default_key(ti, mailing.digest or ti.map_index)
        family = None
        if mailing.digest is not None:
            family = self._own_key or f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"
            key = f"{family}/{mailing.digest}"
        try:
            mailing.refuse()
            if not mailing.lines:
                # A chunk of empty lines.
                return mailing.contract(None, messages=self.xcom_messages)
            result = mailing.send(
                key=key,
                origin=origin_of(ti),
                family=family,
                on_unknown=on_unknown,
                on_batch=lambda batch_id: self._begun(ti, batch_id),
                stopped=lambda: self._killed,
            )
        # Not only of Exceptions: execution_timeout raises one that is none, and people have got messages by then.
        except BaseException:
            mailing.try_to_write_results(key)
            if (contract := mailing.contract_so_far(key, messages=self.xcom_messages)) is not None:
                self._push_contract(ti, contract)
            raise
        self._write_results(ti, mailing, key, result)
        self._passed(writes=(mailing.results,) if mailing.results else ())
        contract = mailing.contract(result, messages=self.xcom_messages)
        return self._finish(ti, result, contract, fail_on=fail_on, on_unknown=on_unknown)

    def _write_results(self, ti: Any, mailing: Mailing, key: str, result: SendResult) -> None:
        try:
            mailing.write_results(key)
        except BaseException:
            self._push_contract(ti, mailing.contract(result, messages=self.xcom_messages))
            raise

    def _order(self, context: Context) -> Order:
        from airflow_provider_mm7.hooks.batch import Order, read_source
        from airflow_provider_mm7.sending.recipients.spool import Rejection
        from airflow_provider_mm7.sending.recipients.templates import Templates, as_sources

        policies = {
            Rejection.INVALID: choice(OnProblem, self.on_invalid, "on_invalid"),
            Rejection.DUPLICATE: choice(OnProblem, self.on_duplicate, "on_duplicate"),
        }
        subject = as_sources(_resolve(self.subject, context, name="subject"), name="subject")
        if len(subject) > 1:
            raise InputError("subject", "is a list", "Give one string")
        dag = self.get_dag()
        environment = self.get_template_env(dag)
        return Order(
            source=read_source(self.recipients),
            draft=self._shared_draft(),
            templates=Templates(
                subject=subject[0] if subject else None,
                text=tuple(as_sources(_resolve(self.text, context, name="text"), name="text")),
                media=tuple(as_sources(_resolve(self.media, context, name="media"), name="media")),
                media_base=self.media_base,
            ),
            context=dict(context),
            filters=environment.filters,
            macros=(dag.user_defined_macros if dag else None) or {},
            recipient_column=self.recipient_column or None,
            fail_on=tuple(kind for kind, policy in policies.items() if policy is OnProblem.FAIL),
            results=self.results,
        )


def _resolve(value: Any, context: Context, expanded: Collection[int] = (), *, name: str) -> Any:
    """Put in what other tasks returned; that is data, and no template.

    :param expanded: ids of values that ``expand`` put in.
    :raises InputError: another task returned nothing.
    """
    from airflow_provider_mm7.sending.recipients.templates import Literal

    def literal(item: Any) -> Any:
        return Literal(text=item) if isinstance(item, str) else item

    def found(item: XComArg) -> Any:
        returned = item.resolve(context)
        if returned is None:
            raise InputError(name, "another task was to give it and returned nothing", "Return a text, or leave it out")
        return returned

    if isinstance(value, XComArg) or (value is not None and id(value) in expanded):
        data = found(value) if isinstance(value, XComArg) else value
        return [literal(item) for item in data] if isinstance(data, (list, tuple)) else literal(data)
    if isinstance(value, (list, tuple)):
        return [literal(found(item)) if isinstance(item, XComArg) else item for item in value]
    return value
