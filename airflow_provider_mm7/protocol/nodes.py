"""Elements <-> values: how each kind of element is read and written, side by side. The table in schema.py uses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Protocol

from lxml import etree

from airflow_provider_mm7.exceptions import AddressError, InputError, ProtocolError
from airflow_provider_mm7.protocol.messages import Address, AddressKind, Recipients
from airflow_provider_mm7.protocol.scalars import (
    BOOLEAN,
    POSITIVE_INTEGER,
    TEXT,
    TOKEN,
    Scalar,
    checked_text,
    choice,
)
from airflow_provider_mm7.protocol.xmlread import local_name, parse_xml

_NC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


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
    return " ".join(" ".join(element.itertext()).split())


@dataclass(frozen=True, slots=True)
class ExtensionNode:
    """Extension, kept as its XML in exclusive canonical form, which does not depend on where it stands."""

    def read(self, element: etree._Element) -> str:
        return etree.tostring(element, method="c14n", exclusive=True, with_tail=False).decode("utf-8")

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        try:
            extension = parse_xml(checked_text(value, path).encode("utf-8"))
        except ProtocolError as exc:
            raise InputError(path, "is not well-formed XML", "Give one Extension element.") from exc
        if local_name(extension) != name:
            raise InputError(path, "is not an Extension element", "Wrap it in Extension.")
        extension.tag = tags[name]
        parent.append(extension)


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


def attribute_texts(element: etree._Element) -> dict[str, str]:
    """Give attributes by local name: some peers write ``mm7:href``."""
    return {str(name).rpartition("}")[2]: str(text) for name, text in element.attrib.items()}


@dataclass(frozen=True, slots=True)
class Href:
    """An empty element with nothing but ``href``."""

    scalar: Scalar

    def read(self, element: etree._Element) -> Any:
        return self.scalar.parse(attribute_texts(element).get("href", ""))

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        etree.SubElement(parent, tags[name]).set("href", self.scalar.format(value, path))


_ADDRESS_KINDS = {str(kind): kind for kind in AddressKind}
_ADDRESS_CODING = choice("encrypted", "obfuscated")


def read_address(element: etree._Element) -> Address | None:
    """Read Number, RFC2822Address or ShortCode."""
    value = (element.text or "").strip()
    if not value:
        return None
    kind = _ADDRESS_KINDS[local_name(element)]
    if not element.attrib:
        return Address(value=value, kind=kind)
    texts = attribute_texts(element)
    return Address(
        value=value,
        kind=kind,
        display_only=BOOLEAN.parse(texts.get("displayOnly", "")) or False,
        address_coding=_ADDRESS_CODING.parse(texts.get("addressCoding", "")),
        id=TOKEN.parse(texts.get("id", "")),
    )


def write_address(parent: etree._Element, tags: Tags, address: Address, path: str) -> None:
    """Write Number, RFC2822Address or ShortCode."""
    value = address.value
    if not isinstance(value, str) or not value or value != value.strip():
        raise AddressError(path, "is empty or has white space around it", "Give the bare number.")
    element = etree.SubElement(parent, tags[address.kind])
    element.text = checked_text(value, path)
    if address.display_only:
        element.set("displayOnly", "true")
    if address.address_coding is not None:
        element.set("addressCoding", _ADDRESS_CODING.format(address.address_coding, f"{path}.address_coding"))
    if address.id is not None:
        if not _NC_NAME.fullmatch(address.id):
            raise InputError(f"{path}.id", "is not an XML name", "Begin it with a letter.")
        element.set("id", address.id)


def read_addresses(element: etree._Element) -> list[Address]:
    """Read the addresses in an element, however deep a peer put them; bare text is one too."""
    found = [
        address
        for child in element.iter()
        if local_name(child) in _ADDRESS_KINDS and (address := read_address(child)) is not None
    ]
    bare = (element.text or "").strip()
    if found or not bare or local_name(element) in _ADDRESS_KINDS:
        return found
    is_mail = "@" in bare and "/TYPE=" not in bare
    return [Address(value=bare, kind=AddressKind.RFC2822 if is_mail else AddressKind.NUMBER)]


@dataclass(frozen=True, slots=True)
class AddressNode:
    """An element that holds one address."""

    def read(self, element: etree._Element) -> Address | None:
        return next(iter(read_addresses(element)), None)

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        write_address(etree.SubElement(parent, tags[name]), tags, value, path)


_RECIPIENT_LISTS = (("To", "to"), ("Cc", "cc"), ("Bcc", "bcc"))
_RECIPIENT_ATTRS = dict(_RECIPIENT_LISTS)


@dataclass(frozen=True, slots=True)
class RecipientsNode:
    """To, Cc and Bcc in any order; addresses beside them count as To."""

    def read(self, element: etree._Element) -> Recipients:
        found: dict[str, list[Address]] = {"to": [], "cc": [], "bcc": []}
        lists = [child for child in element if local_name(child) in _RECIPIENT_ATTRS]
        for child in lists:
            found[_RECIPIENT_ATTRS[local_name(child)]] += read_addresses(child)
        for child in element:
            if local_name(child) in _ADDRESS_KINDS:
                found["to"] += read_addresses(child)
        if not lists and not found["to"]:
            found["to"] = read_addresses(element)
        return Recipients(to=tuple(found["to"]), cc=tuple(found["cc"]), bcc=tuple(found["bcc"]))

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        if not value.all:
            raise InputError(path, "holds no address", "Give at least one recipient.")
        element = etree.SubElement(parent, tags[name])
        for list_name, attr in _RECIPIENT_LISTS:
            addresses = getattr(value, attr)
            if addresses:
                group = etree.SubElement(element, tags[list_name])
                for number, address in enumerate(addresses):
                    write_address(group, tags, address, f"{path}.{attr}[{number}]")


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
                item = defaults.get(row.attr)
                if item is None:
                    if row.required:
                        raise InputError(prefix + row.attr, "is missing", f"MM7 requires {row.name}.")
                    continue
            if row.many:
                for number, one in enumerate(item):
                    row.node.write(element, tags, row.name, one, f"{prefix}{row.attr}[{number}]")
            else:
                row.node.write(element, tags, row.name, item, prefix + row.attr)
