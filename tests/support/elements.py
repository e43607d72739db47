"""The table of MM7, flattened: what a reader of a message may meet in each operation."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_mm7.protocol import nodes as n
from airflow_provider_mm7.protocol.address_nodes import RecipientsNode
from airflow_provider_mm7.protocol.scalars import Choice, Scalar
from airflow_provider_mm7.protocol.schema import OPERATIONS


def elements(operation: str) -> list[str]:
    """Return the elements of an operation in the order of the schema.

    :param operation: its name, such as ``SubmitReq``.
    :return: names; ``A/B`` for B within A, ``A@b`` for an attribute, ``A*`` for what repeats.
    """
    return [name for row in OPERATIONS[operation].rows for name in _names(row)]


def _names(row: n.Element) -> Iterator[str]:
    yield row.name + ("*" if row.many else "")
    match row.node:
        case n.Structure(rows=rows):
            yield from (f"{row.name}/{name}" for child in rows for name in _names(child))
        case n.Attributes(rows=attributes):
            yield from (f"{row.name}@{attribute.name}" for attribute in attributes)
        case n.Href():
            yield f"{row.name}@href"
        case RecipientsNode():
            yield from (f"{row.name}/{name}" for name in ("To", "Cc", "Bcc"))
        case n.Wrapped(item=item, node=node):
            yield f"{row.name}/{item}*"
            if isinstance(node, n.Sequenced):
                yield f"{row.name}/{item}@sequence"
            if isinstance(node, n.KeyValue):
                yield from (f"{row.name}/{item}/{name}" for name in ("key", "value"))


def values() -> dict[str, frozenset[str]]:
    """Return the enumerations of the schema: name of the element or attribute -> what we may write there.

    MMStatus has other values in each report, so there the operation stands before it.
    """
    found: dict[str, frozenset[str]] = {}
    for operation, structure in OPERATIONS.items():
        for row in structure.rows:
            for name, scalar in _scalars(row):
                if isinstance(scalar, Choice):
                    key = f"{operation}/{name}" if name == "MMStatus" else name
                    assert found.setdefault(key, scalar.allowed) == scalar.allowed
    return found


def _scalars(row: n.Element) -> Iterator[tuple[str, Scalar]]:
    match row.node:
        case n.Leaf(scalar=scalar):
            yield row.name, scalar
        case n.Wrapped(item=item, node=n.Leaf(scalar=scalar)):
            yield f"{row.name}/{item}", scalar
        case n.Attributes(rows=attributes):
            yield from ((f"{row.name}@{attribute.name}", attribute.scalar) for attribute in attributes)
