"""How long to wait for an MMSC that takes nothing now, and when it has been enough.

The defaults let a batch sit out a restart of 20 s, and a message to an MMSC that is gone fail in 21 to 23 s, with tries
0, 1, 3, 7, 14 and 21 s after the first. Airflow's retries, with pauses of minutes, are the second line.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_provider_mm7.exceptions import MM7Error
from airflow_provider_mm7.sending.outcome import Outcome
from airflow_provider_mm7.store import Settlement, State

#: Seconds before the second try: a request that was dropped is taken a moment later. Doubled by each further failure.
FIRST_PAUSE_S = 1.0
#: Seconds of the longest pause of our own: an MMSC that is back is found soon.
LONGEST_PAUSE_S = 7.0
#: Each pause is longer by up to this share, so that tasks that failed together do not come back together.
JITTER = 0.1
#: Tries of one message in one run; as many as the pauses of an outage make.
TRIES = 6
#: Failures in a row after which the MMSC counts as down: two may be chance.
UNREACHED_LIMIT = 3
#: Probes of an MMSC that is down, in a row, after which the run ends.
PROBES = 5
#: No probe begins later than so many seconds after the first failure, where each takes a connect time-out to fail.
ENOUGH_S = 25.0
#: Seconds of the longest Retry-After for which a task keeps its worker.
LONGEST_WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The constants above, as one value."""

    first_pause_s: float = FIRST_PAUSE_S
    longest_pause_s: float = LONGEST_PAUSE_S
    jitter: float = JITTER
    tries: int = TRIES
    unreached_limit: int = UNREACHED_LIMIT
    probes: int = PROBES
    enough_s: float = ENOUGH_S
    longest_wait_s: float = LONGEST_WAIT_S

    def pause_s(self, before: int) -> float:
        """Return how long to wait.

        :param before: pauses before this one.
        :return: seconds.
        """
        pause = min(self.first_pause_s * 2.0**before, self.longest_pause_s)
        return pause * (1 + self.jitter * random.random())  # noqa: S311  # chance, no secret


#: What a run has that is not told otherwise.
PATIENCE = Patience()


def default_patience() -> Patience:
    """Return :data:`PATIENCE`."""
    return PATIENCE


def asked_s(failure: MM7Error | None) -> float:
    """Return the seconds that the MMSC asked to wait (Retry-After), 0 when it did not."""
    return getattr(failure, "retry_after_s", None) or 0.0


class Tries:
    """Counts the tries of messages that have to be tried again in this run."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failed: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Whether anything was postponed."""
        return bool(self._failed)

    @property
    def gave_up(self) -> bool:
        """Whether a message had its last try."""
        return any(failed >= self._patience.tries for failed in self._failed.values())

    def postpone(self, outcome: Outcome) -> Iterable[Settlement]:
        """Say when each of a group is due again; after its last try, not before another run asks for it."""
        if not outcome.passing:
            return outcome.settlements
        asked = asked_s(outcome.failure)
        return [self._postponed(item, asked) if item.state is State.RETRY else item for item in outcome.settlements]

    def _postponed(self, item: Settlement, asked: float) -> Settlement:
        failed = self._failed[item.submission_id] = self._failed.get(item.submission_id, 0) + 1
        if failed >= self._patience.tries or asked > self._patience.longest_wait_s:
            return item
        return replace(item, retry_after_s=max(self._patience.pause_s(failed - 1), asked))
