"""Elements <-> values: how each kind of element is read and written, side by side. The table in schema.py uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Protocol

from lxml import etree

from airflow_provider_mm7.exceptions import InputError, ProtocolError
from airflow_provider_mm7.protocol.limits import exceeded
from airflow_provider_mm7.protocol.scalars import POSITIVE_INTEGER, TEXT, Scalar, checked_text
from airflow_provider_mm7.protocol.xmlread import UNDECLARED, local_name, parse_xml


class Tags(dict[str, str]):
    """Element names qualified with one namespace, each made once."""

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self.namespace = namespace

    def __missing__(self, name: str) -> str:
        tag = self[name] = f"{{{self.namespace}}}{name}"
        return tag


class Node(Protocol):
    """A kind of element."""

    def read(self, element: etree._Element) -> Any:
        """Read an element; None when it holds nothing of this kind."""

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        """Append an element.

        :raises InputError: the value would not be valid, named by ``path``.
        """


@dataclass(frozen=True, slots=True)
class Leaf:
    """An element that holds a text."""

    scalar: Scalar

    def read(self, element: etree._Element) -> Any:
        return self.scalar.parse(element.text or "")

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        etree.SubElement(parent, tags[name]).text = self.scalar.format(value, path)


@dataclass(frozen=True, slots=True)
class Folded:
    """Details: any text and elements; their text with white space folded."""

    def read(self, element: etree._Element) -> str | None:
        return folded_text(element) or None

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        etree.SubElement(parent, tags[name]).text = " ".join(checked_text(value, path).split())


def folded_text(element: etree._Element) -> str:
    """Give all text below an element, white space folded."""
    return " ".join(" ".join(map(str, element.itertext())).split())


@dataclass(frozen=True, slots=True)
class ExtensionNode:
    """Extension, kept as its XML in exclusive canonical form, which does not depend on where it stands."""

    def read(self, element: etree._Element) -> str:
        try:
            return etree.tostring(element, method="c14n", exclusive=True, with_tail=False).decode("utf-8")
        except etree.C14NError:
            # Canonical XML 1.0 section 1.3 has no form for relative namespace names, which peers use.
            return etree.tostring(element, encoding="unicode", with_tail=False)

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        try:
            extension = parse_xml(checked_text(value, path).encode("utf-8"), repair=False)
        except ProtocolError as exc:
            raise InputError(path, "is not well-formed XML", "Give one Extension element.") from exc
        if local_name(extension) != name:
            raise InputError(path, "is not an Extension element", "Wrap it in Extension.")
        # An element of its own: a new tag would be written in the default namespace that the old one declares.
        prefixes = {prefix: uri for prefix, uri in extension.nsmap.items() if prefix is not None}
        attributes = {str(key): str(text) for key, text in extension.attrib.items()}
        written = etree.SubElement(parent, tags[name], attributes, nsmap=prefixes)
        written.text = extension.text
        written.extend(list(extension))


@dataclass(frozen=True, slots=True)
class Attribute:
    """A row of an element's attributes."""

    name: str
    attr: str
    scalar: Scalar
    required: bool = False


@dataclass(frozen=True, slots=True)
class Attributes:
    """An empty element whose values stand in attributes."""

    make: Callable[..., Any]
    rows: tuple[Attribute, ...]

    def read(self, element: etree._Element) -> Any:
        texts = attribute_texts(element)
        values = {}
        for row in self.rows:
            value = row.scalar.parse(texts[row.name]) if row.name in texts else None
            if value is not None:
                values[row.attr] = value
            elif row.required:
                return None
        return self.make(**values)

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        element = etree.SubElement(parent, tags[name])
        for row in self.rows:
            item = getattr(value, row.attr)
            if item is not None:
                element.set(row.name, row.scalar.format(item, f"{path}.{row.attr}"))


#: Ends of the names of the one namespace whose attributes may stand anywhere; the vendor's page prints it with https.
_INSTANCE = ("XMLSchema-instance", f"{UNDECLARED}xsi")


def attribute_texts(element: etree._Element) -> dict[str, str]:
    """Give attributes by local name: some peers write ``mm7:href``. ``xsi:type`` is none of MM7's."""
    names = ((str(name).rpartition("}"), str(text)) for name, text in element.attrib.items())
    return {name: text for (namespace, _, name), text in names if not namespace.endswith(_INSTANCE)}


@dataclass(frozen=True, slots=True)
class Href:
    """An empty element with nothing but ``href``."""

    scalar: Scalar

    def read(self, element: etree._Element) -> Any:
        return self.scalar.parse(attribute_texts(element).get("href", ""))

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        etree.SubElement(parent, tags[name]).set("href", self.scalar.format(value, path))


