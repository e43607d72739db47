"""The circuit breaker: what keeps an MMSC that takes nothing from being hammered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from airflow_provider_mm7.exceptions import MM7Error, OutcomeUnknown
from airflow_provider_mm7.sending.outcome import Outcome, may_be_its_own
from airflow_provider_mm7.sending.patience import Patience, asked_s

log = logging.getLogger(__name__)


class Circuit:
    """Told what became of each exchange, tells whether others may leave. Safe to use from many threads.

    .. code-block:: text

        closed ── failures in a row, or a Retry-After ──> open ── pause ──> one probe ── fails ──> open, longer
           ^                                                                   │                    │
           └──────────────────────────── an answer <───────────────────────────┘   probes used up: halted

    A failure is whatever says that nothing is taken now, and passes by itself. An answer is any that shows the MMSC at
    work, a refusal too; one to a request that left before the circuit opened closes it as well, but never cuts
    short a pause that the MMSC asked for. A message that cannot be made tells nothing.

    :param doubt_limit: outcomes in doubt, one after another, after which all the others would be as well.
    :param clock: monotonic, in seconds.
    """

    def __init__(self, patience: Patience, *, doubt_limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        #: Why the run ends early; None while it does not.
        self.halted_by: MM7Error | None = None
        #: From when a probe may leave, None while the circuit is closed.
        self.probe_at: float | None = None
        self._patience = patience
        self._doubt_limit = doubt_limit
        self._clock = clock
        self._lock = threading.Lock()
        #: Why a message was set aside that is not sent in this run: the first such error.
        self.set_aside: MM7Error | None = None
        self._probing = False
        self._probes = 0
        self._failures = 0
        self._doubts = 0
        self._asides = 0
        self._failing_since = 0.0
        self._held_until = 0.0

    @property
    def closed(self) -> bool:
        """Whether everything may leave."""
        return self.probe_at is None

    @property
    def wants_probe(self) -> bool:
        """Whether it is time for a probe, and none is under way."""
        # Read once: an answer may close the circuit meanwhile.
        moment = self.probe_at
        return moment is not None and not self._probing and self._clock() >= moment

    def begin_probe(self) -> None:
        """Say that a probe is under way; until it has ended no other is."""
        self._probing = True

    def learn(self, outcome: Outcome, *, probe: bool) -> bool:
        """Take note of what became of an exchange.

        :param probe: whether it was the probe.
        :return: whether the run is to end, for the reason in :attr:`halted_by`.
        """
        failure = outcome.failure
        with self._lock:
            if probe:
                self._probing = False
            # While it was under way, an answer to another request may have closed the circuit.
            probe = probe and not self.closed
            if failure is None:
                if not outcome.untried:
                    self._answered()
            elif outcome.halts:
                self._give_up(failure)
            elif outcome.passing:
                self._failed(failure, probe=probe)
            elif isinstance(failure, OutcomeUnknown):
                self._doubted(failure, probe=probe)
            elif may_be_its_own(failure):
                self._aside(failure)
            return self.halted_by is not None

    def _answered(self) -> None:
        self._doubts = self._asides = 0
        if self.probe_at is None:
            self._failures = 0
        elif self._clock() >= self._held_until:
            log.info("the MMSC takes messages again")
            self.probe_at, self._failures, self._probes = None, 0, 0

    def _failed(self, failure: MM7Error, *, probe: bool) -> None:
        now, asked = self._clock(), asked_s(failure)
        self._doubts = 0
        if asked > self._patience.longest_wait_s:
            self._give_up(_asks_for_too_much(failure, asked))
            return
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if asked:
            # What it asked for does not count as time in which it failed.
            self._held_until = self._failing_since = max(self._held_until, now + asked)
        if probe:
            self._probe_failed(failure)
        elif asked or (self.closed and self._failures >= self._patience.unreached_limit):
            self._open_until(now + self._patience.pause_s(0), failure)

    def _doubted(self, failure: MM7Error, *, probe: bool) -> None:
        self._doubts += 1
        if self._doubts >= self._doubt_limit:
            self._give_up(failure)
        elif probe:
            self._probe_failed(failure)

    def _aside(self, failure: MM7Error) -> None:
        self.set_aside = self.set_aside or failure
        self._asides += 1
        if self._asides >= self._doubt_limit:
            self._give_up(failure)

    def _probe_failed(self, failure: MM7Error) -> None:
        self._probes += 1
        moment = self._clock() + self._patience.pause_s(self._probes)
        if self._probes >= self._patience.probes or moment - self._failing_since > self._patience.enough_s:
            self._give_up(failure)
        else:
            self._open_until(moment, failure)

    def _open_until(self, moment: float, failure: MM7Error) -> None:
        moment = max(moment, self._held_until)
        if self.probe_at is None or moment > self.probe_at:
            log.warning("nothing is sent for %.1f s: %s", moment - self._clock(), str(failure))
            self.probe_at = moment

    def _give_up(self, reason: MM7Error) -> None:
        self.halted_by = self.halted_by or reason


def _asks_for_too_much(failure: MM7Error, asked: float) -> MM7Error:
    until = datetime.now(UTC) + timedelta(seconds=asked)
    text = f"{failure}; it asks to wait {asked:.0f} s, until {until:%Y-%m-%d %H:%M:%S} UTC"
    return type(failure)(text, **vars(failure))
