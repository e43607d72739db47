"""What is measured, and what came out, as values that travel between processes as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way to send, for one process.

    :ivar way: its name in :func:`tests.benchmarks.ways.make`.
    :ivar url: of the MMSC.
    :ivar messages: sent while the clock runs.
    :ivar warmup: sent before.
    :ivar image_bytes: of the picture in every message, before encoding.
    :ivar ledger: SQLAlchemy URL; empty: none.
    :ivar options: what only some ways understand.
    :ivar steps: whether to time where the CPU goes, which costs some.
    """

    way: str
    url: str = ""
    messages: int = 1
    warmup: int = 1
    connections: int = 1
    image_bytes: int = 100_000
    ledger: str = ""
    options: dict[str, str] = field(default_factory=dict)
    steps: bool = False

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a process measured of itself while it sent.

    :ivar prepare_s: seconds to check numbers and encode the picture, before the first message; part of no rate.
    :ivar prepare_cpu_s: CPU seconds of the same.
    :ivar elapsed_s: seconds from the first message to the last answer, recorded.
    :ivar user_s: CPU seconds in user mode in that time; ``system_s``: in the kernel.
    :ivar rss_before_bytes: resident memory before the first message of the measurement.
    :ivar rss_peak_bytes: the most while it ran.
    :ivar counts: what else was counted, by name.
    :ivar steps: where the CPU went, if that was asked for: step, microseconds and calls a message.
    """

    messages: int
    prepare_s: float
    prepare_cpu_s: float
    elapsed_s: float
    user_s: float
    system_s: float
    rss_before_bytes: int
    rss_peak_bytes: int
    counts: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a message, of the sending process and its children."""
        return (self.user_s + self.system_s) / self.messages * 1e6

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From JSON."""
        return cls(**json.loads(text))
