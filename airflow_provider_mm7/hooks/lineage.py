"""Lineage: what was read and sent, told to Airflow's collector and to OpenLineage where they are there.

Names of datasets are those of OpenLineage's naming convention: ``s3://bucket`` and the key. What is sent is a dataset
of the MMSC, ``mm7://mmsc.example.com``, named by who sends there (``VASPID/VASID``): the same one in every run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_mm7.media.source import MediaObject, MediaSource, local_path, scheme_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_mm7.hooks.connection import ConnectionSettings

#: Name of the dataset where the connection names no sender.
ANY_SENDER: Final = "submissions"
#: Where what stands before ``@`` is a part of the store's name, and no connection.
_ACCOUNTS: Final = frozenset({"abfs", "abfss", "adl", "wasb", "wasbs"})

log = logging.getLogger(__name__)


# -- Airflow's collector of what hooks read and write ------------------------------------------------------------------


class TracedSource:
    """Tells of every object that is fetched.

    :param source: where objects come from.
    """

    def __init__(self, source: MediaSource) -> None:
        self._source = source

    def fetch(self, uri: str, *, limit: int) -> MediaObject:
        """Fetch an object. See :meth:`airflow_provider_mm7.media.source.MediaSource.fetch`."""
        found = self._source.fetch(uri, limit=limit)
        note_read(self, uri)
        return found


def note_read(reader: object, uri: str) -> None:
    """Tell that an object was read."""
    _note("add_input_asset", reader, uri)


def note_written(writer: object, uri: str) -> None:
    """Tell that an object was written."""
    _note("add_output_asset", writer, uri)


def _note(method: str, who: object, uri: str) -> None:
    # Airflow refuses some names that stores allow; nothing is lost but a line in a graph.
    try:
        collector: Any = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        getattr(collector, method)(context=who, uri=_asset_uri(uri))
    except Exception as exc:
        log.debug("%s is not told of: %s", uri, type(exc).__name__)


def _asset_uri(uri: str) -> str:
    # As Airflow's own hooks spell them, so that one object has one name: only what would end the path is escaped.
    namespace, name = dataset_name(uri)
    return f"{namespace}://{_escaped(name)}" if namespace == "file" else f"{namespace}/{_escaped(name)}"


def _escaped(name: str) -> str:
    return name.replace("?", "%3F").replace("#", "%23")


# -- OpenLineage -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What one run of a task read and sent.

    :ivar reads: URIs.
    :ivar writes: URIs.
    :ivar accepted: messages that the MMSC accepted; None: nothing was sent.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    accepted: int | None = None

    def describe(self, settings: Callable[[], ConnectionSettings]) -> OperatorLineage[Any, Any]:
        """Return it as OpenLineage wants it. To be called only where its provider is installed.

        :param settings: gives those of the connection; asked only if anything was sent.
        """
        from airflow.providers.common.compat.openlineage.facet import (
            Dataset,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        outputs: list[Any] = []
        if self.accepted is not None:
            namespace, name = messages_name(settings())
            counted = OutputStatisticsOutputDatasetFacet(rowCount=self.accepted)
            outputs.append(OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": counted}))
        return OperatorLineage(
            inputs=[Dataset(namespace=namespace, name=name) for namespace, name in _names(self.reads)],
            outputs=[*outputs, *(Dataset(namespace=namespace, name=name) for namespace, name in _names(self.writes))],
        )


def dataset_name(uri: str) -> tuple[str, str]:
    """Return the namespace and the name of an object.

    :param uri: without query, as object stores' are: what looks like one is a part of the key. Of a folder, with a
        slash at its end or without.
    """
    scheme = scheme_of(uri)
    if scheme == "file":
        return "file", str(local_path(uri).absolute())
    authority, _, key = uri.partition("://")[2].partition("/")
    if scheme not in _ACCOUNTS:
        authority = authority.rpartition("@")[2]
    return f"{scheme}://{authority}", key.rstrip("/") or "/"


def messages_name(settings: ConnectionSettings) -> tuple[str, str]:
    """Return the namespace and the name of what is sent over a connection."""
    url = urlsplit(settings.url)
    sender = "/".join(filter(None, (settings.vaspid, settings.vasid)))
    return f"mm7://{url.netloc}", sender or ANY_SENDER


def _names(uris: Iterable[str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(map(dataset_name, uris)))
