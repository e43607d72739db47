"""Who must not be written to, known afresh right before each request.

A batch is freed of those who opted out before it began; this is about the others. Who opts out while it runs gets no
message whose request begins more than :data:`FRESH_S` after that was committed, however long the batch takes. It costs
no query a message: threads share what one of them learnt, and to learn that there is nothing new takes one row.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from airflow_provider_mm7.exceptions import StoreUnavailable
from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.sending.halt import STOP_POLL_S, Halt
from airflow_provider_mm7.store import OPTED_OUT_TEXT, Settlement, State, Store, Submission

#: Seconds that an answer of the store counts as fresh. Half of the second that is promised: the rest is for the way
#: from here to the first byte of the request.
FRESH_S = 0.5
#: Seconds after which one thread asks again, while the others still go by the last answer.
SOON_S = 0.25
#: Attempts, and first pause in seconds, to ask a store that is away for a moment. Nothing is sent meanwhile.
ASK_ATTEMPTS = 5
ASK_PAUSE_S = 0.2

log = logging.getLogger(__name__)


class Watch:
    """What is known of the opt-outs of one scope during one run. Safe to use from many threads.

    Opt-outs that were there before it began are told by the ledger, with each claim (:attr:`scope`).

    :param scope: whose opt-outs are heeded.
    :param halt: what ends waiting for the store.
    :param clock: monotonic, in seconds.
    """

    def __init__(
        self, store: Store, scope: str, batch_id: str, *, halt: Halt, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._scope = scope
        self._batch_id = batch_id
        self._halt = halt
        self._clock = clock
        #: Held by the one thread that asks.
        self._turn = threading.Lock()
        self._out: frozenset[str] = frozenset()
        self._asked_at = clock()
        self._change_no = store.opt_out_clock(scope)

    @property
    def scope(self) -> str | None:
        """The scope, if anybody ever opted out in it."""
        return self._scope if self._change_no else None

    def ask(self, group: Sequence[Submission]) -> list[Submission] | None:
        """Tell which of a group must not be written to, by what the store said no longer ago than :data:`FRESH_S`.

        :return: None: there is no telling before the run ends.
        :raises StoreError: nobody knows.
        """
        return self.known(group) if self._refresh() else None

    def known(self, group: Sequence[Submission]) -> list[Submission]:
        """Tell which of a group must not be written to, by what was learnt before."""
        out = self._out
        return [item for item in group if item.opted_out or (out and number_key(item.recipient) in out)]

    def _refresh(self) -> bool:
        """Ask the store unless its last answer is fresh."""
        age_s = self._clock() - self._asked_at
        if age_s < SOON_S:
            return True
        if age_s < FRESH_S:
            if self._turn.acquire(blocking=False):
                try:
                    self._ask()
                except StoreUnavailable as exc:
                    # Not told yet: whoever finds the answer too old asks patiently.
                    log.debug("opt-outs could not be looked up: %s", exc)
                finally:
                    self._turn.release()
            return True
        while not self._turn.acquire(timeout=STOP_POLL_S):
            if self._halt:
                return False
        try:
            return self._ask_patiently()
        finally:
            self._turn.release()

    def _ask_patiently(self) -> bool:
        if self._halt:
            return False
        if self._clock() - self._asked_at >= FRESH_S:
            for attempt in Retrying(
                retry=retry_if_exception_type(StoreUnavailable),
                stop=stop_after_attempt(ASK_ATTEMPTS),
                wait=wait_exponential(multiplier=ASK_PAUSE_S),
                reraise=True,
            ):
                with attempt:
                    self._ask()
        return True

    def _ask(self) -> None:
        asked_at = self._clock()
        news = self._store.opt_out_news(self._scope, self._batch_id, self._change_no)
        if news.out or news.back:
            self._out = (self._out - news.back) | news.out
        self._change_no = news.change_no
        # Last: who finds it fresh finds the rest.
        self._asked_at = asked_at


def suppressed(items: Sequence[Submission]) -> tuple[Settlement, ...]:
    """Settle what is not sent for its recipients' sake."""
    return tuple(
        Settlement(
            submission_id=item.id,
            transaction_id=item.transaction_id,
            state=State.SUPPRESSED,
            status_text=OPTED_OUT_TEXT,
        )
        for item in items
    )
