"""What a callback is called for, read from whatever context Airflow gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from urllib.parse import quote

#: What happened, as people are told it, by the state of a task.
_TASK_EVENTS: Final = {
    "failed": "failed",
    "up_for_retry": "failed and is tried again",
    "success": "succeeded",
    "skipped": "was skipped",
    "running": "started",
}
FAILED: Final = "failed"
SUCCEEDED: Final = "succeeded"
MISSED: Final = "missed its deadline"
#: Events of which several are called failures.
FAILURES: Final = frozenset({FAILED, _TASK_EVENTS["up_for_retry"]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What happened to which task, DAG run or deadline. Templates know it as ``alert``.

    :ivar event: what happened, such as ``failed`` or ``missed its deadline``.
    :ivar task_id: None where the DAG run as a whole is meant.
    :ivar map_index: None or below 0: not mapped.
    :ivar try_number: of the task.
    :ivar occurrence: tells apart what may happen to the same run again: how often it was cleared, or its deadline.
    :ivar error: name of the exception's class. Its text may hold anything, so it is left out.
    :ivar link: address of the task or run in Airflow's UI; empty where ``[api] base_url`` is not set.
    :ivar dag_link: address of the DAG, likewise.
    :ivar ended_at: when the task did; None where it is not known.
    """

    event: str
    dag_id: str
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    occurrence: str = ""
    error: str | None = None
    link: str = ""
    dag_link: str = ""
    ended_at: datetime | None = None

    @classmethod
    def read(cls, context: Mapping[str, Any]) -> Self:
        """Read a context: a task's, a DAG run's (its ``reason`` tells it), or a deadline's."""
        base_url = _base_url()
        if context.get("deadline"):
            return cls._of_run(context, base_url, MISSED, str(_part(context["deadline"], "id") or ""))
        reason, run = context.get("reason"), context.get("dag_run")
        ti = context.get("ti") or context.get("task_instance")
        if ti is None or reason is not None:
            # The reason of a run that failed is task_failure, timed_out and the like. The run's state may be older.
            event = SUCCEEDED if (reason or _word(_part(run, "state"))) == "success" else FAILED
            return cls._of_run(context, base_url, event, str(_part(run, "clear_number") or 0))
        return cls._of_task(context, ti, base_url)

    @classmethod
    def _of_run(cls, context: Mapping[str, Any], base_url: str, event: str, occurrence: str) -> Self:
        run, dag = context.get("dag_run"), context.get("dag")
        dag_id = str(_part(run, "dag_id") or _part(dag, "dag_id") or "")
        # The API's name for it stands in a deadline's context.
        run_id = _part(run, "run_id") or _part(run, "dag_run_id") or context.get("run_id")
        dag_link = _dag_link(base_url, dag_id)
        return cls(
            event=event,
            dag_id=dag_id,
            run_id=run_id,
            occurrence=occurrence,
            link=f"{dag_link}/runs/{quote(run_id)}" if dag_link and run_id else dag_link,
            dag_link=dag_link,
        )

    @classmethod
    def _of_task(cls, context: Mapping[str, Any], ti: Any, base_url: str) -> Self:
        error = context.get("exception")
        # Without a state the process is gone, and the DAG processor, which saw it last running, speaks for it.
        state = _word(getattr(ti, "state", None)) or "failed"
        event = _TASK_EVENTS.get(state, state)
        if error is not None and event == _TASK_EVENTS["running"]:
            event = FAILED
        map_index = getattr(ti, "map_index", None)
        dag_link = _dag_link(base_url, ti.dag_id)
        mapped = f"/mapped/{map_index}" if map_index is not None and map_index >= 0 else ""
        return cls(
            event=event,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=map_index,
            try_number=getattr(ti, "try_number", None),
            error=type(error).__name__ if isinstance(error, BaseException) else None,
            link=f"{dag_link}/runs/{quote(ti.run_id)}/tasks/{ti.task_id}{mapped}" if dag_link else "",
            dag_link=dag_link,
            ended_at=getattr(ti, "end_date", None),
        )

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two calls of a callback the same occasion."""
        return (
            *(self.event, self.dag_id, self.run_id, self.task_id, self.map_index),
            *(self.try_number, self.occurrence),
        )

    @property
    def is_failure(self) -> bool:
        """Whether something failed."""
        return self.event in FAILURES

    @property
    def subject(self) -> str:
        """A line for the handset's list of messages: what matters first."""
        what = f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id
        return f"{what} {self.event}"

    @property
    def text(self) -> str:
        """What happened, in a few lines."""
        mapped = f"[{self.map_index}]" if self.map_index is not None and self.map_index >= 0 else ""
        what = f"Task {self.task_id}{mapped} of DAG {self.dag_id}" if self.task_id else f"DAG {self.dag_id}"
        lines = [f"{what} {self.event}{f' ({self.error})' if self.error else ''}."]
        if self.run_id:
            lines.append(f"Run {self.run_id}{f', try {self.try_number}' if self.try_number else ''}")
        return "\n".join(filter(None, [*lines, self.link]))


def _part(holder: Any, name: str) -> Any:
    """Give an attribute, or an item: a deadline's context holds JSON."""
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _word(state: Any) -> str:
    """Give a state's name: Airflow's enums print their own, too."""
    return str(getattr(state, "value", state) or "")


def _base_url() -> str:
    from airflow.providers.common.compat.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


def _dag_link(base_url: str, dag_id: str) -> str:
    return f"{base_url}/dags/{quote(dag_id)}" if base_url and dag_id else ""
