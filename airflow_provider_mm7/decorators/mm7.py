"""``@task.mms``: a function returns the message, the decorator sends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.operators.mm7 import SendMMSOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator

#: What a function may return, by the names of SendMMSOperator's parameters.
FIELDS: Final = (
    *("to", "cc", "bcc", "subject", "text", "media", "smil"),
    *("delivery_report", "read_reply", "priority", "message_class", "linked_id", "expiry", "earliest_delivery"),
    *("charged_party", "distribution_indicator", "allow_adaptations", "content_class", "idempotency_key"),
)


class _MMSDecoratedOperator(DecoratedOperator, SendMMSOperator):
    """SendMMSOperator whose message a function returns.

    :param python_callable: the function.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    """

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *SendMMSOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {**DecoratedOperator.template_fields_renderers}
    custom_operator_name: str = "@task.mms"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        to: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, to=to, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function and send what it returns.

        :raises AirflowFailException: it is no message; and as SendMMSOperator raises it.
        """
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.python_callable(*self.op_args, **arguments)
        try:
            message = read_message(returned)
        except InputError as exc:
            raise AirflowFailException(str(exc)) from exc
        # Data, and no templates: what stands in it came from somewhere else.
        for name, value in message.items():
            setattr(self, name, value)
        result: dict[str, Any] = super().execute(context)
        return result


def read_message(returned: object) -> dict[str, Any]:
    """Read what a function returned: the text, or a dictionary by the names of SendMMSOperator's parameters.

    :raises InputError: it is neither, or names what no message has.
    """
    if inspect.isawaitable(returned) or inspect.isgenerator(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise InputError("@task.mms", "the function is asynchronous or a generator", "Give a plain function")
    if returned is None:
        raise InputError(
            "@task.mms",
            "the function returned nothing",
            "Return a text or a dictionary; raise AirflowSkipException where nothing is to be sent",
        )
    if isinstance(returned, str):
        return {"text": returned}
    if not isinstance(returned, Mapping):
        raise InputError(
            "@task.mms",
            f"the function returned {type(returned).__name__}",
            'Return a text, or a dictionary such as {"to": ..., "subject": ..., "text": ..., "media": ...}',
        )
    # Their values may be numbers or contents, and so may a key that is none.
    unknown = [str(name)[:40] if str(name).isidentifier() else "(no name)" for name in returned if name not in FIELDS]
    if unknown:
        raise InputError(
            "@task.mms", f"a message has no {', '.join(map(repr, unknown))}", f"Give some of: {', '.join(FIELDS)}"
        )
    return dict(returned)


def mms_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool = False, **kwargs: Any
) -> TaskDecorator:
    """Make a function a task that sends the message it returns.

    .. code-block:: python

        @task.mms(to="+64211234567", subject="News")
        def news(ds=None):
            return {"text": f"News of {ds}", "media": ["s3://news/saturn.gif"]}

    It returns a text, or a dictionary with any of ``to``, ``cc``, ``bcc``, ``subject``, ``text``, ``media``, ``smil``,
    ``idempotency_key`` and the other parameters of a message that
    :class:`~airflow_provider_mm7.operators.mm7.SendMMSOperator` has. What it leaves out is the decorator's.

    :param multiple_outputs: whether the result's items are pushed as XComs, too; ``batch_id`` always is.
    :param kwargs: parameters of SendMMSOperator.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        # The annotation tells of the message; the task's result is another thing.
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_MMSDecoratedOperator,
        **kwargs,
    )
