"""An answer that differs from one read before in two values only is not read again.

An MMSC answers the thousandth SubmitReq of a batch with the bytes of the first, but for TransactionID and MessageID.
Both are text between tags: another text there, of characters that mean nothing to XML, changes nothing else of what was
read. All other bytes are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from airflow_provider_mm7.protocol.messages import SubmitRsp
from airflow_provider_mm7.protocol.parts import Envelope

#: What an answer is read as: an Envelope, with whatever else its reader knows of it.
_Answer = TypeVar("_Answer", bound=Envelope)

#: What no XML, no encoding and no white space rule can read in another way.
_PLAIN = re.compile(rb"[A-Za-z0-9@._:+/=-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imprint(Generic[_Answer]):
    """What is the same in all of an MMSC's acceptances.

    :ivar envelope: one of them, as it was read.
    :ivar before: bytes up to the TransactionID.
    :ivar between: from there to the MessageID.
    :ivar after: from there to the end.
    """

    envelope: _Answer
    before: bytes
    between: bytes
    after: bytes

    @classmethod
    def of(cls, body: bytes, envelope: _Answer) -> Imprint[_Answer] | None:
        """Take the imprint of an answer.

        :param body: its bytes.
        :param envelope: what :func:`~airflow_provider_mm7.protocol.load` read from them.
        :return: None where the two values do not stand there once each, between tags, in this order.
        """
        message = envelope.message
        if not isinstance(message, SubmitRsp) or not message.message_id or not envelope.transaction_id:
            return None
        values = (envelope.transaction_id.encode(), message.message_id.encode())
        if envelope.parts or any(not _PLAIN.fullmatch(value) or body.count(value) != 1 for value in values):
            return None
        before, _, tail = body.partition(values[0])
        between, found, after = tail.partition(values[1])
        edges = (before[-1:], between[:1], between[-1:], after[:1])
        if not found or edges != (b">", b"<", b">", b"<"):
            return None
        return cls(envelope=envelope, before=before, between=between, after=after)

    def read(self, body: bytes, transaction_id: str) -> _Answer | None:
        """Read an answer.

        :param transaction_id: that it has to carry.
        :return: None where it differs in anything else than the MessageID.
        """
        expected = transaction_id.encode()
        start = b"".join((self.before, expected, self.between))
        if not body.startswith(start) or not body.endswith(self.after):
            return None
        value = body[len(start) : len(body) - len(self.after)]
        if not _PLAIN.fullmatch(value) or not _PLAIN.fullmatch(expected):
            return None
        message = replace(self.envelope.message, message_id=value.decode())  # type: ignore[call-arg]  # a SubmitRsp
        return replace(self.envelope, message=message, transaction_id=transaction_id)
