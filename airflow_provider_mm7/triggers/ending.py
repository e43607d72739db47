"""When a trigger hands its task back to a worker."""

from __future__ import annotations

import asyncio
from typing import Final

#: Seconds from the start of a trigger to an event on which its task resumes. Until the scheduler has seen the end of
#: the process that deferred, Airflow (3.2 and 3.3) takes that end for one of the resumed task, and fails it.
RESUME_AFTER_S: Final = 5.0


class Resumption:
    """Keeps a trigger that fires at once from overtaking the end of the process that deferred to it."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        """Return when the task may resume."""
        await asyncio.sleep(self._began + RESUME_AFTER_S - asyncio.get_running_loop().time())
