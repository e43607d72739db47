"""A recipients file to the MMSC: everything between SendMMSBatchOperator and :mod:`airflow_provider_mm7.sending`."""

from __future__ import annotations

import ast
import json
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Self

from airflow_provider_mm7.exceptions import InputError, MM7Error, StoreUnavailable
from airflow_provider_mm7.hooks.ledger import open_ledger
from airflow_provider_mm7.hooks.media import open_media_source
from airflow_provider_mm7.hooks.recipients import open_files
from airflow_provider_mm7.hooks.sending import Courier, describe_preview, profile_of
from airflow_provider_mm7.hooks.stores import S3Connection
from airflow_provider_mm7.sending import Draft, OnUnknown, Profile, SendResult, Work, prepare, utc_now
from airflow_provider_mm7.sending.compose import Composer
from airflow_provider_mm7.sending.progress import Progress
from airflow_provider_mm7.sending.recipients.intake import Intake, describe_problems
from airflow_provider_mm7.sending.recipients.reader import FileName, read_file, read_list
from airflow_provider_mm7.sending.recipients.results import FIELD as RESULTS_FIELD
from airflow_provider_mm7.sending.recipients.results import read_ledger, results_uri, write_results
from airflow_provider_mm7.sending.recipients.source import FIELD, Chunk, HashingStream
from airflow_provider_mm7.sending.recipients.spool import Rejection, Spool
from airflow_provider_mm7.sending.recipients.templates import Renderer, Templates, compile_templates
from airflow_provider_mm7.sending.record import contents_of_rows
from airflow_provider_mm7.store import NewSubmission, Origin, RowKey, State, batch_id_of

#: Contents of which one must become a message before anything is sent.
_TRIED = 10
#: Hex digits of a chunk's SHA-256 in its key.
_DIGEST_DIGITS = 16
#: Bytes of objects that are kept before they are encoded: a presentation is read for each message, media only once.
_SOURCE_BYTES = 256 * 1024

log = logging.getLogger(__name__)

