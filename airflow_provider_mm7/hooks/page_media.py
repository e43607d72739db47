"""Media for people to look at: read by the API server, from wherever they are kept."""

from __future__ import annotations

from functools import cache

from airflow_provider_mm7.media import LocalFiles, MediaObject, MediaSource, scheme_of


class LazySource:
    """Files at once; object stores when the first of their objects is asked for.

    boto3 and the providers take seconds and memory that an API server with a local folder need not spend.
    """

    def __init__(self) -> None:
        self._files = LocalFiles()

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch an object. See :meth:`airflow_provider_mm7.media.MediaSource.fetch`."""
        source = self._files if scheme_of(uri) == "file" else _stores()
        return source.fetch(uri, limit=limit)


@cache
def page_media() -> MediaSource:
    """Return where pages read media from: one for the process."""
    return LazySource()


@cache
def _stores() -> MediaSource:
    from airflow_provider_mm7.hooks.media import open_media_source

    # What is looked at may have been replaced since: every look is a new one.
    return open_media_source(max_bytes=0)
