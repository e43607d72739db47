"""Copies of the media that are sent, kept beside the sending, which neither waits for them nor fails with them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from airflow_provider_mm7.exceptions import StoreError
from airflow_provider_mm7.media import MediaSink
from airflow_provider_mm7.media.cache import BoundedCache
from airflow_provider_mm7.protocol import Part
from airflow_provider_mm7.sending.record import is_text, text_of
from airflow_provider_mm7.store import SentMedia, Store

#: Bytes of media that wait to be copied; of what comes while more wait, no copy is kept.
WAITING_BYTES: Final = 32 * 1024 * 1024
#: Seconds that the end of a sending waits for its last copies.
PATIENCE_S: Final = 5.0
#: Objects of a batch that are known to be kept; one that fell out is kept again, in its own place.
_KNOWN: Final = 10_000
#: Objects recorded in one commit.
_GROUP: Final = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """A medium on its way.

    :ivar body: None where no copy is to be kept.
    """

    media: SentMedia
    body: bytes | None


class Keeper:
    """Keeps a copy of each different object that one sending sends, and records it in the ledger.

    :meth:`take` may be called by any thread at any time; nothing is written before :meth:`begin`.

    :param sink: where copies go, under their digests; None: none are kept.
    """

    def __init__(self, sink: MediaSink | None) -> None:
        self._sink = sink
        self._news = threading.Condition()
        self._waiting: deque[_Taken] = deque()
        self._waiting_bytes = 0
        self._ended = False
        self._known: BoundedCache[str, bool] = BoundedCache(most=_KNOWN)
        self._copies: BoundedCache[str, str | None] = BoundedCache(most=_KNOWN)
        self._thread: threading.Thread | None = None
        self._warned = False

    @property
    def keeps(self) -> bool:
        """Whether copies are kept at all."""
        return self._sink is not None

    def take(self, part: Part, *, key: str | None = None) -> None:
        """Keep a medium, sometime soon.

        :param part: with its body.
        :param key: under which its contents name it; None: its digest.
        """
        digest = sha256(part.body).hexdigest()
        self._known.get(key or digest, lambda key: self._put(part, key, digest))

    def begin(self, store: Store, batch_id: str) -> None:
        """Write what was taken and will be, beside the caller."""
        with self._news:
            # A daemon: a store of media that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, args=(store, batch_id), name="mm7-keeper", daemon=True)
            if self._waiting:
                self._thread.start()

    def finish(self) -> None:
        """Wait a little for what is not written yet."""
        with self._news:
            self._ended = True
            self._news.notify()
        if self._thread is None or self._thread.ident is None:
            # Nothing was taken, or the sending did not begin.
            return
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._warn("they are not written yet")

    def _put(self, part: Part, key: str, digest: str) -> bool:
        media = SentMedia(
            key=key,
            name=part.name or "",
            content_type=part.content_type,
            size=len(part.body),
            sha256=digest,
            text=text_of(part),
        )
        with self._news:
            copied = self.keeps and not is_text(part.content_type)
            if copied and self._waiting_bytes + len(part.body) > WAITING_BYTES:
                copied = False
                self._warn("more of them come than can be written")
            self._waiting_bytes += len(part.body) if copied else 0
            self._waiting.append(_Taken(media=media, body=part.body if copied else None))
            self._news.notify()
            if self._thread is not None and self._thread.ident is None:
                self._thread.start()
        return True

    def _work(self, store: Store, batch_id: str) -> None:
        while group := self._next():
            done = [replace(one.media, uri=self._copy(one)) for one in group]
            try:
                store.record_media(batch_id, done)
            except StoreError as exc:
                self._warn(str(exc))

    def _next(self) -> list[_Taken]:
        """Give what waits; nothing when all is done."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ended)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _GROUP))]

    def _copy(self, one: _Taken) -> str | None:
        body = one.body
        if body is None:
            return None
        uri = self._copies.get(one.media.sha256, lambda digest: self._store(digest, body, one.media.content_type))
        with self._news:
            self._waiting_bytes -= len(body)
        return uri

    def _store(self, digest: str, body: bytes, content_type: str) -> str | None:
        if self._sink is None:
            return None
        try:
            return self._sink.store(f"{digest[:2]}/{digest}", body, content_type)
        except Exception as exc:
            # Whatever it is: of this batch no more is tried, or each object would wait for the same time-out.
            self._sink = None
            # Foreign texts may quote what they are about.
            self._warn(str(exc) if isinstance(exc, StoreError) else type(exc).__name__)
            return None

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("not of all that is sent a copy is kept for the MMS page: %s", why)


@contextmanager
def keeping(keeper: Keeper | None, store: Store, batch_id: str, media: Iterable[Part]) -> Iterator[None]:
    """Keep copies while a batch is sent.

    :param media: that all its messages share.
    """
    if keeper is None:
        yield
        return
    for part in media if keeper.keeps else ():
        keeper.take(part)
    keeper.begin(store, batch_id)
    try:
        yield
    finally:
        keeper.finish()
