"""The door through which a task takes messages from handsets: claimed, handled, acknowledged."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, overload

from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_delay, wait_exponential

from airflow_provider_mm7.defaults import INBOUND_LIMIT
from airflow_provider_mm7.exceptions import InputError, MediaChanged, StoreError, StoreUnavailable
from airflow_provider_mm7.hooks.inbound import InboundMedia, InboundMMS
from airflow_provider_mm7.hooks.ledger import open_ledger
from airflow_provider_mm7.store import Holder, InboundFilter, Store

if TYPE_CHECKING:
    from airflow_provider_mm7.media import MediaSource

#: Shorter leases would end while the store is merely slow.
MIN_LEASE_S: Final = 5.0

log = logging.getLogger(__name__)


class ClaimedMessages(Sequence[InboundMMS]):
    """The messages that a task has claimed: a sequence, oldest first but for those that come again, which are last.

    Made by :meth:`airflow_provider_mm7.hooks.mm7.MM7Hook.claim_inbound`.
    """

    def __init__(
        self,
        store: Store,
        consumer: str,
        messages: Sequence[InboundMMS],
        *,
        token: str,
        aws_conn_id: str | None,
        given_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.consumer = consumer
        self._store = store
        self._messages = tuple(messages)
        self._token = token
        self._given_back = given_back
        self._aws_conn_id = aws_conn_id
        self._lock = threading.Lock()
        self._held = {message.id for message in messages}

    @overload
    def __getitem__(self, index: int) -> InboundMMS: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[InboundMMS]: ...
    def __getitem__(self, index: int | slice) -> InboundMMS | Sequence[InboundMMS]:
        return self._messages[index]

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def held(self) -> frozenset[int]:
        """Ids of those that are neither acknowledged nor given back yet."""
        with self._lock:
            return frozenset(self._held)

    def ack(self, message: InboundMMS) -> None:
        """Be done with one message now: it will not come again, whatever becomes of the others."""
        self._settle({message.id}, done=True)

    def release(self, message: InboundMMS) -> None:
        """Give one message back: it will come again, though the others are handled."""
        self._settle({message.id}, done=False)

    def read(self, media: InboundMedia) -> bytes:
        """Read the bytes of a picture, sound or film, and hold them against their digest.

        :raises MediaError: they are not there, may not be read, or are not what was received.
        :raises MediaUnavailable: the object store did not answer; try again.
        """
        body = self._source.fetch(media.uri, limit=media.size).body
        if hashlib.sha256(body).hexdigest() != media.sha256:
            raise MediaChanged(
                media.uri, "is not what was received: its sha256 is another one", "Look who writes to this folder"
            )
        return body

    def settle_all(self, *, done: bool) -> None:
        """Acknowledge, or give back, what is still held."""
        self._settle(set(self.held), done=done)

    def renew(self, lease_s: float) -> None:
        """Say that the task still works on what is still held."""
        held = self.held
        kept = self._store.extend_inbound(self.consumer, held, token=self._token, lease_s=lease_s)
        # Some may have been settled meanwhile.
        lost = len(held & self.held) - kept
        if lost > 0:
            log.warning("%d messages of consumer %s were handed to another task", lost, self.consumer)

    def _settle(self, ids: set[int], *, done: bool) -> None:
        with self._lock:
            chosen = ids & self._held
        if not chosen:
            return
        work = self._store.ack_inbound if done else self._store.release_inbound
        settled = work(self.consumer, chosen, token=self._token)
        with self._lock:
            self._held -= chosen
        if not done:
            self._given_back()
        if settled < len(chosen):
            log.warning(
                "%d of %d messages of consumer %s were handed to another task, since their lease had ended",
                len(chosen) - settled,
                len(chosen),
                self.consumer,
            )

    @cached_property
    def _source(self) -> MediaSource:
        # Imported late: a task that looks at no media needs no boto3.
        from airflow_provider_mm7.hooks.media import open_media_source

        return open_media_source(aws_conn_id=self._aws_conn_id, max_bytes=0)


@contextmanager
def claimed(
    consumer: str,
    wanted: InboundFilter,
    *,
    limit: int,
    lease_s: float,
    max_attempts: int | None = None,
    aws_conn_id: str | None = "aws_default",
) -> Iterator[ClaimedMessages]:
    """Hold messages for the time of a block. See :meth:`airflow_provider_mm7.hooks.mm7.MM7Hook.claim_inbound`."""
    if isinstance(limit, bool) or limit < 1:
        raise InputError("limit", f"{limit!r} is not a number of messages", f"The default is {INBOUND_LIMIT}")
    if not lease_s >= MIN_LEASE_S:
        raise InputError("lease_s", f"{lease_s!r} is too short", f"Give at least {MIN_LEASE_S:g} seconds")
    if max_attempts is not None and (isinstance(max_attempts, bool) or max_attempts < 1):
        raise InputError("max_attempts", f"{max_attempts!r} is not a number of attempts", "Give None for no limit")
    store, holder = open_ledger(), current_holder()

    def park() -> None:
        _park(store, consumer, wanted, holder, max_attempts)

    park()
    found = store.claim_inbound(
        consumer, wanted, holder=holder, limit=limit, lease_s=lease_s, max_attempts=max_attempts
    )
    messages = ClaimedMessages(
        store,
        consumer,
        [InboundMMS.of(one.inbound, attempts=one.attempts) for one in found],
        token=holder.token,
        aws_conn_id=aws_conn_id,
        given_back=park,
    )
    if found:
        log.info("consumer %s: %d messages, ids %d to %d", consumer, len(found), *_ends(messages))
    try:
        with _renewed(messages, lease_s):
            yield messages
    except BaseException:
        _give_back(messages)
        raise
    # The work is done: an answer that is not recorded now would make it be done again.
    for attempt in Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_exponential(multiplier=0.5, max=10),
        stop=stop_after_delay(lease_s),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    ):
        with attempt:
            messages.settle_all(done=True)


def _park(store: Store, consumer: str, wanted: InboundFilter, holder: Holder, max_attempts: int | None) -> None:
    """Give up on messages that were handed out often enough, and say so."""
    if max_attempts is None:
        return
    parked = store.park_inbound(consumer, wanted, holder=holder, max_attempts=max_attempts)
    if parked:
        log.error(
            "consumer %s: %d messages were not handled in %d attempts and are parked, ids %s. "
            "Hand them back: airflow mm7 inbound --consumer %s --hand-back ID",
            consumer,
            len(parked),
            max_attempts,
            ", ".join(map(str, parked[:20])) + (", ..." if len(parked) > 20 else ""),
            consumer,
        )


def current_holder() -> Holder:
    """Say who claims: the running task, all its tries being one holder; outside of a task, this call."""
    ti = running_task()
    if ti is None:
        name = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4()}"
        return Holder(name=name, token=name)
    name = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"
    # Each try of a task has an id of its own.
    return Holder(name=name, token=f"{ti.id}/{ti.try_number}")


def running_task() -> Any | None:
    """Give the task instance that runs in this process; None outside of tasks."""
    from airflow.sdk import get_current_context

    try:
        return get_current_context()["ti"]
    except RuntimeError:
        return None


def _ends(messages: Sequence[InboundMMS]) -> tuple[int, int]:
    ids = [message.id for message in messages]
    return min(ids), max(ids)


def _give_back(messages: ClaimedMessages) -> None:
    try:
        messages.settle_all(done=False)
    except StoreError as exc:
        # The error of the block says more; the lease ends by itself.
        log.warning("Messages of consumer %s come again when their lease ends: %s", messages.consumer, exc)


@contextmanager
def _renewed(messages: ClaimedMessages, lease_s: float) -> Iterator[None]:
    """Renew the lease until the block ends, whatever the block waits for."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(lease_s / 3):
            try:
                messages.renew(lease_s)
            except StoreError as exc:
                log.warning("The lease of messages of consumer %s was not renewed: %s", messages.consumer, exc)

    thread = threading.Thread(target=renew, name="mm7-inbound-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
