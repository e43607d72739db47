"""Media of messages, served so that nothing in them can run."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from starlette.responses import Response

from airflow_provider_mm7.exceptions import InputError, MediaNotFound, MM7Error
from airflow_provider_mm7.media import MediaSource
from airflow_provider_mm7.pages.render import SAFE_HEADERS

#: Bytes of one object that is shown; MMSCs take a few hundred thousand.
MAX_BYTES: Final = 20 * 1024 * 1024

#: What a browser may show within a page, by the type that the message names, and as which type. SVG, HTML and SMIL are
#: not among them. Vendors' literal spellings are shown as what they stand for.
SHOWN: Final = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
    "image/bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "audio/mpeg": "audio/mpeg",
    "audio/mp3": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/mp4": "audio/mp4",
    "audio/aac": "audio/aac",
    "audio/wav": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/ogg": "audio/ogg",
    "audio/amr": "audio/amr",
    "audio/3gpp": "audio/3gpp",
    "video/mp4": "video/mp4",
    "image/mpeg": "video/mp4",
    "video/3gpp": "video/3gpp",
    "video/3gpp2": "video/3gpp2",
    "video/webm": "video/webm",
    "video/quicktime": "video/quicktime",
    "image/quicktime": "video/quicktime",
}

#: Should a browser take it for a page after all, that page may do nothing.
_HEADERS: Final = {**SAFE_HEADERS, "Content-Security-Policy": "sandbox; default-src 'none'"}


class Gone(Exception):
    """Media cannot be shown; the text says why, to people."""


def shown_type(content_type: str) -> str | None:
    """Return the type as which a part is shown within a page; None for one that is only offered as a download."""
    return SHOWN.get(content_type.partition(";")[0].strip().lower())


def kind_of(content_type: str) -> str:
    """``image``, ``audio`` or ``video`` of what a page shows; ``text`` of plain text; ``file`` of all else."""
    shown = shown_type(content_type)
    if shown is not None:
        return shown.partition("/")[0]
    return "text" if content_type.partition(";")[0].strip().lower() == "text/plain" else "file"


def read(source: MediaSource, uri: str, *, size: int, sha256: str) -> bytes:
    """Fetch an object, if it still is what it was.

    :param size: bytes that it had.
    :param sha256: of its bytes, in hexadecimal.
    :raises Gone: it is not there, not to be had, or another one now.
    """
    if size > MAX_BYTES:
        raise Gone("too large to be shown here")
    try:
        # One byte more would be another object already.
        body = source.fetch(uri, limit=max(size, 1)).body
    except MediaNotFound:
        raise Gone("no longer there") from None
    except InputError:
        raise Gone("changed since, or not to be read by the API server") from None
    except MM7Error:
        raise Gone("cannot be read now") from None
    if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
        raise Gone("changed since")
    return body


def serve(body: bytes, content_type: str, *, name: str) -> Response:
    """Answer with an object: within a page only what cannot run, as a download all else.

    :param content_type: as the message names it.
    :param name: for a file that is downloaded; only its harmless characters are kept.
    """
    shown = shown_type(content_type)
    if shown is not None:
        return Response(body, media_type=shown, headers=_HEADERS)
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:80] or "part"
    headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{safe}"'}
    return Response(body, media_type="application/octet-stream", headers=headers)


def missing(why: str) -> Response:
    """Answer that an object cannot be shown."""
    return Response(f"{why}\n", status_code=404, media_type="text/plain", headers=_HEADERS)
