"""The SOAP envelope around a message (SOAP 1.1, TS 23.140 clause 8.7.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from lxml import etree

from airflow_provider_mm7.exceptions import InputError, UnknownOperation, XmlError
from airflow_provider_mm7.protocol.limits import DEFAULT_LIMITS, Limits
from airflow_provider_mm7.protocol.messages import AddressKind, Fault, Message
from airflow_provider_mm7.protocol.nodes import Tags, folded_text
from airflow_provider_mm7.protocol.parts import MM7_NAMESPACE, MM7_VERSION, SOAP_NAMESPACE, Dialect
from airflow_provider_mm7.protocol.scalars import POSITIVE_INTEGER, TEXT, TOKEN
from airflow_provider_mm7.protocol.schema import IN_FAULT, OPERATIONS
from airflow_provider_mm7.protocol.statuses import status_text
from airflow_provider_mm7.protocol.xmlread import UNDECLARED, local_name, parse_xml

_DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'
#: Bounded, as names are kept for a while.
_NAMESPACE = re.compile(r"""[^\x00-\x20{}<>"'&|\\^`\x7f-\U0010ffff]{1,1024}""")

#: What may answer a request.
_ANSWERS = frozenset(name for name in OPERATIONS if name.endswith("Rsp"))

_tags = lru_cache(maxsize=32)(Tags)


