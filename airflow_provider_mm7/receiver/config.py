"""Bounds of the receiver, as values with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

#: 10 MiB: carriers stop at 1.2 MB a message, base64 and several parts included this leaves room.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: Callbacks worked on at once; each may hold one body in memory. A group commit takes up to this many.
MAX_CONCURRENT = 32
#: Seconds for a whole body. Some MMSCs give a callback 10 s in all; a body that takes longer than this is held open.
BODY_TIMEOUT_S = 30.0
#: Seconds for a commit. The MMSCs that give a callback 10 s are told to come again before they give up by themselves;
#: what is committed later is a duplicate then, and acknowledged.
COMMIT_TIMEOUT_S = 8.0
#: Seconds that a looked-up credential (or its absence) is kept: a changed password holds after this time.
CREDENTIALS_TTL_S = 60.0
#: Seconds named in Retry-After. MMSCs come again after minutes whatever it says.
RETRY_AFTER_S = 30
#: Parsing is CPU work under one interpreter lock: more threads would only take turns with the event loop.
PARSE_THREADS = 2
#: A body up to this size is parsed in the event loop: a report has 1 or 2 KB and takes 0.1 ms, a third of what handing
#: it to a thread costs; the worst that fits takes some milliseconds.
PARSE_AT_ONCE_BYTES = 16 * 1024
#: Inbound media wait for object storage, reports do not wait behind them.
MEDIA_THREADS = 8
#: Seconds between two signs of life in the store.
HEARTBEAT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverConfig:
    """What a receiver may spend on callers.

    :ivar max_body_bytes: a longer body is answered 413.
    :ivar max_concurrent: callbacks at once; more are answered 503.
    :ivar body_timeout_s: seconds for a whole body; a slower one is answered 408.
    :ivar commit_timeout_s: seconds for a commit; after a longer wait the answer is 503.
    :ivar credentials_ttl_s: seconds that a look-up of credentials is kept, misses too.
    :ivar retry_after_s: seconds in Retry-After of a 503.
    :ivar heartbeat_s: seconds between two signs of life in the store.
    """

    max_body_bytes: int = MAX_BODY_BYTES
    max_concurrent: int = MAX_CONCURRENT
    body_timeout_s: float = BODY_TIMEOUT_S
    commit_timeout_s: float = COMMIT_TIMEOUT_S
    credentials_ttl_s: float = CREDENTIALS_TTL_S
    retry_after_s: int = RETRY_AFTER_S
    heartbeat_s: float = HEARTBEAT_S
