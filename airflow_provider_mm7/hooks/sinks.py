"""Where media are kept: a local folder, or an object store."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.media import FolderSink, MediaSink, scheme_of

log = logging.getLogger(__name__)


def media_sink(uri: str) -> MediaSink:
    """Return where media go.

    :param uri: a folder: ``file://...`` or an object store's.
    :raises InputError: it names no bucket.
    """
    if scheme_of(uri) == "file":
        return FolderSink(Path(uri.removeprefix("file://")))
    # boto3 and the providers take seconds and memory that a process with a local folder need not spend.
    from airflow_provider_mm7.hooks.media import ObjectStorageSink

    return ObjectStorageSink(uri)


def sent_sink() -> MediaSink | None:
    """Return where copies of sent media go; None: they are not kept, or cannot be, which must not fail a sending."""
    uri = config.sent_media_uri()
    if uri is None:
        return None
    try:
        return media_sink(uri)
    except Exception as exc:
        log.warning("no copies of sent media are kept: [mm7] sent_media_uri cannot be used (%s)", type(exc).__name__)
        return None
