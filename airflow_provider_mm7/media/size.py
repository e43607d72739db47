"""How large a message becomes, told before anything is read or encoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_mm7.exceptions import MediaTooLarge
from airflow_provider_mm7.media.source import MediaObject, MediaSource
from airflow_provider_mm7.protocol.parts import Part

#: Characters of a base64 line (RFC 2045 section 6.8), and with its CRLF.
BASE64_LINE = 76
_BASE64_LINE_ON_WIRE = BASE64_LINE + 2
#: Bytes of base64 in one line.
_RAW_LINE = BASE64_LINE // 4 * 3


def encoded_size(raw_bytes: int) -> int:
    """Size of bytes in base64, its line ends included.

    :param raw_bytes: bytes before encoding.
    """
    characters = -(-raw_bytes // 3) * 4
    return characters + 2 * -(-characters // BASE64_LINE)


def largest_raw_size(encoded_bytes: int) -> int:
    """The largest object whose base64 is at most so long; the inverse of :func:`encoded_size`.

    :param encoded_bytes: bytes to fill.
    :return: bytes, 0 when nothing fits.
    """
    lines, rest = divmod(max(encoded_bytes, 0), _BASE64_LINE_ON_WIRE)
    return lines * _RAW_LINE + max(rest - 2, 0) // 4 * 3


def check_size(encoded_bytes: int, limit: int, objects: Iterable[tuple[str, int]] = ()) -> None:
    """Refuse a message that is too large, naming the object that makes it so.

    :param encoded_bytes: bytes of the whole message after encoding.
    :param limit: bytes the carrier takes (``max_message_bytes`` of the connection).
    :param objects: the media in it, each by its name and its bytes before encoding.
    :raises MediaTooLarge: encoded_bytes is over the limit.
    """
    if encoded_bytes <= limit:
        return
    name, size = max(objects, key=lambda found: found[1], default=("", 0))
    if not name:
        raise _too_large("message", f"has {encoded_bytes} bytes after encoding", encoded_bytes, limit)
    raise _too_large(
        name,
        f"with {size} bytes is the largest object of a message of {encoded_bytes} bytes after encoding",
        size,
        limit,
    )


def predicted_size(parts: Iterable[Part]) -> int:
    """What parts take in a message at the least: their bodies after encoding, without any header.

    It is for refusing early what cannot fit. What fits is known from the length of the encoded message alone.

    :param parts: the parts of a message.
    :return: bytes.
    """
    return sum(
        len(part.body) if part.content_type.startswith("text/") else encoded_size(len(part.body)) for part in parts
    )


def fetch_media(source: MediaSource, uris: Sequence[str], *, max_bytes: int, used: int = 0) -> tuple[MediaObject, ...]:
    """Fetch the media of one message, and none that cannot fit into it.

    Each object may be as large as what the ones before it left; the source refuses it by its announced size, so that
    nothing is read that cannot be sent. Headers are not counted here: :func:`check_size` on the encoded message is the
    last word.

    :param source: where to fetch.
    :param uris: names of the objects, in the order of the message.
    :param max_bytes: bytes the whole message may have after encoding.
    :param used: bytes of it that other parts take (text, a SMIL document).
    :raises MediaTooLarge: naming the object, its size and max_bytes.
    :raises MediaError: whatever the source raises.
    """
    fetched: list[MediaObject] = []
    left = max_bytes - used
    for uri in uris:
        try:
            found = source.fetch(uri, limit=largest_raw_size(left))
        except MediaTooLarge as exc:
            raise _refused(exc, fetched, max_bytes) from exc
        fetched.append(found)
        left -= encoded_size(len(found.body))
    return tuple(fetched)


def _refused(error: MediaTooLarge, before: Sequence[MediaObject], max_bytes: int) -> MediaTooLarge:
    problem = f"has {error.size} bytes, {encoded_size(error.size)} after encoding"
    if before:
        others = sum(encoded_size(len(found.body)) for found in before)
        problem += f", beside {others} of the objects before it"
    return _too_large(error.source, problem, error.size, max_bytes)


def _too_large(source: str, problem: str, size: int, limit: int) -> MediaTooLarge:
    return MediaTooLarge(
        source,
        f"{problem}; the limit of a message is {limit} bytes",
        "Send a smaller object, or raise max_message_bytes of the connection if the carrier takes more",
        size=size,
        limit=limit,
    )
