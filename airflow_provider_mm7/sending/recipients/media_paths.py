"""Media named by a value of a recipients file: only what lies below the operator's ``media_base``."""

from __future__ import annotations

import re
import unicodedata

from airflow_provider_mm7.exceptions import InputError, RecipientError

#: Bytes of an object's key in S3; other stores take no more that matters.
MAX_PATH_BYTES = 1024
#: RFC 3986 section 3.1. A drive letter looks like a scheme, too.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: Some stores decode names, and then this is another name.
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
#: Control and format characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def below(base: str, path: str) -> str:
    """Return the URI of what a path names below a base.

    :param base: URI or path of a folder.
    :param path: as a row's template rendered it.
    :raises RecipientError: it names, or may name for some store, something else.
    """
    problem = _problem(path)
    if problem is not None:
        raise RecipientError(
            "media", f"{problem}", "Give a path below media_base, such as saturn.gif or 2026/saturn.gif"
        )
    return f"{base.rstrip('/')}/{path}"


def require_base(base: str | None) -> None:
    """Refuse a base below which everything lies, or nothing.

    :param base: as the user gave it.
    :raises InputError: there is none, or it is a whole store (``s3://``) or machine (``/``).
    """
    remedy = "Give the folder that the paths lie in, such as s3://news/pictures/"
    rest = _SCHEME.sub("", (base or "").strip(), count=1)
    if not (base or "").strip():
        raise InputError("media_base", "is not given, and media names columns of the rows", remedy)
    if not rest.strip("/ "):
        raise InputError("media_base", f"{base!r} names no folder", remedy)


def _problem(path: str) -> str | None:
    segments = path.split("/")
    checks = (
        (_SCHEME.match(path) is not None or "://" in path or "::" in path, "has a scheme"),
        (path.startswith("/"), "is an absolute path"),
        ("\\" in path, "holds a backslash"),
        (any(unicodedata.category(char) in _UNSEEN for char in path), "holds a control character"),
        (_ESCAPE.search(path) is not None, "holds a percent-escape"),
        (any(segment.strip() in (".", "..") for segment in segments), "holds the segment . or .."),
        (any(not segment.strip() for segment in segments), "has an empty segment"),
        (len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES, f"has more than {MAX_PATH_BYTES} bytes"),
    )
    return next((problem for found, problem in checks if found), None)
