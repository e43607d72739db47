"""The sensor that waits for an answer from a handset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, PokeReturnValue

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks.answers import AnswerQuestion, find_answer, read_answer
from airflow_provider_mm7.hooks.connection import DEFAULT_CONN_ID
from airflow_provider_mm7.hooks.links import MMSLink
from airflow_provider_mm7.sending.parse import digits_as_text, parse_list
from airflow_provider_mm7.sensors.base import StoreSensor
from airflow_provider_mm7.triggers.answer import InboundAnswerTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class InboundMMSSensor(StoreSensor):
    """Wait for a message from a handset: the answer to what was sent.

    The answer is the first message that fits, by ``linked_id`` where the MMSC tells which message it answers, else by
    its ``sender`` in a window of time. With several senders or MessageIDs any of them will do; a mapped sensor waits
    for one each::

        InboundMMSSensor.partial(task_id="answer", deferrable=True).expand(sender=numbers)

    It looks and takes nothing: the same message also goes to whoever claims it with
    :meth:`~airflow_provider_mm7.hooks.mm7.MM7Hook.claim_inbound`, and to other sensors.

    Returns the message in its JSON form::

        {"id", "sender", "recipients", "subject", "text", "linked_id", "date", "received_at", "conn_id", "attempts",
         "media": [{"uri", "content_type", "size", "sha256", "name"}, ...]}

    :param linked_id: MessageID of what was sent, as the sending operator's result lists it, or several (templated).
    :param sender: the number that answers, or several (templated).
    :param since: received at this time or later; aware, or ISO 8601 with a zone (templated). Default: the start of the
        DAG run, or any time with ``linked_id``.
    :param short_code: only a message to this number (templated).
    :param keyword: only one whose text begins with this word, in upper or lower case (templated).
    :param has_media: only one with, or without, a picture, sound or film.
    :param mm7_conn_id: only one that came in on this connection; None: any.
    :param deferrable: wait in the triggerer. Default: ``[operators] default_deferrable``.
    :param poke_interval: seconds (or timedelta) between two looks, deferred or not.
    :param timeout: seconds (or timedelta) until the task gives up; ``soft_fail`` then skips it.
    :param outlets: assets to update when the answer is there; the task then ends on a worker.
    """

    template_fields: Sequence[str] = ("linked_id", "sender", "since", "short_code", "keyword", "mm7_conn_id")
    ui_color = "#d9ead3"
    operator_extra_links = (MMSLink(),)
    #: The answer, once this task has seen it.
    linked_inbound: int | None = None
    _comes = "messages from handsets"

    def __init__(
        self,
        *,
        linked_id: str | Sequence[str] | None = None,
        sender: str | Sequence[str] | None = None,
        since: datetime | str | None = None,
        short_code: str | None = None,
        keyword: str | None = None,
        has_media: bool | None = None,
        mm7_conn_id: str | None = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if linked_id is None and sender is None:
            raise InputError("linked_id, sender", "none is given", "Say whose answer, or an answer to what, is wanted")
        self.linked_id = linked_id
        self.sender = sender
        self.since = since
        self.short_code = short_code
        self.keyword = keyword
        self.has_media = has_media
        self.mm7_conn_id = mm7_conn_id

    def _look(self, url: str, context: Context) -> PokeReturnValue:
        question = self._question(context)
        message = find_answer(url, question)
        if message is None:
            self.log.info("%s: none yet", question)
            return PokeReturnValue(is_done=False)
        self.log.info("%s: message %d", question, message.id)
        self.linked_inbound = message.id
        return PokeReturnValue(is_done=True, xcom_value=message.as_json())

    def _trigger(self, context: Context) -> InboundAnswerTrigger:
        return InboundAnswerTrigger(
            question=self._question(context).as_json(), poll_interval_s=self.poke_interval, resume=self._loses_success
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any] | str) -> Any:
        """Take over from the trigger, where the trigger must not end the task itself.

        :param event: what :class:`~airflow_provider_mm7.triggers.mm7.InboundAnswerTrigger` sent.
        :return: the message.
        """
        # dag.test() does not know events that end a task: it resumes with the name of the state they carry.
        message = read_answer(self._url(), int(event["id"])) if isinstance(event, Mapping) else None
        # Gone since then: another one may fit.
        return self.execute(context) if message is None else message.as_json()

    def _asked(self) -> str:
        return "the answer from a handset"

    def _question(self, context: Context) -> AnswerQuestion:
        """Make the question of the rendered templates.

        :raises AirflowFailException: a template gave something that cannot be asked for.
        """
        try:
            linked_ids = _several(_alone(self.linked_id), "linked_id")
            since = _time(self.since)
            if since is None and not linked_ids:
                run = context["dag_run"]
                since = run.start_date or run.run_after
            return AnswerQuestion.of(
                senders=_several(self.sender, "sender"),
                linked_ids=linked_ids,
                conn_id=self.mm7_conn_id,
                # A DAG that renders templates as native objects makes integers of them.
                short_code=digits_as_text(self.short_code),
                keyword=digits_as_text(self.keyword),
                has_media=self.has_media,
                since=since,
            )
        except InputError as exc:
            raise AirflowFailException(str(exc)) from exc


def _alone(value: object) -> object:
    """Keep what separates numbers in a text from separating one MessageID."""
    return [value] if isinstance(value, str) and value.strip() and not value.lstrip().startswith("[") else value


def _several(value: object, field: str) -> tuple[str, ...]:
    """Read one text or several, as an upstream gives them or a template renders them.

    :raises InputError: there is nothing in it, which would mean any.
    """
    if value is None:
        return ()
    found = parse_list(value, field=field, integers=True)
    if not found:
        raise InputError(field, "rendered to nothing", "Give at least one, or leave it out")
    return found


def _time(value: object) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise InputError("since", "rendered to something that is no time", "Give ISO 8601 with a zone") from None