@dataclass(frozen=True, slots=True)
class Sequenced:
    """An item with its place: ``<UserAgent sequence="1">``."""

    node: Node

    def read(self, element: etree._Element) -> tuple[int | None, Any] | None:
        value = self.node.read(element)
        if value is None:
            return None
        return POSITIVE_INTEGER.parse(attribute_texts(element).get("sequence", "")), value

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        sequence, item = value
        self.node.write(parent, tags, name, item, path)
        if sequence is not None:
            parent[-1].set("sequence", POSITIVE_INTEGER.format(sequence, path))


@dataclass(frozen=True, slots=True)
class KeyValue:
    """``element`` of MessageExtraData: a key and a value."""

    def read(self, element: etree._Element) -> tuple[str, str]:
        texts = {local_name(child): TEXT.parse(child.text or "") for child in element}
        return texts.get("key", ""), texts.get("value", "")

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        element = etree.SubElement(parent, tags[name])
        for child, text in zip(("key", "value"), value, strict=True):
            etree.SubElement(element, tags[child]).text = TEXT.format(text, path)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A list in an element of its own."""

    item: str
    node: Node

    def read(self, element: etree._Element) -> tuple[Any, ...]:
        values = (self.node.read(child) for child in element if local_name(child) == self.item)
        return tuple(value for value in values if value is not None)

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        element = etree.SubElement(parent, tags[name])
        for number, item in enumerate(value):
            self.node.write(element, tags, self.item, item, f"{path}[{number}]")


@dataclass(frozen=True, slots=True)
class Element:
    """A row of the table: an element, the attribute of the message that holds it, and its kind.

    :ivar required: by the schema, when we write.
    :ivar many: the element repeats, and the attribute is a tuple.
    :ivar absent: the value that stands for no element.
    :ivar aliases: other names under which peers send it.
    :ivar flat: peers leave this element out and put its children in its parent.
    """

    name: str
    attr: str
    node: Node
    required: bool = False
    many: bool = False
    absent: Any = None
    aliases: tuple[str, ...] = ()
    flat: bool = False
    #: Gives the value from the other ones of the message where it is absent.
    default: Callable[[Any], Any] | None = None
    #: How often peers may repeat the element; None for as often as they like.
    most: int | None = None


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Structure:
    """An element that holds elements, driven by its rows."""

    make: Callable[..., Any]
    rows: tuple[Element, ...]
    #: Attributes without which ``make`` cannot work.
    needed: tuple[str, ...] = ()
    by_name: dict[str, Element] = field(init=False, repr=False, compare=False)
    values_of: Callable[[Any], Sequence[Any]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {alias: row for row in self.rows for alias in row.aliases} | {row.name: row for row in self.rows}
        object.__setattr__(self, "by_name", names)
        object.__setattr__(self, "values_of", attrgetter(*(row.attr for row in self.rows)))

    def read(self, element: etree._Element) -> Any:
        values = self.read_values(element)
        if any(attr not in values for attr in self.needed):
            return None
        return self.make(**values)

    def read_values(self, element: etree._Element) -> dict[str, Any]:
        """Read the rows that are there, by attribute."""
        values: dict[str, Any] = {}
        from_aliases: dict[str, Any] = {}
        for child in element:
            name = local_name(child)
            row = self.by_name.get(name)
            if row is None or (value := row.node.read(child)) is None:
                continue
            if row.many:
                values.setdefault(row.attr, []).append(value)
                if len(values[row.attr]) == row.most:
                    raise exceeded(row.attr, row.most)
            else:
                (values if name == row.name else from_aliases).setdefault(row.attr, value)
        for row in self.rows:
            if row.many and row.attr in values:
                values[row.attr] = tuple(values[row.attr])
            elif row.flat and row.attr not in values and (value := row.node.read(element)) is not None:
                values[row.attr] = value
        return from_aliases | values if from_aliases else values

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        self.write_rows(etree.SubElement(parent, tags[name]), tags, value, prefix=f"{path}.")

    def write_rows(
        self,
        element: etree._Element,
        tags: Tags,
        value: Any,
        *,
        prefix: str = "",
        defaults: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """Append the rows of a value to its element.

        :param defaults: values for attributes that are absent.
        """
        for row, given in zip(self.rows, self.values_of(value), strict=True):
            item = given
            if item is None or item == row.absent:
                item = row.default(value) if row.default else defaults.get(row.attr)
                if item is None:
                    if row.required:
                        raise InputError(prefix + row.attr, "is missing", f"MM7 requires {row.name}.")
                    continue
            if row.many:
                for number, one in enumerate(item):
                    row.node.write(element, tags, row.name, one, f"{prefix}{row.attr}[{number}]")
            else:
                row.node.write(element, tags, row.name, item, prefix + row.attr)