Source = str | Chunk | Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What SendMMSBatchOperator was asked for.

    :ivar source: URI, chunk or list of recipients.
    :ivar draft: what all messages share.
    :ivar context: names that templates may use beside the row's columns.
    :ivar filters: of templates, beside Jinja's own; ``macros``: global names likewise.
    :ivar fail_on: the kinds of lines that end the task before anything is sent.
    :ivar results: as the user gave it.
    """

    source: Source
    draft: Draft
    templates: Templates
    context: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    macros: Mapping[str, Any] = field(default_factory=dict)
    recipient_column: str | None = None
    fail_on: tuple[Rejection, ...] = (Rejection.INVALID,)
    results: str | None = None


def read_source(value: object) -> Source:
    """Tell what was given as recipients: a URI, a list, a chunk, or the text of one of the last two.

    :raises InputError: it is neither.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith(("[", "{")):
            if not text:
                raise InputError(FIELD, "is empty", "Give a URI, a list, or a chunk")
            return text
        value = _parse(text)
    if isinstance(value, Mapping):
        return Chunk.from_json(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return value
    try:
        # What an upstream's mapped tasks returned comes as a lazy sequence.
        return list(value)  # type: ignore[call-overload,no-any-return]
    except TypeError:
        raise InputError(FIELD, f"is of type {type(value).__name__}", "Give a URI, a list, or a chunk") from None


def named_file(value: object) -> tuple[str, ...]:
    """Tell which file was given as recipients, if any. Asks no other task for what it returned.

    :raises InputError: it is neither a file nor a list.
    """
    source = read_source(value) if isinstance(value, (str, Mapping)) else ()
    return (source,) if isinstance(source, str) else (source.uri,) if isinstance(source, Chunk) else ()


def _parse(text: str) -> object:
    """Read JSON, or what ``str()`` makes of Python's lists, which is what Jinja renders."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    raise InputError(FIELD, "begins like a list or an object but is none", "Give it as another task returned it")


class Mailing:
    """One run of a batch. Use as a context manager, in the order of the methods.

    :param courier: the connection.
    :param order: what is asked for.
    """

    def __init__(self, courier: Courier, order: Order) -> None:
        self._courier = courier
        self._order = order
        self._s3 = S3Connection(courier.aws_conn_id)
        self._stack = ExitStack()
        self._sent = False
        #: Whether the spool knows what the ledger says.
        self._recorded = False
        self.results: str | None = None
        #: SHA-256 of a chunk's bytes.
        self.digest: str | None = None

    def __enter__(self) -> Self:
        self._spool = self._stack.enter_context(Spool())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- before anything is sent ---------------------------------------------------------------------------------------

    def read(self) -> int:
        """Read and check every line.

        :return: how many recipients there are.
        :raises InputError: the file cannot be read, or a template is wrong whatever the row.
        """
        order = self._order
        self._results_uri = results_uri(order.results, None if _is_list(order.source) else order.source)  # type: ignore[arg-type]
        self._profile: Profile = profile_of(self._courier.hook().settings)
        self._renderer: Renderer = compile_templates(
            order.templates, order.context, filters=order.filters, macros=order.macros
        )
        intake = Intake(
            spool=self._spool,
            renderer=self._renderer,
            profile=self._profile,
            recipient_column=order.recipient_column,
        )
        self._take(intake, order.source)
        if intake.doubted:
            log.warning("%d numbers are in no numbering plan", intake.doubted)
        return self._spool.count()

    def _take(self, intake: Intake, source: Source) -> None:
        if not isinstance(source, (str, Chunk)):
            intake.take(read_list(source))
            return
        uri, span, header = (
            (source, None, None) if isinstance(source, str) else (source.uri, source.span, source.header)
        )
        name = FileName.of(uri)
        with open_files(self._s3).open(uri, span) as stream:
            hashing = HashingStream(stream)
            intake.take(read_file(hashing, name, header=header, chunked=span is not None))
        if span is not None:
            self.digest = hashing.hexdigest()[:_DIGEST_DIGITS]

    @property
    def reads(self) -> tuple[str, ...]:
        """What the messages are made of: the file, the media that all of them share, and the folder of the others."""
        source, base = self._order.source, self._order.templates.media_base
        file = (source.uri,) if isinstance(source, Chunk) else named_file(source)
        smil = replace(self._order.draft, media=()).uris
        return (*file, *self._renderer.shared_media, *smil, *([base] if base else []))

    @property
    def lines(self) -> int:
        """Lines that hold anything."""
        return self._spool.count() + sum(map(self._spool.count_problems, Rejection))

    def refuse(self) -> None:
        """Refuse lines that the order does not want skipped, and name the others in the log.

        :raises InputError: there are such lines, or there is nobody to send to.
        """
        refused = tuple(kind for kind in self._order.fail_on if self._spool.count_problems(kind))
        if refused:
            raise InputError(
                FIELD,
                f"nothing was sent; {describe_problems(self._spool, *refused)}",
                "Correct them, or skip them with on_invalid='skip', on_duplicate='skip'",
            )
        skipped = tuple(kind for kind in Rejection if self._spool.count_problems(kind))
        if skipped:
            log.warning("skipped %s", describe_problems(self._spool, *skipped))
        if not self._spool.count() and not (isinstance(self._order.source, Chunk) and not self.lines):
            why = f": {describe_problems(self._spool, *skipped)}" if skipped else ""
            raise InputError(
                FIELD,
                f"no recipient{why}",
                "Correct these lines"
                if skipped
                else "Give at least one number, or skip the task when there is nobody to write to (skip_when_empty)",
            )

    def preview(self) -> str:
        """Describe the first row's message, and how many there are."""
        row = next(self._spool.rows())
        content = self._spool.content(row.content)
        draft = replace(
            self._order.draft, to=(row.number,), subject=content.subject, text=content.text, media=content.media
        )
        prepared = prepare(draft, self._profile, open_media_source(s3=self._s3), now=utc_now())
        return (
            f"the first of {self._spool.count()} recipients; {self._spool.count_contents()} different contents\n"
            f"{describe_preview(prepared)}"
        )

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(
        self,
        *,
        key: str,
        origin: Origin,
        family: str | None,
        on_unknown: OnUnknown,
        on_batch: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> SendResult:
        """Send to each recipient at most once under this key.

        :raises InputError: no message can be made of what the order gives.
        :raises StoreError: the ledger cannot be used; nothing more was sent.
        """
        keeper = self._courier.keeper()
        composer = Composer(
            draft=self._order.draft,
            profile=self._profile,
            source=open_media_source(s3=self._s3, max_bytes=_SOURCE_BYTES),
            rows=self._spool,
            now=utc_now(),
            read=lambda part, key: keeper.take(part, key=key),
        )
        composer.check(self._renderer.shared_media, self._spool.contents(_TRIED))
        progress = Progress(tell=lambda text: log.info("%s", text))
        store = open_ledger()

        def begin(batch_id: str) -> None:
            self._sent = True
            on_batch(batch_id)
            progress.begin(store.summary(batch_id))

        def wanted(keys: Sequence[RowKey]) -> set[RowKey]:
            known = self._spool.known(key for key, row in keys if row == 0)
            return {(key, row) for key, row in keys if row == 0 and key in known}

        return self._courier.send(
            Work(
                # The spool numbers contents from 1 on.
                submissions=lambda: (
                    NewSubmission(recipient=row.number, content=row.content - 1) for row in self._spool.rows()
                ),
                compose=composer.compose,
                contents=contents_of_rows(self._order.draft, self._profile, self._spool.all_contents()),
                group_size=self._profile.recipients_per_request if self._renderer.same_for_all else 1,
                wanted=wanted,
            ),
            key=key,
            origin=origin,
            family=family,
            on_unknown=on_unknown,
            on_batch=begin,
            settled=progress.settled,
            stopped=stopped,
            keeper=keeper,
        )

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def write_results(self, key: str) -> None:
        """Write what became of each line, and remember where.

        :raises MM7Error: they cannot be written.
        """
        store, batch_id = open_ledger(), batch_id_of(key)
        self._spool.record_outcomes(read_ledger(store, batch_id))
        self._recorded = True
        if self._results_uri is None:
            return
        # In a family, what was planned and is not in this batch stands in another chunk.
        unsent = Rejection.DUPLICATE.value if self._sent else State.PLANNED.value
        try:
            with tempfile.TemporaryFile() as body:
                write_results(body, self._results_uri, self._spool.results(unsent=unsent))
                body.seek(0)
                files = open_files(self._s3, field=RESULTS_FIELD)
                files.save(self._results_uri, body)
        except OSError as exc:
            raise StoreUnavailable(
                f"results: they cannot be kept in this machine's temporary folder ({exc.strerror})"
            ) from exc
        self.results = self._results_uri

    def try_to_write_results(self, key: str) -> None:
        """Write them where another error is on its way, which they must not hide."""
        try:
            self.write_results(key)
        except MM7Error as exc:
            log.warning("the results could not be written: %s", exc)

    def contract(self, result: SendResult | None, *, messages: bool) -> dict[str, Any]:
        """Return the XCom contract.

        :param result: None when nothing was sent.
        """
        if result is None:
            counts: dict[str, Any] = dict.fromkeys(("accepted", "refused", "unknown", "suppressed"), 0)
            total = self._spool.count()
            contract = {"batch_id": None, "total": total, **counts, "planned": total}
            if messages:
                contract["messages"] = []
        else:
            contract = result.as_xcom(messages=messages)
        elsewhere = self._spool.count_elsewhere() if self._sent and self._recorded else 0
        return {
            **contract,
            "invalid": self._spool.count_problems(Rejection.INVALID),
            "duplicates": self._spool.count_problems(Rejection.DUPLICATE) + elsewhere,
            "results": self.results,
        }

    def contract_so_far(self, key: str, *, messages: bool) -> dict[str, Any] | None:
        """Return the XCom contract where an error ends the run.

        :return: None: messages may have left, and the ledger, which alone knows of them, cannot be read.
        """
        if not self._sent:
            return self.contract(None, messages=messages)
        result = self._courier.so_far(batch_id_of(key))
        return None if result is None else self.contract(result, messages=messages)


def _is_list(source: Source) -> bool:
    return not isinstance(source, (str, Chunk))
