"""Subject, text and media of a row: Jinja in a sandbox, over Airflow's context and the row's columns.

A template is written by the author of the DAG; what stands in the file is data and is never rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from airflow_provider_mm7.exceptions import InputError, RecipientError
from airflow_provider_mm7.protocol.scalars import checked_text
from airflow_provider_mm7.sending.outcome import quote
from airflow_provider_mm7.sending.recipients.media_paths import below, require_base
from airflow_provider_mm7.sending.recipients.reader import Values
from airflow_provider_mm7.sending.recipients.spool import RowContent

#: The name under which templates find the whole row.
ROW = "row"
_HALF = re.compile("[\ud800-\udfff]")


class Row(Mapping[str, object]):
    """Columns of one row: ``row.city``, ``row["city"]``, and objects of JSON Lines likewise inside of it."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> object:
        value = self._values[name]
        return Row(value) if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _Missing(jinja2.StrictUndefined):
    """Says which column is missing, not of which class the row is."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Row):
            return f"the row has no column {self._undefined_name!r}"
        return super()._undefined_message


class RowEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which a column wins over what a mapping can do (``row.items``)."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up ``obj.attribute``."""
        if isinstance(obj, Row):
            return self.getitem(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up ``obj[argument]``; of a row nothing but its columns."""
        if isinstance(obj, Row):
            return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A text that is no template: it came from another task."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What the author of the DAG wrote for every row.

    :ivar media_base: below which media lie that a row names; None: no row may name any.
    """

    subject: str | Literal | None = None
    text: tuple[str | Literal, ...] = ()
    media: tuple[str | Literal, ...] = ()
    media_base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One template: its text where it is the same for all rows, else what renders it."""

    name: str
    fixed: str | None = None
    template: jinja2.Template | None = None

    def render(self, variables: Mapping[str, object]) -> str:
        """Return the text for a row.

        :raises RecipientError: the row lacks what the template names, or its values do not fit.
        """
        if self.template is None:
            return self.fixed or ""
        try:
            return self.template.render(variables)
        except Exception as exc:  # a template may raise whatever its filters and values make of each other
            # What comes of undefined names and the sandbox speaks of names; anything else may quote the row's values.
            told = str(exc) if isinstance(exc, jinja2.TemplateError) else type(exc).__name__
            raise RecipientError(
                self.name, quote(told) or "fails", "Check the column's name and the row's values"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders the content of each row.

    :ivar reserved: names of the context, which no column replaces.
    """

    subject: _Field | None
    text: tuple[_Field, ...]
    media: tuple[_Field, ...]
    media_base: str | None
    reserved: frozenset[str]

    @property
    def same_for_all(self) -> bool:
        """Whether every row has the same content."""
        subject = () if self.subject is None else (self.subject,)
        return all(part.template is None for part in (*subject, *self.text, *self.media))

    @property
    def shared_media(self) -> tuple[str, ...]:
        """URIs that every row's message shows."""
        return tuple(part.fixed for part in self.media if part.fixed)

    def render(self, values: Values) -> RowContent:
        """Return the content for a row.

        :raises RecipientError: it cannot be made; names the field.
        """
        own_names = {name: value for name, value in values.items() if name not in self.reserved and name.isidentifier()}
        variables = {**own_names, ROW: Row(values)}
        media: list[str] = []
        own: set[str] = set()
        for part in self.media:
            path = part.render(variables).strip()
            if path and part.template is not None:
                path = below(self.media_base or "", path)
                own.add(path)
            if path:
                media.append(path)
        content = RowContent(
            subject=None if self.subject is None else self.subject.render(variables).strip(),
            text=tuple(part.render(variables) for part in self.text),
            media=tuple(media),
            own=frozenset(own),
        )
        _check(content)
        return content


def _check(content: RowContent) -> None:
    if not any(map(str.strip, content.text)) and not content.media:
        raise RecipientError("text", "neither text nor media", "Give at least one of them")
    try:
        checked_text(content.subject or "", "subject")
    except InputError as exc:
        raise RecipientError(exc.field, exc.problem, exc.remedy) from None
    # JSON can name one; no encoding can carry it.
    if any(_HALF.search(text) for text in content.text):
        raise RecipientError("text", "holds half of a surrogate pair", "Pass text that can be encoded as UTF-8")


def compile_templates(
    templates: Templates,
    context: Mapping[str, object],
    *,
    filters: Mapping[str, Any] | None = None,
    macros: Mapping[str, Any] | None = None,
) -> Renderer:
    """Compile templates, and render those that no column can change.

    :param context: names that templates may use beside the row's columns.
    :param filters: filters beside Jinja's own; ``macros``: global names likewise.
    :raises InputError: a template is wrong, whatever the row.
    """
    compiler = _Compiler(context=context, filters=filters or {}, macros=macros or {})
    renderer = Renderer(
        subject=None if templates.subject is None else compiler.field("subject", templates.subject),
        text=tuple(compiler.field("text", text) for text in templates.text),
        media=tuple(compiler.field("media", entry) for entry in templates.media),
        media_base=templates.media_base,
        reserved=compiler.reserved,
    )
    if any(part.template is not None for part in renderer.media):
        require_base(templates.media_base)
    return renderer


@dataclass(kw_only=True)
class _Compiler:
    context: Mapping[str, object]
    filters: Mapping[str, Any]
    macros: Mapping[str, Any]

    @cached_property
    def environment(self) -> RowEnvironment:
        environment = RowEnvironment(undefined=_Missing, keep_trailing_newline=True)
        environment.filters.update(self.filters)
        environment.globals.update(self.macros)
        environment.globals.update(self.context)
        return environment

    @cached_property
    def _bare(self) -> jinja2.Environment:
        """The same without any global name: Jinja leaves those out of what it says a template refers to."""
        bare = self.environment.overlay()
        bare.globals = {}
        return bare

    @cached_property
    def reserved(self) -> frozenset[str]:
        return frozenset({*self.context, *self.macros, ROW})

    def field(self, name: str, source: str | Literal) -> _Field:
        if isinstance(source, Literal):
            return _Field(name=name, fixed=source.text)
        try:
            names = meta.find_undeclared_variables(self._bare.parse(source))
            template = self.environment.from_string(source)
        except jinja2.TemplateError as exc:
            raise InputError(name, f"is no Jinja template ({exc})", "Check its braces") from None
        # A name that is not the context's may be a column, even where Jinja has a function of that name (range).
        if names - (self.reserved - {ROW}):
            return _Field(name=name, template=template)
        try:
            return _Field(name=name, fixed=template.render())
        except Exception as exc:  # as above
            raise InputError(
                name, f"cannot be rendered ({type(exc).__name__}: {exc})", "Check the names in it"
            ) from exc


def as_sources(value: object, *, name: str) -> Sequence[str | Literal]:
    """Read one template, several, or none.

    :raises InputError: an item is not text.
    """
    if value is None:
        return ()
    items = [value] if isinstance(value, (str, Literal)) else value
    if not isinstance(items, (list, tuple)):
        raise InputError(name, f"is of type {type(value).__name__}", "Give one string or a list of strings")
    for item in items:
        if not isinstance(item, (str, Literal)):
            raise InputError(name, f"holds an item of type {type(item).__name__}", "Give strings")
    return items
