"""Alert people on their phones."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.providers.common.compat.notifier import BaseNotifier
from asgiref.sync import sync_to_async

from airflow_provider_mm7.exceptions import InputError, MM7Error
from airflow_provider_mm7.notifications.occasion import Occasion

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_mm7.hooks.alerts import Alert, Picture, Vigil
    from airflow_provider_mm7.store import AlertLimit, HeldBack

log = logging.getLogger(__name__)

#: Alerts an hour of one DAG to the same people, in the long run: one in six minutes can still be read.
MAX_PER_HOUR: Final = 10
#: Alerts that may leave at once after a quiet time.
BURST: Final = 5

#: What a template that cannot be rendered is replaced by its default in.
_REPLACEABLE: Final = ("subject", "text", "media", "priority")


class MMSNotifier(BaseNotifier):
    """Send a picture message when a task or DAG run fails, succeeds, is tried again, or misses a deadline.

    For ``on_failure_callback``, ``on_success_callback``, ``on_retry_callback`` and their like of tasks and DAGs, and
    for ``DeadlineAlert`` (``AsyncCallback(MMSNotifier, kwargs={...})``).

    It never raises: an alert that cannot be sent is an error in the log. The same try of a task, or the same end of a
    run, is alerted of once to the same people, however often the callback is called.

    A storm of failures does not flood phones: of one DAG, over all processes and machines that share the store,
    ``burst`` alerts leave at once and ``max_per_hour`` in an hour. What is held back beyond that is counted, and told
    in one message ("494 more failures of DAG x") as soon as no more come, and with the next alert that may leave.

    All templates may use ``alert``, which is there in every callback: ``alert.event`` (``failed``...),
    ``alert.dag_id``, ``alert.run_id``, ``alert.task_id``, ``alert.map_index``, ``alert.try_number``, ``alert.error``
    (name of the exception's class), ``alert.link``, ``alert.dag_link``, ``alert.subject`` and ``alert.text`` (the
    defaults). A template that cannot be rendered gives way to the default.

    :param to: one number or several.
    :param text: default: what happened to which DAG, task, run and try, and the link to it in Airflow's UI.
    :param subject: default: DAG, task and what happened.
    :param media: a picture, or several: URIs, or a callable that is given the context and returns bytes, a path, a URI,
        or a list of those. An alert whose picture cannot be had goes without it.
    :param smil: as of SendMMSOperator.
    :param priority: ``Normal``, ``High`` or ``Low``.
    :param mm7_conn_id: the MMSC's connection.
    :param aws_conn_id: the connection for ``s3://`` URIs; None: boto3's own credential chain.
    :param max_per_hour: alerts of the DAG to these people in an hour; None: no limit.
    :param burst: alerts that may leave at once after a quiet time.
    :param limit_key: what the limit is for, in place of the DAG: give several DAGs one name to share one limit.
    """

    template_fields: Sequence[str] = (
        "to",
        "subject",
        "text",
        "media",
        "priority",
        "mm7_conn_id",
        "aws_conn_id",
        "limit_key",
    )

    def __init__(
        self,
        *,
        to: str | Sequence[str],
        text: str | Sequence[str] | None = None,
        subject: str | None = None,
        media: str | Sequence[str] | Callable[[Context], Any] | None = None,
        smil: str = "auto",
        priority: str | None = None,
        mm7_conn_id: str = "mm7_default",
        aws_conn_id: str | None = "aws_default",
        max_per_hour: float | None = MAX_PER_HOUR,
        burst: int = BURST,
        limit_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.text = text
        self.subject = subject
        self.media = media
        self.smil = smil
        self.priority = priority
        self.mm7_conn_id = mm7_conn_id
        self.aws_conn_id = aws_conn_id
        self.max_per_hour = max_per_hour
        self.burst = burst
        self.limit_key = limit_key

    # -- Airflow's ways in; none of them may raise -----------------------------------------------------------------

    def __call__(self, *args: Any) -> None:
        """Send an alert. Airflow's own would render this object's fields in place, for the first of its tasks only."""
        self.notify(args[0] if len(args) == 1 else {"dag": args[0]})

    def __await__(self) -> Generator[Any, None, None]:
        """Send an alert, from the triggerer."""
        return self.async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """Send an alert."""
        from airflow_provider_mm7.hooks.alerts import ends_with_the_callback

        try:
            vigil = self._send(context)
            if vigil is None:
                return
            if ends_with_the_callback():
                vigil.keep()
            else:
                vigil.keep_aside()
        except Exception as exc:
            self._lost(exc)

    async def async_notify(self, context: Context) -> None:
        """Send an alert without holding up the event loop."""
        try:
            vigil = await sync_to_async(self._send, thread_sensitive=False)(context)
            while (
                vigil is not None and (pause := await sync_to_async(vigil.step, thread_sensitive=False)()) is not None
            ):
                await asyncio.sleep(pause)
        except Exception as exc:
            self._lost(exc)

    def _lost(self, error: Exception) -> None:
        # Texts of our own errors hold no numbers; others come from what the user gave.
        log.error("alert not sent: %s", error, exc_info=None if isinstance(error, MM7Error) else error)

    # -- what is sent ------------------------------------------------------------------------------------------------

    def _send(self, context: Mapping[str, Any]) -> Vigil | None:
        # A failed import is an alert that is not sent, not an exception.
        from airflow_provider_mm7.hooks.alerts import Alarm

        occasion = Occasion.read(context)
        mine = self._rendered(context, occasion)
        limit = mine._limit()
        alarm = Alarm(mm7_conn_id=mine.mm7_conn_id, aws_conn_id=mine.aws_conn_id or None, limit=limit)
        return alarm.raise_(mine._alert(context, occasion))

    def _limit(self) -> AlertLimit | None:
        from airflow_provider_mm7.store import AlertLimit

        if self.max_per_hour is None:
            return None
        if not self.max_per_hour > 0 or self.burst < 1:
            raise InputError("max_per_hour", "it and burst must be above 0", "Give None for no limit")
        return AlertLimit(per_hour=self.max_per_hour, burst=self.burst)

    def _rendered(self, context: Mapping[str, Any], occasion: Occasion) -> MMSNotifier:
        """Return this notifier for one occasion; one object serves all tasks of a DAG."""
        mine = copy.copy(self)
        names: Any = {**context, "alert": occasion}
        environment = self.get_template_env(dag=context.get("dag"))
        for field in self.template_fields:
            value = getattr(self, field)
            if callable(value):
                continue
            try:
                setattr(mine, field, self.render_template(value, names, environment))
            except Exception as exc:
                if field not in _REPLACEABLE:
                    raise
                log.warning("%s cannot be rendered, so the default is sent: %s", field, type(exc).__name__)
                setattr(mine, field, None)
        return mine

    def _alert(self, context: Mapping[str, Any], occasion: Occasion) -> Alert:
        from airflow_provider_mm7.hooks.alerts import Alert
        from airflow_provider_mm7.sending import Draft, parse_list
        from airflow_provider_mm7.store import Origin

        to = parse_list(self.to, field="to", integers=True)
        if not to:
            raise InputError("to", "no recipient", "Give at least one number")
        text = _words(self.text)
        media = self.media
        return Alert(
            identity=occasion.identity,
            event=occasion.event,
            scope=self.limit_key or occasion.dag_id,
            origin=Origin(
                dag_id=occasion.dag_id,
                run_id=occasion.run_id,
                task_id=occasion.task_id,
                map_index=occasion.map_index,
            ),
            draft=Draft(
                to=to,
                subject=" ".join(_words(self.subject)).strip() or occasion.subject,
                text=text if any(map(str.strip, text)) else (occasion.text,),
                media=() if callable(media) else tuple(_pictures_of_uris(media)),
                smil=self.smil,
                priority=self.priority or None,
                # Nobody waits for the report of an alert.
                delivery_report=False,
            ),
            tell=lambda held_back: self._summary(occasion, held_back),
            draw=(lambda: tuple(_pictures(media(cast("Context", context))))) if callable(media) else None,
            alone=occasion.task_id is None,
            ends_at=_end_of_process(occasion),
        )

    def _summary(self, occasion: Occasion, held_back: HeldBack) -> tuple[str, str]:
        from airflow_provider_mm7.notifications.occasion import FAILURES

        kind = "failure" if FAILURES.issuperset(held_back.events) else "alert"
        what = self.limit_key or f"DAG {occasion.dag_id}"
        subject = f"{held_back.count} more {kind}{'s' if held_back.count != 1 else ''} of {what}"
        span = f"{held_back.first_at:%H:%M:%S} to {held_back.last_at:%H:%M:%S} UTC"
        lines = [f"{subject}, {span}, not told of one by one.", "" if self.limit_key else occasion.dag_link]
        return subject, "\n".join(filter(None, lines))


def _end_of_process(occasion: Occasion) -> datetime | None:
    """Tell when Airflow ends the process of a task that has ended, whatever its callbacks do."""
    from airflow.providers.common.compat.sdk import conf

    from airflow_provider_mm7.hooks.alerts import ends_with_the_callback

    if occasion.ended_at is None or not ends_with_the_callback():
        return None
    return occasion.ended_at + timedelta(seconds=conf.getfloat("core", "task_success_overtime", fallback=20.0))


def _no_vigil() -> None:
    return None


def _words(value: object) -> tuple[str, ...]:
    """Read texts. A number, as DAGs with native objects render it, is better sent as Python spells it than lost."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


def _pictures_of_uris(media: str | Sequence[str] | None) -> Iterable[str]:
    from airflow_provider_mm7.sending import parse_list

    # A comma may stand in an object's name.
    if isinstance(media, str) and not media.lstrip().startswith("["):
        return (media.strip(),) if media.strip() else ()
    return parse_list(media, field="media")


def _pictures(made: Any) -> Iterable[Picture]:
    """Read what a callable returned.

    :raises InputError: it is no picture.
    """
    if made is None:
        return
    if isinstance(made, (bytes, bytearray, memoryview)):
        yield bytes(made)
    elif isinstance(made, (str, PathLike)):
        yield str(fspath(made))
    elif callable(getattr(made, "getvalue", None)):
        yield made.getvalue()
    elif isinstance(made, Iterable):
        for one in made:
            yield from _pictures(one)
    else:
        raise InputError("media", f"the callable returned {type(made).__name__}", "Return bytes, a path or a URI")
