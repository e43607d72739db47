"""Answers into the ledger, though it be away: one that cannot be recorded leaves its message in doubt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from airflow_provider_mm7.exceptions import StoreError, StoreUnavailable
from airflow_provider_mm7.sending.halt import Halt
from airflow_provider_mm7.store import Settlement, State, Store

#: Seconds for which answers wait for a store that is away, at most; the lease of their claims is the other bound.
RECORD_FOR_S = 300.0
#: Seconds of the first pause between two attempts, and of the longest.
RECORD_PAUSE_S = 0.2
RECORD_LONGEST_PAUSE_S = 5.0

log = logging.getLogger(__name__)


class Settler:
    """Settles, and waits for a store that is away: for one span of time, however many calls fall into it.

    :param lease_s: seconds after which others may take the claims for abandoned.
    :param told: whether somebody wants the run to end, who will not wait for long: one more attempt is made then.
    :param clock: monotonic, in seconds.
    """

    def __init__(
        self, store: Store, *, lease_s: float, told: Halt, clock: Callable[[], float] = time.monotonic
    ) -> None:
        #: Whether the last attempt found no store.
        self.away = False
        self._store = store
        self._lease_s = lease_s
        self._told = told
        self._clock = clock
        self._until = 0.0

    def settle(self, batch_id: str, settlements: Sequence[Settlement]) -> None:
        """Record what was answered.

        :raises StoreError: it could not be recorded; the log has the MessageIDs.
        """
        patiently = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            after=self._note,
            stop=self._is_enough,
            wait=wait_exponential(multiplier=RECORD_PAUSE_S, max=RECORD_LONGEST_PAUSE_S),
            sleep=self._pause,
            reraise=True,
        )
        try:
            patiently(self._store.settle, batch_id, settlements)
        except StoreError as exc:
            accepted = [item.message_id for item in settlements if item.state is State.ACCEPTED]
            # Not with its causes: a database's own text may quote the row.
            log.error("answers could not be recorded (%s); MessageIDs accepted: %s", exc, accepted)  # noqa: TRY400
            raise
        self.away = False

    def _pause(self, seconds: float) -> None:
        self._told.wait_until(min(self._clock() + seconds, self._until))

    def _note(self, attempt: RetryCallState) -> None:
        """Begin the span with the first attempt that finds no store."""
        if not self.away and attempt.outcome is not None:
            span_s = min(self._lease_s, RECORD_FOR_S)
            self.away, self._until = True, self._clock() + span_s
            log.warning("answers wait for the store, for %.0f s at most: %s", span_s, attempt.outcome.exception())

    def _is_enough(self, _: RetryCallState) -> bool:
        return bool(self._told) or self._clock() >= self._until
