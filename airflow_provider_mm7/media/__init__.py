"""What goes into a message: sources, type detection, size limits, SMIL."""

from __future__ import annotations

from airflow_provider_mm7.media.detect import SUPPORTED_TYPES, detect_type, media_type_on_wire, registered_type
from airflow_provider_mm7.media.parts import build_parts
from airflow_provider_mm7.media.sink import FolderSink, MediaSink
from airflow_provider_mm7.media.size import check_size, encoded_size, fetch_media, largest_raw_size, predicted_size
from airflow_provider_mm7.media.smil import auto_smil, validate_smil
from airflow_provider_mm7.media.source import (
    CachedSource,
    LocalFiles,
    MediaObject,
    MediaSource,
    SourceByScheme,
    scheme_of,
)

__all__ = [
    "SUPPORTED_TYPES",
    "CachedSource",
    "FolderSink",
    "LocalFiles",
    "MediaObject",
    "MediaSink",
    "MediaSource",
    "SourceByScheme",
    "auto_smil",
    "build_parts",
    "check_size",
    "detect_type",
    "encoded_size",
    "fetch_media",
    "largest_raw_size",
    "media_type_on_wire",
    "predicted_size",
    "registered_type",
    "scheme_of",
    "validate_smil",
]
