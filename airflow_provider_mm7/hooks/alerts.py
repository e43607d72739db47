"""Alerts through Airflow: few, soon, and each once. What MMSNotifier does, without its being a notifier."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from airflow_provider_mm7.exceptions import MM7Error
from airflow_provider_mm7.hooks.ledger import open_ledger
from airflow_provider_mm7.hooks.mm7 import MM7Hook
from airflow_provider_mm7.hooks.sending import Courier
from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.sending import Draft, SendResult, utc_now
from airflow_provider_mm7.store import AlertLimit, HeldBack, Origin, Store

#: Seconds that an alert may take. Airflow ends a task's process 20 s after the task, callbacks and all
#: (``[core] task_success_overtime``); before a summary stands the wait for others.
TIME_S: Final = 8.0
#: Seconds without another alert held back after which a storm is over, and what it held back is told of.
QUIET_S: Final = 9.0
#: Likewise where a process calls one callback after the other, and can wait for none of those to come: a DAG's.
QUIET_ALONE_S: Final = 1.0
#: Seconds before the end of its process in which a summary must leave, storm or no storm.
RESERVE_S: Final = 6.0
#: Seconds between two looks for newer ones.
LOOK_S: Final = 0.5

log = logging.getLogger(__name__)

#: A picture that a callable made: its bytes, or where it is.
Picture = str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert.

    :ivar identity: what happened: the same is alerted of once to the same people.
    :ivar event: in a word or two.
    :ivar scope: what the limit is for, beside the people: the DAG's id, or a name of the user's.
    :ivar draft: the message, without pictures that are yet to be drawn.
    :ivar draw: makes pictures, once it is known that the alert may leave.
    :ivar alone: whether other callbacks wait for this one.
    :ivar ends_at: when Airflow ends this process; None: not before the callback returns.
    :ivar tell: makes subject and text of a summary.
    """

    identity: tuple[Any, ...]
    event: str
    scope: str
    origin: Origin
    draft: Draft
    tell: Callable[[HeldBack], tuple[str, str]]
    draw: Callable[[], Sequence[Picture]] | None = None
    alone: bool = False
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Hasty(Courier):
    """A courier for whom nobody waits long."""

    def hook(self) -> MM7Hook:
        """Return the hook of the connection, its time-outs within an alert's time."""
        hook = super(_Hasty, self).hook()
        settings = hook.settings
        hook.settings = replace(
            settings,
            connect_timeout_s=min(settings.connect_timeout_s, TIME_S / 2),
            read_timeout_s=min(settings.read_timeout_s, TIME_S),
        )
        return hook


class Alarm:
    """Sends alerts over a connection within a limit.

    :param limit: None: all of them.
    """

    def __init__(self, *, mm7_conn_id: str, aws_conn_id: str | None, limit: AlertLimit | None) -> None:
        self._courier = _Hasty(mm7_conn_id=mm7_conn_id, aws_conn_id=aws_conn_id)
        self._limit = limit

    def raise_(self, alert: Alert) -> Vigil | None:
        """Send an alert, unless it was asked for before or its scope has sent enough.

        :return: where it was held back and somebody is to tell of it: the watch that is to be kept until then.
        :raises MM7Error: it was not sent.
        """
        store = open_ledger()
        people = sorted({number_key(number) for number in alert.draft.to})
        whom = _digest([self._courier.mm7_conn_id, *people])
        scope = f"{self._courier.mm7_conn_id}/{alert.scope}/{whom[:16]}"
        key = f"alert/{'/'.join(str(part) for part in alert.identity if part is not None)}/{whom[:16]}"
        ruling = store.ask_alert(scope, key, event=alert.event, limit=self._limit)
        if ruling.send:
            self._send(store, key, alert, ruling.held_back)
            return None
        log.warning("alert held back: %s has sent as many as it may", scope)
        if ruling.known or not ruling.summary_due:
            return None
        return Vigil(alarm=self, store=store, scope=scope, alert=alert, mine=ruling.alert_id)

    def tell(self, store: Store, scope: str, alert: Alert, newest: int) -> None:
        """Send the summary of what was held back, unless somebody else does."""
        taken = store.take_summary(scope, newest=newest, limit=self._limit) if self._limit is not None else None
        if taken is None:
            return
        key, held_back = taken
        subject, text = alert.tell(held_back)
        draft = replace(alert.draft, subject=subject, text=(text,), media=(), smil="auto")
        with _noted(store, key):
            self._post(f"alert/{scope}/{key}", draft, alert.origin)

    def _send(self, store: Store, key: str, alert: Alert, held_back: HeldBack) -> None:
        draft = alert.draft
        if held_back.count:
            draft = replace(draft, text=(*draft.text, alert.tell(held_back)[1]))
        with _noted(store, key), tempfile.TemporaryDirectory(prefix="mm7-alert-") as folder:
            self._post(key, replace(draft, media=(*draft.media, *self._drawn(alert, Path(folder)))), alert.origin)

    def _drawn(self, alert: Alert, folder: Path) -> Iterator[str]:
        try:
            pictures = alert.draw() if alert.draw is not None else ()
        except Exception:
            log.exception("the picture of an alert could not be made; the alert goes without it")
            return
        for index, picture in enumerate(pictures):
            if isinstance(picture, str):
                yield picture
            else:
                path = folder / f"picture{index}"
                path.write_bytes(picture)
                yield str(path)

    def _post(self, key: str, draft: Draft, origin: Origin) -> None:
        ends = time.monotonic() + TIME_S
        try:
            prepared = self._courier.prepare(draft)
        except Exception as exc:
            if not draft.media:
                raise
            # Whatever is wrong with a picture, people are to know what happened.
            log.warning(
                "the alert goes without its picture: %s", exc if isinstance(exc, MM7Error) else type(exc).__name__
            )
            prepared = self._courier.prepare(replace(draft, media=(), smil="auto"))
        _check(self._courier.send(prepared, key=key, origin=origin, stopped=lambda: time.monotonic() > ends))