def read_soap(
    data: bytes, *, charset: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[Message, str | None, Dialect]:
    """Read the SOAP part.

    Names are matched without namespace, and neither Envelope nor Header nor Body need be there.

    :param data: the XML.
    :param charset: of its Content-Type.
    :param limits: bounds of the XML.
    :return: the message, its TransactionID, and the namespaces and version as the peer wrote them.
    :raises XmlError: the XML cannot be read, or an element without which the message says nothing is missing.
    :raises UnknownOperation: the XML holds no MM7 message.
    """
    root = parse_xml(data, charset=charset, limits=limits)
    operation = _find_operation(root)
    if local_name(operation) == "Fault":
        message, operation = _read_fault(operation)
    else:
        message = _read_operation(operation)
    beside = _beside(root, operation)
    transaction = next((child for child in beside if local_name(child) == "TransactionID"), None)
    transaction_id = None if transaction is None else TOKEN.parse(transaction.text or "")
    dialect = Dialect(
        soap_namespace=_namespace(root if local_name(root) == "Envelope" else None) or SOAP_NAMESPACE,
        mm7_namespace=_namespace(None if isinstance(message, Fault) else operation)
        or _namespace(transaction)
        or MM7_NAMESPACE,
        mm7_version=message.mm7_version or MM7_VERSION,
    )
    return message, transaction_id, dialect


def _find_operation(root: etree._Element) -> etree._Element:
    """Find the message, or the Fault, at most two levels below the root."""
    candidates = [root]
    for _ in range(3):
        for element in candidates:
            if local_name(element) in OPERATIONS or local_name(element) == "Fault":
                return element
        candidates = [
            child for element in candidates for child in element if local_name(element) in ("Envelope", "Body")
        ]
    raise UnknownOperation(f"the XML holds no MM7 message; its root is {local_name(root)[:64]}")


def _beside(root: etree._Element, operation: etree._Element) -> Iterator[etree._Element]:
    """Give what may be the TransactionID: it stands in the Header or, with peers that send none, beside the message."""
    for child in root:
        if local_name(child) == "Header":
            yield from child
    yield from root
    above = operation.getparent()
    if above is not None:
        yield from above
    yield from operation


def _read_operation(element: etree._Element) -> Message:
    name = local_name(element)
    structure = OPERATIONS[name]
    values = structure.read_values(element)
    for attr in structure.needed:
        if attr not in values:
            missing = next(row.name for row in structure.rows if row.attr == attr)
            raise XmlError(f"{name} holds no readable {missing}")
    message: Message = structure.make(**values)
    return message


def _read_fault(fault: etree._Element) -> tuple[Message, etree._Element]:
    """Read a SOAP 1.1 Fault, or a SOAP 1.2 one.

    An answer in its detail speaks for it, RSErrorRsp and VASPErrorRsp before others, unless it holds no status. Servers
    quote there the request that they refuse, too: that is no answer.

    :return: the message, and its element.
    """
    answers = (below for below in fault.iter() if local_name(below) in _ANSWERS)
    answer = min(answers, key=lambda element: local_name(element) not in IN_FAULT, default=None)
    if answer is not None:
        with suppress(XmlError):
            return _read_operation(answer), answer
    texts = {local_name(child).lower(): folded_text(child) for child in fault}
    bare = Fault(
        fault_code=texts.get("faultcode") or texts.get("code") or None,
        fault_string=texts.get("faultstring") or texts.get("reason") or None,
        detail=texts.get("detail") or None,
    )
    return bare, fault


def _namespace(element: etree._Element | None) -> str | None:
    """Give an element's namespace where it can be used in an answer."""
    namespace = "" if element is None else str(element.tag)[1:].rpartition("}")[0]
    return namespace if _is_namespace(namespace) and not namespace.startswith(UNDECLARED) else None


def _is_namespace(name: str) -> bool:
    return _NAMESPACE.fullmatch(name) is not None and _can_be_written(name)


@lru_cache(maxsize=64)
def _can_be_written(namespace: str) -> bool:
    """Tell whether lxml writes a namespace name, which it does with none that is no URI (``urn:%zz``)."""
    try:
        etree.Element(f"{{{namespace}}}a")
    except ValueError:
        return False
    return True


def write_soap(message: Message, *, transaction_id: str | None, dialect: Dialect, defaults: Mapping[str, Any]) -> bytes:
    """Write the SOAP part.

    :param message: what to say.
    :param transaction_id: of the SOAP header; None leaves the header out.
    :param dialect: namespaces, and the version where the message names none.
    :param defaults: values for attributes of the message that are absent.
    :return: XML in UTF-8.
    :raises InputError: the message would not be valid.
    """
    for field in ("soap_namespace", "mm7_namespace"):
        if not _is_namespace(getattr(dialect, field)):
            raise InputError(field, "is not a namespace name", "Give a URI.")
    soap = dialect.soap_namespace
    envelope = etree.Element(f"{{{soap}}}Envelope", nsmap={"env": soap})
    if transaction_id is not None:
        header = etree.SubElement(envelope, f"{{{soap}}}Header")
        element = etree.SubElement(
            header, f"{{{dialect.mm7_namespace}}}TransactionID", nsmap={"mm7": dialect.mm7_namespace}
        )
        element.set(f"{{{soap}}}mustUnderstand", "1")
        element.text = TOKEN.format(transaction_id, "transaction_id")
    body = etree.SubElement(envelope, f"{{{soap}}}Body")
    if isinstance(message, Fault):
        _write_fault(body, soap, message)
    else:
        _write_operation(body, message, dialect, defaults)
    data = _DECLARATION + etree.tostring(envelope, encoding="utf-8")
    if b' id="' in data:
        _refuse_double_ids(body, _tags(dialect.mm7_namespace))
    return data


def _refuse_double_ids(body: etree._Element, tags: Tags) -> None:
    """Check what the schema says of addresses: an id (xs:ID) occurs once in a document."""
    ids = [element.get("id") for kind in AddressKind for element in body.iter(tags[kind])]
    named = [value for value in ids if value is not None]
    if len(set(named)) < len(named):
        raise InputError("recipients", "give two addresses one id", "Give each its own, or none.")


def _default_namespace(namespace: str) -> dict[str, str]:
    # lxml's stubs know no default namespace, which is spelled None.
    return {None: namespace}  # type: ignore[dict-item]


def _write_operation(body: etree._Element, message: Message, dialect: Dialect, defaults: Mapping[str, Any]) -> None:
    name = type(message).__name__
    structure = OPERATIONS.get(name)
    if structure is None:
        raise InputError("message", f"{name} is no operation of MM7", "Use one of the messages of this package.")
    parent = body
    if name in IN_FAULT:
        # TS 23.140 clause 8.7.6: RSErrorRsp and VASPErrorRsp travel in the detail of a Fault.
        code = message.status.status_code  # type: ignore[attr-defined]
        side = "Server" if POSITIVE_INTEGER.format(code, "status.status_code")[0] == "3" else "Client"
        parent = _fault(body, dialect.soap_namespace, f"env:{side}", status_text(code))
        parent = etree.SubElement(parent, "detail")
    tags = _tags(dialect.mm7_namespace)
    element = etree.SubElement(parent, tags[name], nsmap=_default_namespace(dialect.mm7_namespace))
    structure.write_rows(element, tags, message, defaults=defaults)


def _fault(body: etree._Element, soap: str, code: str, text: str) -> etree._Element:
    """Append a Fault. SOAP 1.1 section 4.4: faultcode and faultstring are required, and have no namespace."""
    fault = etree.SubElement(body, f"{{{soap}}}Fault")
    etree.SubElement(fault, "faultcode").text = code
    etree.SubElement(fault, "faultstring").text = text
    return fault


def _write_fault(body: etree._Element, soap: str, message: Fault) -> None:
    for field in ("fault_code", "fault_string"):
        if getattr(message, field) is None:
            raise InputError(field, "is missing", "SOAP requires it in a Fault.")
    fault = _fault(
        body,
        soap,
        " ".join(TEXT.format(message.fault_code, "fault_code").split()),
        " ".join(TEXT.format(message.fault_string, "fault_string").split()),
    )
    if message.detail is not None:
        etree.SubElement(fault, "detail").text = " ".join(TEXT.format(message.detail, "detail").split())
