"""What both sensors of the store have in common: looking, deferring, and ending without losing anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow.sdk.exceptions import TaskDeferralTimeout

from airflow_provider_mm7.exceptions import StoreError, StoreNotShared, StoreUnavailable
from airflow_provider_mm7.hooks.delivery import ledger_url, receivers_alive
from airflow_provider_mm7.triggers.poll import MAX_FAILED_POLLS

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class StoreSensor(BaseSensorOperator):
    """Wait for something that the receiver, or a sender, writes to the store.

    :param deferrable: wait in the triggerer. Default: ``[operators] default_deferrable``.
    """

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self._failed_pokes = 0
        self._warned = False

    def execute(self, context: Context) -> Any:
        """Look once, and wait when that does not decide it.

        :return: what was waited for.
        """
        if not self.deferrable:
            return super().execute(context)
        # A look before deferring: a trigger that fires at once can overtake the end of the task that deferred to it.
        with self._failing():
            looked = self.poke(context)
        if looked.is_done:
            return looked.xcom_value
        return self.defer(
            trigger=self._trigger(context), method_name="execute_complete", timeout=timedelta(seconds=self.timeout)
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :return: done with what was waited for, or not done.
        :raises AirflowFailException: it cannot come any more, or what was asked makes no sense.
        :raises AirflowSkipException: likewise, under soft_fail.
        :raises StoreUnavailable: as often in a row as the store may be unavailable.
        """
        url = self._url()
        try:
            looked = self._look(url, context)
        except StoreUnavailable as exc:
            self._failed_pokes += 1
            # A rescheduled sensor is a new object each time and cannot count: its timeout is the bound.
            if self._failed_pokes >= MAX_FAILED_POLLS and not self.reschedule:
                raise
            self.log.warning("The MM7 store is not available: %s", exc)
            return PokeReturnValue(is_done=False)
        self._failed_pokes = 0
        if not looked.is_done and self._warns_now(context):
            self._warn(url)
        return looked

    def _look(self, url: str, context: Context) -> PokeReturnValue:
        """Ask the store once."""
        raise NotImplementedError

    def _trigger(self, context: Context) -> BaseTrigger:
        """Make what waits in the triggerer."""
        raise NotImplementedError

    def _warn(self, url: str) -> None:
        """Say, once, why what is waited for may never come."""
        self._warn_without_receiver(url)

    def _asked(self) -> str:
        """Say what is waited for, in ids and counts."""
        raise NotImplementedError

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the trigger.

        Not the base sensor's way: up to Airflow 3.3 that skips under soft_fail whatever happened in the triggerer, a
        store that was down included, while a poking sensor would fail.
        """
        with self._failing():
            try:
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            except TaskDeferralTimeout as exc:
                return self._last_look(context, exc)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Skip under never_fail what would fail, as a poking sensor does."""
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as exc:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped, never_fail is set: {exc}") from exc
            raise

    def _last_look(self, context: Context, timed_out: TaskDeferralTimeout) -> Any:
        """Look once more when the deferral has timed out: the triggerer may have been away."""
        try:
            looked = self.poke(context)
        except StoreError as exc:
            self.log.warning("The MM7 store cannot be used: %s", exc)
            looked = PokeReturnValue(is_done=False)
        if looked.is_done:
            return looked.xcom_value
        message = f"{self._asked()}: not decided within the timeout of {self.timeout:g} s"
        if self._skips:
            raise AirflowSkipException(message) from timed_out
        raise AirflowSensorTimeout(message) from timed_out

    @property
    def _skips(self) -> bool:
        return bool(self.soft_fail or self.never_fail)

    @property
    def _is_read(self) -> bool:
        """Whether tasks may read the result. Airflow (3.2 and 3.3) encodes what a trigger pushes twice: they get text.

        Who reads an XCom in a template or in Python cannot be told; that it comes after this task can.
        """
        return bool(self.do_xcom_push and self.downstream_task_ids)

    @property
    def _loses_success(self) -> bool:
        """Whether a success that the trigger declares would lose something, which a worker would not."""
        return (
            self._is_read
            or bool(self.outlets)  # asset events
            or self.multiple_outputs
            or not self.do_xcom_push
        )

    def _url(self) -> str:
        try:
            return ledger_url()
        except StoreNotShared as exc:
            raise AirflowFailException(str(exc)) from exc

    def _warns_now(self, context: Context) -> bool:
        """Whether this is the first look of the task."""
        if self._warned:
            return False
        self._warned = True
        return not (self.reschedule and context["ti"].get_first_reschedule_date(context) is not None)

    def _warn_without_receiver(self, url: str) -> None:
        """Say that nothing can arrive: nobody writes it to the store that is read here."""
        try:
            alive = receivers_alive(url)
        except StoreError as exc:
            self.log.warning("The MM7 store is not available: %s", exc)
            return
        if not alive:
            self.log.warning(
                "No receiver writes to this MM7 store: %s will not be seen. Is a receiver running, with the same [mm7] "
                "sql_alchemy_conn as the workers and the triggerer? See `airflow mm7 db check`.",
                self._comes,
            )

    #: What the receiver writes for this sensor.
    _comes = "delivery reports"