class _NotDelivered(MM7Error):
    """The MMSC did not take an alert; whether it may be told of later.

    :param later: nothing was sent, and nothing speaks against it.
    """

    later: bool


def _check(result: SendResult) -> None:
    counts = result.summary
    if counts.accepted == counts.total:
        return
    said = f"; {result.halted_by}" if result.halted_by else ""
    raise _NotDelivered(
        f"of {counts.total} recipients of the alert, {counts.accepted} were accepted, {counts.refused} refused, "
        f"{counts.suppressed} want no messages, {counts.unknown} are unknown, {counts.planned} were not tried{said}",
        later=counts.planned == counts.total,
    )


@contextmanager
def _noted(store: Store, key: str) -> Iterator[None]:
    """Note whether it was sent; what was not is counted among what is to be told later."""
    try:
        yield
    except Exception as exc:
        if not isinstance(exc, _NotDelivered) or exc.later:
            store.alert_not_sent(key)
        else:
            store.alert_sent(key)
        raise
    store.alert_sent(key)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


# -- telling of what was held back -----------------------------------------------------------------------------------


class Vigil:
    """Waits until no alert of a scope was held back for a while, then tells how many were.

    Whoever sees a newer one leaves that to the process that held it back. So the last one of a storm tells of them all,
    and no process stays longer than it must.
    """

    def __init__(self, *, alarm: Alarm, store: Store, scope: str, alert: Alert, mine: int) -> None:
        self._alarm, self._store, self._scope, self._alert = alarm, store, scope, alert
        self._newest = mine
        self._quiet_s = QUIET_ALONE_S if alert.alone else QUIET_S
        ends_in = math.inf if alert.ends_at is None else (alert.ends_at - utc_now()).total_seconds()
        self._ends = time.monotonic() + ends_in - RESERVE_S
        self._until = min(time.monotonic() + self._quiet_s, self._ends)

    def step(self, *, stay: bool = False) -> float | None:
        """Look, and tell when it is time.

        :param stay: look out for newer ones too.
        :return: seconds after which to look again; None: this watch is over.
        :raises MM7Error: what was held back could not be told of.
        """
        newest = self._store.newest_held_alert(self._scope)
        if newest != self._newest:
            if not stay or not newest:
                return None
            self._newest, self._until = newest, min(time.monotonic() + self._quiet_s, self._ends)
        left = self._until - time.monotonic()
        if left > 0:
            return min(left, LOOK_S)
        self._alarm.tell(self._store, self._scope, self._alert, self._newest)
        return None

    def keep(self, *, stay: bool = False) -> None:
        """Wait here, and tell."""
        while (pause := self.step(stay=stay)) is not None:
            time.sleep(pause)

    def keep_aside(self) -> None:
        """Wait in a thread, one for each scope of this process, which the process ends after."""
        with _watching_lock:
            if self._scope in _watching:
                return
            _watching.add(self._scope)
        threading.Thread(target=self._keep_aside, name="mm7-alerts").start()

    def _keep_aside(self) -> None:
        try:
            self.keep(stay=True)
        except Exception:
            log.exception("how many alerts were held back could not be told")
        finally:
            with _watching_lock:
                _watching.discard(self._scope)


_watching: set[str] = set()
_watching_lock = threading.Lock()


def _after_fork() -> None:
    global _watching_lock
    _watching_lock = threading.Lock()
    _watching.clear()


os.register_at_fork(after_in_child=_after_fork)


def ends_with_the_callback() -> bool:
    """Whether Airflow ends this process without a word once its callbacks have returned, threads and all."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None
