"""Is a request what the schema and the vendor's page ask for? Every finding, with the status that answers it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lxml import etree

from airflow_provider_mm7.protocol import mask
from airflow_provider_mm7.sandbox import grammar
from airflow_provider_mm7.sandbox.grammar import ComplexType, Rule
from airflow_provider_mm7.sandbox.structure import Reading

#: The page: E.164, with or without ``+``; ``00`` is not supported.
_E164 = re.compile(r"\+?[1-9]\d{6,14}")
_MUST_UNDERSTAND = ("1", "true")
_CORRUPT, _ADDRESS, _CONTENT = 2007, 2002, 2004


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    :ivar status_code: the MM7 status that answers it.
    :ivar text: names the element or header; numbers masked.
    :ivar printed: the vendor's own page does so too: noted, and refused only by a pedantic sandbox.
    """

    status_code: int
    text: str
    printed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Soap:
    """The SOAP part as the sandbox's own eye sees it.

    :ivar operation: the element of the body, None when there is none.
    :ivar element: that element.
    :ivar soap_namespace, mm7_namespace: as the peer spelled them.
    :ivar transaction_id: stripped; None when absent.
    """

    operation: str | None
    element: etree._Element | None
    soap_namespace: str
    mm7_namespace: str
    transaction_id: str | None
    findings: tuple[Finding, ...]


def parse_xml(document: bytes) -> etree._Element:
    """The document's root, entities and network off.

    :raises ValueError: not well-formed, or with a DOCTYPE.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        # The vendor's printed examples have white space before the XML declaration.
        root = etree.fromstring(document.lstrip(b"\xef\xbb\xbf \t\r\n"), parser)
    except etree.XMLSyntaxError as exc:
        raise ValueError(f"the SOAP part is not well-formed XML (line {exc.lineno})") from exc
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValueError("the SOAP part has a DOCTYPE")
    return root


def read_soap(root: etree._Element, extra_namespace: str) -> Soap:
    """Envelope, Header and Body (SOAP 1.1 section 4; TS 23.140 clause 8.7.2)."""
    findings: list[Finding] = []
    soap_namespace, name = _split_name(root)
    if name != "Envelope" or soap_namespace not in grammar.SOAP_NAMESPACES:
        findings.append(Finding(status_code=_CORRUPT, text="the root element is not a SOAP 1.1 Envelope"))
    blocks = {_split_name(child)[1]: child for child in _elements(root)}
    if list(blocks) != ["Header", "Body"] or any(_split_name(one)[0] != soap_namespace for one in blocks.values()):
        findings.append(Finding(status_code=_CORRUPT, text="the Envelope must hold Header and Body, in this order"))
    operations = list(_elements(blocks["Body"])) if "Body" in blocks else []
    if len(operations) != 1:
        findings.append(Finding(status_code=_CORRUPT, text="the Body must hold one element"))
    element = operations[0] if operations else None
    mm7_namespace, operation = _split_name(element) if element is not None else ("", None)
    if element is not None and not (
        grammar.MM7_NAMESPACES.fullmatch(mm7_namespace) or (extra_namespace and mm7_namespace == extra_namespace)
    ):
        findings.append(Finding(status_code=_CORRUPT, text=f"{operation} is in a namespace that is not MM7"))
    transaction, found = _transaction(blocks.get("Header"), soap_namespace, mm7_namespace)
    return Soap(
        operation=operation,
        element=element,
        soap_namespace=soap_namespace,
        mm7_namespace=mm7_namespace,
        transaction_id=transaction,
        findings=(*findings, *found),
    )


def _transaction(
    header: etree._Element | None, soap_namespace: str, mm7_namespace: str
) -> tuple[str | None, list[Finding]]:
    blocks = [one for one in _elements(header) if _split_name(one)[1] == "TransactionID"] if header is not None else []
    if len(blocks) != 1 or not (blocks[0].text or "").strip():
        return None, [Finding(status_code=_CORRUPT, text="the Header must hold one TransactionID")]
    block = blocks[0]
    findings = []
    if _split_name(block)[0] != mm7_namespace:
        findings.append(Finding(status_code=_CORRUPT, text="TransactionID is in another namespace than the operation"))
    if block.get(f"{{{soap_namespace}}}mustUnderstand") not in _MUST_UNDERSTAND:
        findings.append(Finding(status_code=_CORRUPT, text="TransactionID must carry mustUnderstand=1"))
    return (block.text or "").strip(), findings


def check_request(soap: Soap) -> list[Finding]:
    """Element order, names, types and attributes of a request."""
    if soap.element is None or soap.operation not in grammar.TYPES:
        return []
    return list(_check_children(soap.element, grammar.TYPES[soap.operation], soap.mm7_namespace))


def _check_children(parent: etree._Element, kind: ComplexType, namespace: str) -> Iterator[Finding]:
    """Walk one sequence or choice."""
    where = _split_name(parent)[1]
    order = kind.order
    counts = dict.fromkeys(order, 0)
    place, last = -1, ""
    for child in _elements(parent):
        child_namespace, name = _split_name(child)
        if name not in order or child_namespace != namespace:
            reason = "is not in the MM7 namespace" if name in order else f"does not belong in {where}"
            yield Finding(status_code=_CORRUPT, text=f"{name} {reason}")
            continue
        rule = kind.rules[order[name]]
        counts[name] += 1
        if counts[name] > 1 and not rule.many and not kind.choice:
            yield Finding(status_code=_CORRUPT, text=f"{name} stands in {where} more than once")
        elif not kind.choice and order[name] < place:
            printed = (where, last, name) in grammar.PRINTED_SWAPS
            yield Finding(status_code=_CORRUPT, text=f"{name} must stand before {last} in {where}", printed=printed)
        place, last = (order[name], name) if order[name] >= place else (place, last)
        yield from _check_element(child, rule, namespace)
    for rule in kind.rules:
        if rule.required and not counts[rule.name]:
            yield Finding(status_code=_CORRUPT, text=f"{where} has no {rule.name}")
    if kind.choice and not any(counts.values()):
        yield Finding(status_code=_CORRUPT, text=f"{where} is empty")
    if kind.single and sum(counts.values()) > 1:
        yield Finding(status_code=_CORRUPT, text=f"{where} holds more than one address")


def _check_element(element: etree._Element, rule: Rule, namespace: str) -> Iterator[Finding]:
    if rule.children == "anything":
        return
    allowed = dict(rule.attributes)
    for attribute, value in sorted((str(name), str(value)) for name, value in element.attrib.items()):
        check = allowed.get(attribute)
        if check is None:
            yield Finding(status_code=_CORRUPT, text=f"{rule.name} has an attribute {attribute} that the schema lacks")
        elif wanted := check(value):
            yield Finding(status_code=_CORRUPT, text=f"{rule.name}/@{attribute} must be {wanted}")
    for attribute in rule.needs:
        if attribute not in element.attrib:
            yield Finding(status_code=_CORRUPT, text=f"{rule.name} has no attribute {attribute}")
    if rule.children:
        if (element.text or "").strip():
            yield Finding(status_code=_CORRUPT, text=f"{rule.name} holds text of its own")
        yield from _check_children(element, grammar.TYPES[rule.children], namespace)
    elif len(element):
        yield Finding(status_code=_CORRUPT, text=f"{rule.name} must not hold elements")
    elif rule.check is None:
        if (element.text or "").strip():
            yield Finding(status_code=_CORRUPT, text=f"{rule.name} must be empty")
    elif wanted := rule.check(element.text or ""):
        yield Finding(status_code=_CORRUPT, text=f"{rule.name} must be {wanted}")


def check_numbers(numbers: Sequence[str]) -> list[Finding]:
    """The page: numbers in E.164 international format, no ``00`` prefix."""
    findings = []
    for number in numbers:
        plain = number.split("/TYPE=", 1)[0].strip()
        if "@" not in plain and not _E164.fullmatch(plain):
            why = "has the 00 prefix" if plain.startswith("00") else "is not an E.164 number"
            findings.append(Finding(status_code=_ADDRESS, text=f"{mask(plain)} {why}"))
    return findings


def check_content(soap: Soap, reading: Reading) -> list[Finding]:
    """Content points to a part, and the parts are of the vendor's table (status 2004's text)."""
    findings = [Finding(status_code=_CONTENT, text=text, printed=_is_printed(text)) for text in reading.problems]
    hrefs = [] if soap.element is None else [str(one.get("href", "")) for one in _named(soap.element, "Content")]
    if not hrefs and soap.operation == "SubmitReq":
        findings.append(Finding(status_code=_CONTENT, text="the request has no Content"))
    for href in hrefs:
        target = unquote(href[4:]) if href.lower().startswith("cid:") else href
        if target not in reading.identifiers:
            findings.append(Finding(status_code=_CONTENT, text="Content names no part of the message"))
    if hrefs and not reading.leaves:
        findings.append(Finding(status_code=_CONTENT, text="the message has no media part"))
    refused = (leaf.media_type for leaf in reading.leaves if leaf.media_type not in grammar.MEDIA_TYPES)
    findings += [Finding(status_code=_CONTENT, text=f"media type {name} is not supported") for name in refused]
    return findings


def _is_printed(problem: str) -> bool:
    """The page's base64 ends in an ellipsis, which no decoder takes for base64."""
    return "Base64" in problem


