"""Why messages did not arrive."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mm7.pages.tally import outcome_of, percent, refusal
from airflow_provider_mm7.protocol import Outcome
from airflow_provider_mm7.store import State
from airflow_provider_mm7.store.overview import Glance


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A reason, and how many it concerns.

    :ivar share: of all failed and refused ones, in words.
    :ivar width: the same, in hundredths.
    :ivar status: delivery status of the messages.
    :ivar code: status code of the refused ones.
    """

    text: str
    n: int
    share: str
    width: float
    status: str | None = None
    code: int | None = None


def causes_of(seen: Glance) -> list[Cause]:
    """Return why messages failed or were refused, the most frequent first."""
    failed = {
        delivery: n
        for (state, delivery), n in seen.counts.items()
        if state == State.ACCEPTED and outcome_of(delivery) is Outcome.FAILED
    }
    refused = sum(n for (state, _), n in seen.counts.items() if state == State.REFUSED)
    codes = dict(seen.refusals)
    # What was refused, and no news tells why.
    rest = refused - sum(codes.values())
    if rest > 0:
        codes[None] = codes.get(None, 0) + rest
    total = sum(failed.values()) + sum(codes.values())
    causes = [
        Cause(text=status, n=n, share=percent(n, total), width=round(100 * n / total, 2), status=status)
        for status, n in failed.items()
    ]
    causes += [
        Cause(text=refusal(code).capitalize(), n=n, share=percent(n, total), width=round(100 * n / total, 2), code=code)
        for code, n in codes.items()
        if n > 0
    ]
    return sorted(causes, key=lambda one: (-one.n, one.text))
