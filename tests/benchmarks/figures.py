"""What is shown: figures that were measured, and the targets that they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure should be.

    :ivar most: whether the bound is the most that is allowed; else it is the least.
    """

    bound: float
    most: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.most else '>='} {self.bound:g}"


def at_least(bound: float) -> Target:
    """Return a target that larger values meet."""
    return Target(bound=bound)


def at_most(bound: float) -> Target:
    """Return a target that smaller values meet."""
    return Target(bound=bound, most=True)


#: By the key of a figure. A figure without a target is there to be compared with.
TARGETS: dict[str, Target] = {
    # A carrier that answers in 50 ms, 100 KB, ledger on.
    "latency/64/capacity": at_least(88),
    "latency/64/naive": at_least(55),
    "latency/64/cpu": at_most(600),
    "latency/128/capacity": at_least(80),
    "latency/128/cpu": at_most(600),
    # No latency, one connection, ledger on.
    "sequential/100/naive": at_least(6),
    "sequential/300/naive": at_least(12),
    "sequential/100/ledger": at_most(25),
    # 1 MB each, from 1 to 64 in flight.
    "memory/growth": at_most(10),
    # One GET and one encoding per distinct object, whatever the number of messages.
    "once/gets": at_most(1),
    "once/encodings": at_most(1),
    # Delivery reports from 32 clients, on the disk as it is, and on one whose fsync takes 2 ms.
    "receiver/sqlite/grouped/parse": at_least(40),
    "receiver/postgresql/grouped/parse": at_least(40),
    "receiver/sqlite/grouped/fsync-2-ms/each": at_least(9),
    "receiver/sqlite/grouped/p99": at_most(50),
    "receiver/postgresql/grouped/p99": at_most(50),
    "receiver/sqlite/grouped/fsync-2-ms/p99": at_most(50),
    "receiver/postgresql/grouped/fsync-2-ms/p99": at_most(50),
    # A batch in one task against one mapped task per message, in a real Airflow.
    "airflow/mapped": at_least(100),
    # 100,000 recipients of a file on S3 against 1,000.
    "csv/growth": at_most(40),
    "hundred-thousand/once": at_least(100_000),
    "hundred-thousand/doubled": at_most(0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    :ivar key: by which :data:`TARGETS` knows it.
    :ivar unit: ``x``, ``%``, ``us``, ``MB`` or empty for a count.
    :ivar values: one a round; of a ratio, both sides are of the same round.
    """

    key: str
    title: str
    unit: str
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def target(self) -> Target | None:
        """What it should be."""
        return TARGETS.get(self.key)

    @property
    def verdict(self) -> str:
        """``met``, ``not met``, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "met" if self.target.met(self.value) else "not met"

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return {
            "key": self.key,
            "title": self.title,
            "unit": self.unit,
            "median": self.value,
            "values": list(self.values),
            "target": str(self.target) if self.target else None,
            "met": self.verdict == "met" if self.target else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a suite found.

    :ivar raw: every measurement, for the file.
    """

    figures: tuple[Figure, ...]
    raw: dict[str, Any]
