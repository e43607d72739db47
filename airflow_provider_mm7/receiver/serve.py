"""Running a receiver as a process of its own."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

#: Seconds for callbacks under way when the process is asked to end: longer than a body may take and a commit may wait.
SHUTDOWN_S = 60
#: Seconds that an idle connection is kept: MMSCs send reports in bursts over one.
KEEP_ALIVE_S = 60
#: Seconds for which a thread may keep the interpreter lock. At the default of 5 ms the event loop waits behind the
#: writer's statements each time it has let go of the lock; measured, 0.5 ms gave 1.6 times the reports a second.
SWITCH_INTERVAL_S = 0.0005
#: New objects after which garbage is looked for; Python's own number, 700 up to 3.12, is that of a few callbacks.
GARBAGE_OBJECTS = 10_000


def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way.

    :param app: the receiver.
    :param host: address to listen on.
    :param port: TCP port; 0 takes a free one (its number is in the log).
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # What was imported stays: looked through for garbage each time, it held up callbacks for 30 ms. A callback leaves
    # hardly any that reference counts do not free.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=_protocol(),
        # No carrier calls that way.
        ws="none",
        lifespan="on",
        # The receiver logs each callback itself, with what matters.
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    """Return how connections are read."""
    try:
        from airflow_provider_mm7.receiver.heads import BoundedHeads
    except ImportError:
        return "h11"
    return BoundedHeads
