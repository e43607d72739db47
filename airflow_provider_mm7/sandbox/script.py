"""What is played next: forced answers first, then what the recipients ask for."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Any

from airflow_provider_mm7.protocol import number_key
from airflow_provider_mm7.sandbox.scenarios import ORDINARY, Behaviour, Scenario, scenario_of_name, scenario_of_number

#: Forced answers that may wait.
MAX_SCRIPT = 100_000
_FIELDS = frozenset(
    {"code", "status_code", "status", "http_status", "http", "retry_after", "details", "delay_s", "times"}
)


class Script:
    """Forced answers for the next requests, and the counters of recipients that misbehave only the first times."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Scenario] = deque()
        self._seen: dict[str, int] = {}

    def extend(self, items: list[Scenario]) -> int:
        """Queue forced answers.

        :return: how many wait now.
        :raises ValueError: too many.
        """
        with self._lock:
            if len(self._queue) + len(items) > MAX_SCRIPT:
                raise ValueError(f"at most {MAX_SCRIPT} answers can wait")
            self._queue.extend(items)
            return len(self._queue)

    def clear(self) -> None:
        """Drop forced answers and forget how often anyone was played to."""
        with self._lock:
            self._queue.clear()
            self._seen.clear()

    def waiting(self) -> list[str]:
        """Names of the forced answers that wait."""
        with self._lock:
            return [one.name for one in self._queue]

    def forced(self) -> Scenario | None:
        """Take the next forced answer, if one waits."""
        with self._lock:
            return self._queue.popleft() if self._queue else None

    def turn_of(self, number: str, scenario: Scenario) -> Scenario:
        """What a recipient plays this time: itself, or (after ``times`` requests) an ordinary number."""
        if not scenario.times:
            return scenario
        key = number_key(number)
        with self._lock:
            seen = self._seen.get(key, 0)
            self._seen[key] = 0 if seen >= scenario.times else seen + 1
        return replace(ORDINARY, name=scenario.name) if seen >= scenario.times else scenario

    def choose(self, recipients: tuple[str, ...]) -> Scenario:
        """The answer to a request for these recipients: the first that wants no plain success decides."""
        played = [(number, scenario_of_number(number)) for number in recipients]
        for number, scenario in played:
            if scenario.behaviour is not Behaviour.ANSWER or scenario.status_code != 1000:
                return self.turn_of(number, scenario)
        return next((scenario for _, scenario in played if scenario is not ORDINARY), ORDINARY)


def parse_script(items: Any) -> list[Scenario]:
    """Forced answers from JSON: ``[{"code": "0902"}, {"status_code": 2002, "times": 3}, {"http_status": 503}]``.

    :raises ValueError: what is not understood.
    """
    if isinstance(items, dict):
        items = [items]
    if not isinstance(items, list):
        raise ValueError("a list of objects is needed")  # noqa: TRY004  # one error for whatever JSON came
    script: list[Scenario] = []
    for item in items:
        if not isinstance(item, dict) or not item.keys() <= _FIELDS:
            raise ValueError(f"each item is an object with some of: {', '.join(sorted(_FIELDS))}")
        times = item.get("times", 1)
        if not isinstance(times, int) or not 1 <= times <= MAX_SCRIPT:
            raise ValueError("times is a positive number")
        script += [_parse_item(item)] * times
    return script


def _parse_item(item: dict[str, Any]) -> Scenario:
    status = item.get("status_code", item.get("status"))
    http_status = item.get("http_status", item.get("http"))
    scenario = ORDINARY
    if "code" in item:
        found = scenario_of_name(str(item["code"]))
        if found is None:
            raise ValueError(f"no scenario {str(item['code'])[:40]!r}")
        scenario = replace(found, times=0)
    elif http_status is not None:
        scenario = replace(
            ORDINARY,
            name=f"http-{http_status}",
            behaviour=Behaviour.HTTP_STATUS,
            http_status=_number(http_status, 200, 599),
        )
    elif status is not None:
        code = _number(status, 1000, 9999)
        scenario = replace(ORDINARY, name=f"status-{code}", status_code=code)
    retry_after = item.get("retry_after")
    return replace(
        scenario,
        retry_after=scenario.retry_after if retry_after is None else str(int(retry_after)),
        details=item.get("details", scenario.details),
        delay_s=float(item.get("delay_s", scenario.delay_s)),
    )


def _number(value: Any, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).isdigit():
        raise ValueError("a status is a number")
    number = int(value)
    if not lowest <= number <= highest:
        raise ValueError(f"{number} is not between {lowest} and {highest}")
    return number
