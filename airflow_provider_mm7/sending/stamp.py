"""One payload for many: what differs from recipient to recipient is set into bytes that are made once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from airflow_provider_mm7.protocol import Payload

#: What stands in XML as it is; anything else goes the long way.
_PLAIN = re.compile(r"[A-Za-z0-9+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A payload to one recipient with two places left open: the TransactionID and the number.

    :ivar content_type: of every payload. They share the outer boundary, which occurs in none of them.
    :ivar before: bytes up to the TransactionID.
    :ivar between: from there to the number.
    :ivar after: from there to the end of the first chunk.
    :ivar rest: the other chunks.
    """

    content_type: str
    before: bytes
    between: bytes
    after: bytes
    rest: tuple[bytes, ...]

    @classmethod
    def cut(cls, write: Callable[[str, str], Payload]) -> Self | None:
        """Make a stamp from what a writer writes for a number and a TransactionID that stand for all.

        :param write: makes the payload for (number, TransactionID).
        :return: None where the two do not stand once each, in this order, in the first chunk.
        """
        # Random, so that nothing a user writes can be taken for them.
        transaction_id = str(uuid.uuid4())
        number = f"9{uuid.uuid4().int % 10**14:014}"
        payload = write(number, transaction_id)
        first, *rest = payload.chunks
        before, found, tail = first.partition(transaction_id.encode())
        between, also_found, after = tail.partition(number.encode())
        again = transaction_id.encode() in tail or number.encode() in after
        if not found or not also_found or again:
            return None
        return cls(content_type=payload.content_type, before=before, between=between, after=after, rest=tuple(rest))

    def payload(self, number: str, transaction_id: str) -> Payload | None:
        """Return the payload for a recipient, or None where a value would need escaping."""
        if not _PLAIN.fullmatch(number) or not _PLAIN.fullmatch(transaction_id):
            return None
        first = b"".join((self.before, transaction_id.encode(), self.between, number.encode(), self.after))
        return Payload(content_type=self.content_type, chunks=(first, *self.rest))
