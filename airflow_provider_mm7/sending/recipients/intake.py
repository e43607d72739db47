"""Records become rows of the spool: numbers checked, duplicates found, contents rendered, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_provider_mm7.exceptions import InputError, RecipientError
from airflow_provider_mm7.protocol import mask, normalise_number
from airflow_provider_mm7.sending.draft import Profile
from airflow_provider_mm7.sending.recipients.reader import BARE, Record, Values, show_names
from airflow_provider_mm7.sending.recipients.results import COLUMNS
from airflow_provider_mm7.sending.recipients.source import FIELD
from airflow_provider_mm7.sending.recipients.spool import Problem, Rejection, Spool
from airflow_provider_mm7.sending.recipients.templates import Renderer

#: Names of the column of numbers, the likeliest first.
RECIPIENT_COLUMNS = ("recipient", "to", "number", "phone", "phone_number", "msisdn", "mobile")
#: Lines named in a log or an error.
MAX_NAMED_LINES = 20
#: Columns named in an error.
_MAX_COLUMNS = 20


@dataclass(slots=True, kw_only=True)
class Intake:
    """Takes the records of one file in.

    :ivar recipient_column: the column of numbers; None: the first of :data:`RECIPIENT_COLUMNS` that is there.
    :ivar doubted: numbers that are in no numbering plan, and are sent to.
    """

    spool: Spool
    renderer: Renderer
    profile: Profile
    recipient_column: str | None = None
    doubted: int = field(default=0, init=False)
    _column: str | None = field(default=None, init=False)

    def take(self, records: Iterable[Record]) -> None:
        """Check each record, and keep it as a row or as a problem.

        :raises InputError: the file cannot be used, whatever becomes of single lines.
        """
        for record in records:
            if record.problem is None:
                self._take(record)
            else:
                self._reject(record.line, "", Rejection.INVALID, record.problem)

    def _take(self, record: Record) -> None:
        written = self._number(record)
        try:
            number, warning = normalise_number(
                written, number_format=self.profile.number_format, strict=self.profile.strict_numbers
            )
            first = self.spool.line_of(number)
            if first is not None:
                self._reject(
                    record.line, number, Rejection.DUPLICATE, f"{mask(number)}: stands in line {first} already"
                )
                return
            content = self.renderer.render(record.values)
        except RecipientError as exc:
            self._reject(record.line, written, Rejection.INVALID, f"{mask(written)}: {exc.field} {exc.problem}")
        except InputError as exc:
            self._reject(record.line, written, Rejection.INVALID, exc.problem)
        else:
            self.doubted += warning is not None
            self.spool.add(record.line, number, content)

    def _number(self, record: Record) -> str:
        if record.bare:
            value = record.values[BARE]
        else:
            if self._column is None:
                self._refuse_results(record.values)
                self._column = find_recipient_column(record.values, self.recipient_column)
            value = record.values.get(self._column)
        return "" if value is None else str(value).strip()

    def _refuse_results(self, values: Values) -> None:
        """Refuse what was written beside a recipients file: who sends to each file of a folder would do it twice."""
        if self.recipient_column is None and set(values) == set(COLUMNS):
            raise InputError(
                FIELD,
                "is the results of an earlier sending",
                "Leave it out, or name its recipient_column to send to everyone in it",
            )

    def _reject(self, line: int, number: str, state: Rejection, text: str) -> None:
        # JSON can name half of a surrogate pair, which no file can hold.
        shown = number.encode("utf-8", "replace").decode("utf-8")
        self.spool.reject(Problem(line=line, number=shown, state=state, text=text))


def find_recipient_column(values: Values, wanted: str | None) -> str:
    """Tell which column holds the numbers.

    :raises InputError: none does; lists those that are there.
    """
    by_name = {name.casefold(): name for name in reversed(list(values))}
    if wanted is not None and wanted in values:
        return wanted
    for name in RECIPIENT_COLUMNS if wanted is None else (wanted,):
        if name.casefold() in by_name:
            return by_name[name.casefold()]
    there = show_names(list(values)[:_MAX_COLUMNS]) or "none"
    if wanted is None:
        raise InputError(
            FIELD,
            f"no column of numbers; the columns are {there}",
            f"Name it in recipient_column, or call it one of {', '.join(RECIPIENT_COLUMNS)}",
        )
    raise InputError("recipient_column", f"there is no column {wanted!r}; the columns are {there}", "Name one of them")


def describe_problems(spool: Spool, *states: Rejection) -> str:
    """Say how many lines are not sent and why, naming the first of them."""
    total = sum(spool.count_problems(state) for state in states)
    named = [f"line {item.line}: {item.text}" for item in spool.problems(*states, limit=MAX_NAMED_LINES)]
    if total > len(named):
        named.append(f"and {total - len(named)} more")
    kinds = " and ".join(f"{count} {state}" for state in states if (count := spool.count_problems(state)))
    return f"{kinds}:\n" + "\n".join(named)