class SchemaCheck:
    """The XML Schema itself, where a file of it is given.

    :param path: the file.
    """

    def __init__(self, path: str) -> None:
        document = etree.parse(path, etree.XMLParser(resolve_entities=False, no_network=True))
        self._schema = etree.XMLSchema(document)
        self._namespace = str(document.getroot().get("targetNamespace"))

    def messages(self, soap: Soap) -> list[str]:
        """What the schema says against the request; empty when it is valid.

        The namespace of the peer's release is renamed to the schema's: the releases differ in what they add.
        """
        if soap.element is None:
            return ["there is no MM7 element"]
        alone = etree.tostring(soap.element, with_tail=False)
        renamed = alone.replace(f'"{soap.mm7_namespace}"'.encode(), f'"{self._namespace}"'.encode())
        if self._schema.validate(etree.fromstring(renamed)):
            return []
        entries: Iterable[Any] = self._schema.error_log  # type: ignore[assignment]  # the stub has no entries
        return [f"{entry.line}: {entry.message}".replace(f"{{{self._namespace}}}", "") for entry in entries]


def _elements(parent: etree._Element) -> Iterator[etree._Element]:
    return (child for child in parent if isinstance(child.tag, str))


def _named(parent: etree._Element, name: str) -> Iterator[etree._Element]:
    return (child for child in _elements(parent) if _split_name(child)[1] == name)


def _split_name(element: etree._Element) -> tuple[str, str]:
    """(namespace, local name)."""
    namespace, _, name = str(element.tag).rpartition("}")
    return namespace[1:], name
