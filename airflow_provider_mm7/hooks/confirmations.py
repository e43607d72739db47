"""The one message that confirms an opt-out, sent beside a receiver that has Airflow's connections."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_mm7.exceptions import AddressError, ConnectionConfigError, InputError
from airflow_provider_mm7.protocol import mask
from airflow_provider_mm7.store import BatchSummary, Confirmation, OptOut, Store

if TYPE_CHECKING:
    from airflow_provider_mm7.hooks.sending import Courier

#: Seconds between looks for what is due: one short query of an index.
POLL_S = 2.0
#: Seconds between tries while the MMSC, a connection or the store is not to be had.
RETRY_S = 30.0
#: A confirmation that comes later is one more message to somebody who wanted none.
WORTH_IT = timedelta(hours=1)
#: Confirmations of one look.
AT_ONCE = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one confirmation.

    :ivar again: whether to try again later; otherwise ``became`` holds, None for "none is wanted".
    """

    became: Confirmation | None = None
    again: bool = False


class Confirmer:
    """Sends the confirmations that are due, in a thread of its own.

    Whoever recorded the opt-out, this receiver, another one, or one without Airflow: what is due stands in the store.
    Each has an idempotency key, so that several confirmers, and a confirmer that died, send it at most once.

    :param store: opens (or returns) the store; called in the thread.
    :param poll_s: seconds between looks.
    """

    def __init__(self, store: Callable[[], Store], *, poll_s: float | None = None, retry_s: float = RETRY_S) -> None:
        self._store = store
        self._poll_s = POLL_S if poll_s is None else poll_s
        self._retry_s = retry_s
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        #: (scope, change_no) -> when to try again, monotonic seconds.
        self._not_before: dict[tuple[str, int], float] = {}

    def start(self) -> None:
        """Begin."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopped,), name="mm7-confirm", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a message under way is finished, or given back."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, stopped: threading.Event) -> None:
        away = False
        while not stopped.wait(self._poll_s):
            try:
                self.look()
                away = False
            except Exception as exc:
                if not away:
                    log.warning("confirmations of opt-outs cannot be sent now: %s", type(exc).__name__)
                away = True

    def look(self) -> int:
        """Send what is due now.

        :return: confirmations that need not be looked at again.
        :raises StoreError: the store cannot be used.
        """
        store, done = self._store(), 0
        due = store.due_confirmations(since=datetime.now(UTC) - WORTH_IT, limit=AT_ONCE)
        keys = {(one.scope, one.change_no) for one in due}
        self._not_before = {key: moment for key, moment in self._not_before.items() if key in keys}
        for one in due:
            key = (one.scope, one.change_no)
            if self._stopped.is_set() or self._not_before.get(key, 0.0) > time.monotonic():
                continue
            answer = self._confirm(one)
            if answer.again:
                self._not_before[key] = time.monotonic() + self._retry_s
            else:
                store.settle_confirmation(one, answer.became)
                done += 1
        return done

    def _confirm(self, opt_out: OptOut) -> Answer:
        # Imported when there is something to send: the API server need not know how to send to take reports.
        from airflow_provider_mm7.sending import Draft

        who = f"{mask(opt_out.number)} from {opt_out.conn_id}"
        try:
            courier = _courier(str(opt_out.conn_id))
            text = courier.hook().settings.opt_out_reply
            if text is None:
                return Answer()
            draft = Draft(to=(opt_out.number,), text=(text,), smil="none", delivery_report=False)
            result = courier.send(
                courier.prepare(draft),
                key=f"opt-out/{opt_out.scope}/{opt_out.change_no}",
                stopped=self._stopped.is_set,
                honour_opt_outs=False,
            )
        except AddressError:
            log.warning("the opt-out of %s cannot be confirmed: no number to write to", who)
            return Answer(became=Confirmation.REFUSED)
        except Exception as exc:
            # A connection can be mended, an MMSC comes back. Foreign texts may quote what they are about.
            reason = str(exc) if isinstance(exc, InputError) else type(exc).__name__
            log.warning("the opt-out of %s is not confirmed yet: %s", who, reason)
            return Answer(again=True)
        answer = _answer(result.summary)
        log.info("the opt-out of %s: %s", who, answer.became or "not confirmed yet")
        return answer


def _answer(counts: BatchSummary) -> Answer:
    if counts.accepted:
        return Answer(became=Confirmation.SENT)
    if counts.refused:
        return Answer(became=Confirmation.REFUSED)
    if counts.unknown:
        return Answer(became=Confirmation.UNKNOWN)
    return Answer(again=True)


def _courier(conn_id: str) -> Courier:
    """Return a courier that finds connections as Airflow's servers do."""
    from airflow_provider_mm7.hooks.callbacks import find_connection
    from airflow_provider_mm7.hooks.connection import CONN_TYPE
    from airflow_provider_mm7.hooks.mm7 import MM7Hook
    from airflow_provider_mm7.hooks.sending import Courier

    class ServerHook(MM7Hook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            found = find_connection(conn_id)
            if found is None or found.conn_type != CONN_TYPE:
                raise ConnectionConfigError("mm7_conn_id", f"{conn_id!r} is no connection of mm7", "Define it")
            return found

    class ServerCourier(Courier):
        def hook(self) -> MM7Hook:
            return ServerHook(mm7_conn_id=self.mm7_conn_id)

    return ServerCourier(mm7_conn_id=conn_id, aws_conn_id=None)
