"""Everything this package raises, as one tree.

.. code-block:: text

    MM7Error
    ├── InputError (ValueError)         what the caller gave cannot be used; nothing was sent
    │   ├── AddressError                a recipient or sender address
    │   ├── ConnectionConfigError       a field of the Airflow connection
    │   ├── RecipientError              one recipient's message cannot be made; the others can
    │   └── MediaError                  a media object; carries its source
    │       ├── MediaNotFound
    │       ├── MediaAccessDenied
    │       ├── MediaChanged            changed while it was read
    │       ├── MediaTooLarge           carries size and limit
    │       ├── MediaTypeUnknown
    │       └── SmilError
    ├── MediaUnavailable                the store of media did not answer: try again; carries its source
    ├── ProtocolError                   what was read is not MM7, or is hostile
    │   ├── MultipartError
    │   ├── XmlError
    │   ├── LimitExceeded               depth, parts or size beyond the bound
    │   └── UnknownOperation            XML, but no MM7 element
    ├── TransportError                  the request failed below MM7
    │   ├── NotSent                     retryable: nothing left, or nothing was accepted
    │   │   ├── NameResolutionFailed
    │   │   ├── ConnectFailed
    │   │   ├── TlsFailed
    │   │   └── ThrottledOrDown         HTTP 409, 429, 5xx without an MM7 answer; carries retry_after_s
    │   ├── AccessDenied                HTTP 401 or 403: credentials, or the IP allow list; permanent
    │   ├── NotAnMM7Server              any other HTTP answer that holds no MM7 message; permanent
    │   └── OutcomeUnknown              sent, and no answer: it may have been accepted
    │       └── AnswerMismatch          an answer came, and it is one to another request
    ├── StatusError                     the MMSC answered, and the status is an error
    │   ├── PermanentStatusError
    │   └── RetryableStatusError
    └── StoreError                      the ledger
        ├── StoreUnavailable            cannot be reached, is full, or is locked: try again
        ├── StoreNotMigrated            schema older or newer than this package
        ├── StoreNotShared              SQLite where several machines would need it
        └── NoSuchBatch

Errors are matched by type and carry typed attributes, never parsed from their text. All survive pickling. No message
text holds a whole phone number, a credential or message content.
"""

from __future__ import annotations

from typing import Any


class MM7Error(Exception):
    """Base of every error of this package.

    :param message: one sentence for a person.
    :param attributes: typed attributes of the error, kept when it is pickled.
    """

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args[0] if self.args else "", dict(self.__dict__)))


def _rebuild(cls: type[MM7Error], message: str, attributes: dict[str, Any]) -> MM7Error:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(attributes)
    return error


class InputError(MM7Error, ValueError):
    """What the caller gave cannot be used; nothing was sent.

    :param field: the parameter, connection field or column that holds the value.
    :param problem: what is wrong with the value, with personal data masked.
    :param remedy: what to do about it.
    """

    field: str
    problem: str
    remedy: str

    def __init__(self, field: str, problem: str, remedy: str, **attributes: Any) -> None:
        super().__init__(f"{field}: {problem}. {remedy}", field=field, problem=problem, remedy=remedy, **attributes)


class AddressError(InputError):
    """A recipient or sender address is not usable."""


class ConnectionConfigError(InputError):
    """A field of the Airflow connection is not usable."""


class RecipientError(InputError):
    """The message of one recipient cannot be made: a column is missing, its picture is not there. The others can."""


class MediaError(InputError):
    """A media object cannot become a part of a message.

    :param source: the object's name as the user gave it (``s3://bucket/key``).
    """

    source: str

    def __init__(self, source: str, problem: str, remedy: str, *, field: str = "media", **attributes: Any) -> None:
        super().__init__(field, f"{source}: {problem}", remedy, source=source, **attributes)


class MediaNotFound(MediaError):
    """The object does not exist."""


class MediaAccessDenied(MediaError):
    """The store refused to give the object."""


class MediaChanged(MediaError):
    """The object changed while it was being read."""


class MediaTooLarge(MediaError):
    """The object, or the message with it, is over the limit.

    :param size: bytes found.
    :param limit: bytes allowed.
    """

    size: int
    limit: int


class MediaTypeUnknown(MediaError):
    """Neither the bytes nor the name tell a supported media type."""


class SmilError(MediaError):
    """A SMIL document is not valid for MMS."""


class MediaUnavailable(MM7Error):
    """The store that holds a media object did not answer, or broke off; try again.

    :param source: the object's name as the user gave it.
    """

    source: str


class ProtocolError(MM7Error):
    """What was read is not MM7, or is hostile."""


class MultipartError(ProtocolError):
    """The MIME structure cannot be read."""


class XmlError(ProtocolError):
    """The SOAP part is not XML that may be read."""


class LimitExceeded(ProtocolError):
    """Depth, number of parts or size beyond the bound.

    :param limit: name of the bound.
    :param allowed: its value.
    """

    limit: str
    allowed: int


class UnknownOperation(ProtocolError):
    """The XML holds no MM7 message."""


class TransportError(MM7Error):
    """The request failed below MM7."""


class NotSent(TransportError):
    """Nothing was accepted by the MMSC: sending again is safe.

    :param retry_after_s: seconds the server asked to wait, if it did.
    """

    retry_after_s: float | None = None


class NameResolutionFailed(NotSent):
    """The host name of the MMSC does not resolve."""


class ConnectFailed(NotSent):
    """The MMSC refused the connection or did not answer in time."""


class TlsFailed(NotSent):
    """The TLS handshake or the certificate check failed."""


class ThrottledOrDown(NotSent):
    """HTTP 409, 429 or 5xx without an MM7 answer.

    :param http_status: the HTTP status.
    """

    http_status: int


class AccessDenied(TransportError):
    """HTTP 401 or 403: the credentials, or the MMSC's IP allow list.

    :param http_status: 401 or 403.
    """

    http_status: int


class NotAnMM7Server(TransportError):
    """An HTTP answer that holds no MM7 message.

    :param http_status: the HTTP status.
    """

    http_status: int


class OutcomeUnknown(TransportError):
    """The request was sent and no whole answer came: it may have been accepted."""


class AnswerMismatch(OutcomeUnknown):
    """The answer carries the TransactionID of another request: answers are mixed up on the way."""


class StatusError(MM7Error):
    """The MMSC answered with an error status.

    :param status_code: MM7 status code (TS 23.140 clause 8.7.8.3.3).
    :param status_text: the MMSC's text.
    :param details: text of the Details element, or None.
    :param transaction_id: TransactionID of the request.
    :param retry_after_s: seconds the server asked to wait, if it did.
    """

    status_code: int
    status_text: str
    details: str | None = None
    transaction_id: str | None = None
    retry_after_s: float | None = None


class PermanentStatusError(StatusError):
    """Sending the same again would be refused again."""


class RetryableStatusError(StatusError):
    """The same may be accepted later."""


class StoreError(MM7Error):
    """The ledger of what was sent and what came back."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, is full or is locked; try again."""


class StoreNotMigrated(StoreError):
    """The database's schema is older or newer than this package."""


class StoreNotShared(StoreError):
    """A SQLite file where several machines would need one database."""


class NoSuchBatch(StoreError):
    """No batch of this id is in the store."""
