"""The fields of a connection that say how opt-outs are read and honoured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.hooks.fields import Fields
from airflow_provider_mm7.protocol.keywords import START_KEYWORDS, STOP_KEYWORDS, parse_keywords

#: What an opt-out is about: all messages over the connection, or all from its sender address over any connection.
OPT_OUT_SCOPES = ("connection", "short_code")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutSettings:
    """The fields, typed and checked.

    :ivar stop_keywords: folded, as :class:`~airflow_provider_mm7.protocol.keywords.Keywords` has them.
    :ivar opt_out_reply: text of the message that confirms an opt-out; None: there is none.
    """

    opt_out_scope: str = OPT_OUT_SCOPES[0]
    stop_keywords: frozenset[str] = STOP_KEYWORDS
    start_keywords: frozenset[str] = START_KEYWORDS
    opt_out_reply: str | None = None

    @classmethod
    def read(cls, extra: Fields) -> Self:
        """Read the four fields.

        :raises ConnectionConfigError: one of them is not usable.
        """
        scope = extra.choice("opt_out_scope", OPT_OUT_SCOPES)
        if scope == "short_code" and extra.text("sender_address") is None:
            raise extra.error(
                "sender_address", "is empty, and opt_out_scope short_code needs it", "Give the short code"
            )
        stop = read_words(extra, "stop_keywords", STOP_KEYWORDS)
        start = read_words(extra, "start_keywords", START_KEYWORDS)
        if both := sorted(stop & start):
            raise extra.error("start_keywords", f"{both[0]!r} ends messages as well", "Take it out of one of the two")
        return cls(
            opt_out_scope=scope,
            stop_keywords=stop,
            start_keywords=start,
            opt_out_reply=extra.text("opt_out_reply"),
        )


def read_words(extra: Fields, field: str, default: frozenset[str]) -> frozenset[str]:
    """Read a set of keywords.

    :raises ConnectionConfigError: it is none.
    """
    try:
        return parse_keywords(extra.raw(field), default, field=field)
    except InputError as exc:
        raise extra.error(field, exc.problem, exc.remedy) from None
