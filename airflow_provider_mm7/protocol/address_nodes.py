"""Addresses in XML (TS 23.140 ``AddressGroup``): one, or lists of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lxml import etree

from airflow_provider_mm7.exceptions import AddressError, InputError
from airflow_provider_mm7.protocol.addresses import plain_address
from airflow_provider_mm7.protocol.messages import Address, AddressKind, Recipients
from airflow_provider_mm7.protocol.nodes import Tags, attribute_texts
from airflow_provider_mm7.protocol.scalars import BOOLEAN, TOKEN, checked_text, choice
from airflow_provider_mm7.protocol.xmlread import local_name

#: xs:ID is an NCName; its ASCII part is enough for what we write.
_NC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
_ADDRESS_KINDS = {str(kind): kind for kind in AddressKind}
_RECIPIENT_LISTS = (("To", "to"), ("Cc", "cc"), ("Bcc", "bcc"))
_RECIPIENT_ATTRS = dict(_RECIPIENT_LISTS)
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
    """Read the addresses in an element, however deep a peer put them; bare text is one too, also that of a To in it."""
    found = [
        address
        for child in element.iter()
        if local_name(child) in _ADDRESS_KINDS and (address := read_address(child)) is not None
    ]
    if found or local_name(element) in _ADDRESS_KINDS:
        return found
    holders = (element, *(child for child in element if local_name(child) in _RECIPIENT_ATTRS))
    bare = next((text for holder in holders if (text := (holder.text or "").strip())), "")
    if not bare:
        return found
    is_mail = "@" in plain_address(bare)
    return [Address(value=bare, kind=AddressKind.RFC2822 if is_mail else AddressKind.NUMBER)]


@dataclass(frozen=True, slots=True)
class AddressNode:
    """An element that holds one address."""

    def read(self, element: etree._Element) -> Address | None:
        return next(iter(read_addresses(element)), None)

    def write(self, parent: etree._Element, tags: Tags, name: str, value: Any, path: str) -> None:
        write_address(etree.SubElement(parent, tags[name]), tags, value, path)


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
