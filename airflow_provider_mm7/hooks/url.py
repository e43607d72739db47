"""The MMSC's URL from a Connection's host, port and schema."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from airflow_provider_mm7.hooks.fields import Fields

SCHEMES = ("https", "http")
EXAMPLE = "https://mmsc.example.com/mm7"


def mmsc_url(extra: Fields, *, host: str | None, port: int | None, schema: str | None) -> str:
    """Return the absolute URL that takes the POST.

    Host is the URL, with or without its scheme (https then). Port and schema are for connections given as a URI
    (``mm7://login:password@host:8443/mm7``), in which Airflow calls the path the schema; a schema of ``http`` or
    ``https`` is the URL's scheme, as in Airflow's HTTP connections.

    :raises ConnectionConfigError: it makes no URL, or the parts contradict each other.
    """
    text, schema = (host or "").strip(), (schema or "").strip()
    if not text:
        raise extra.error("host", "is empty", f"Give the MMSC's URL, such as {EXAMPLE}")
    if schema.lower() in SCHEMES:
        if "://" not in text:
            text = f"{schema.lower()}://{text}"
        elif not text.lower().startswith(f"{schema.lower()}://"):
            raise extra.error("schema", f"{schema!r} contradicts the host's scheme", "Leave the schema empty")
        schema = ""
    url = _split(extra, text if "://" in text else f"https://{text}")
    return urlunsplit((url.scheme, _netloc(extra, url, port), _path(extra, url, schema), url.query, ""))


def _split(extra: Fields, text: str) -> SplitResult:
    if not text.isprintable() or " " in text:
        raise extra.error("host", "holds white space or control characters", "Give one URL")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        # urlsplit's error would quote the URL, and the URL may hold credentials.
        raise extra.error("host", "is not a URL", f"Give the MMSC's URL, such as {EXAMPLE}") from None
    if url.scheme not in SCHEMES:
        raise extra.error("host", f"has the scheme {url.scheme!r}", "Give an https:// or http:// URL")
    if "@" in url.netloc:
        raise extra.error("host", "holds credentials", "Put them into the fields login and password")
    if not url.hostname:
        raise extra.error("host", "names no host", f"Give the MMSC's URL, such as {EXAMPLE}")
    if url.fragment:
        raise extra.error("host", "holds a fragment (#...)", "Remove it")
    return url


def _netloc(extra: Fields, url: SplitResult, port: int | None) -> str:
    if not port:
        return url.netloc
    if url.port is not None and url.port != int(port):
        raise extra.error("port", f"{port} contradicts the host's {url.port}", "Leave the port empty")
    name = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return f"{name}:{port}"


def _path(extra: Fields, url: SplitResult, schema: str) -> str:
    if not schema:
        return url.path or "/"
    if url.path.strip("/") and url.path.strip("/") != schema.strip("/"):
        raise extra.error("schema", f"{schema!r} contradicts the host's path", "Leave the schema empty")
    return url.path if url.path.strip("/") else f"/{schema.lstrip('/')}"
