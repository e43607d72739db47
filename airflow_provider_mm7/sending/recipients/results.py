"""What became of each line, as a file beside the recipients."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import BinaryIO

from airflow_provider_mm7.exceptions import InputError
from airflow_provider_mm7.sending.recipients.reader import FileName, Format
from airflow_provider_mm7.sending.recipients.source import Chunk
from airflow_provider_mm7.sending.recipients.spool import LineResult
from airflow_provider_mm7.store import Store

#: Columns of a results file, in their order.
COLUMNS = ("line", "recipient", "message_id", "state", "status", "status_text")
#: What stands for "write none".
NONE = "none"
#: Rows of the ledger read at a time.
PAGE = 1000
FIELD = "results"


def results_uri(wanted: str | None, source: str | Chunk | None) -> str | None:
    """Tell where results are written.

    :param wanted: as the user gave it; None: beside the recipients. Chunks write into a folder of that name.
    :param source: URI or chunk of the recipients; None: they came as a list.
    :return: None: nowhere.
    :raises InputError: the name tells no format, or is that of the recipients.
    """
    if wanted is not None and wanted.strip():
        uri = wanted.strip()
        if uri.lower() == NONE:
            return None
        if FileName.of(uri, field=FIELD).gzipped:
            raise InputError(FIELD, f"{uri}: results are not compressed", "Name it .csv or .jsonl")
        if uri == (source.uri if isinstance(source, Chunk) else source):
            raise InputError(FIELD, f"{uri}: is the file of recipients itself", "Name another file")
        name = FileName.of(uri, field=FIELD)
        return _of_chunk(name.stem, source, name.suffix) if isinstance(source, Chunk) else uri
    if source is None:
        return None
    if isinstance(source, str):
        name = FileName.of(source)
        return f"{name.stem}.results{name.suffix}"
    name = FileName.of(source.uri)
    return _of_chunk(f"{name.stem}.results", source, name.suffix)


def _of_chunk(folder: str, chunk: Chunk, suffix: str) -> str:
    """Each chunk has a file of its own: they would overwrite each other's."""
    # So many digits that the names of a folder's files are in the order of the chunks.
    return f"{folder}/{chunk.start:015}-{chunk.end:015}{suffix}"


def write_results(body: BinaryIO, uri: str, results: Iterable[LineResult]) -> None:
    """Write CSV or JSON Lines, as the URI's ending says."""
    text = io.TextIOWrapper(body, encoding="utf-8", newline="")
    if FileName.of(uri, field=FIELD).format is Format.CSV:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(result, column) for column in COLUMNS] for result in results)
    else:
        for result in results:
            text.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
    text.flush()
    # The file is the caller's to close.
    text.detach()


def read_ledger(store: Store, batch_id: str) -> Iterator[LineResult]:
    """Yield what the ledger says of each recipient of a batch; the lines are not known there."""
    after_id = 0
    while page := store.submissions(batch_id, after_id=after_id, limit=PAGE):
        for row in page:
            yield LineResult(
                line=None,
                recipient=row.recipient,
                message_id=row.message_id,
                state=row.state.value,
                status=row.status_code,
                status_text=row.status_text,
            )
        after_id = page[-1].id
