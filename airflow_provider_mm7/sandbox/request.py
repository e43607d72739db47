"""What a request asks for, read from its XML without the product's codec: the sandbox is the second witness."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The fields that an MMSC acts by, and that the record shows."""

    operation: str
    mm7_version: str | None = None
    #: The message that a CancelReq or ReplaceReq is about.
    message_id: str | None = None
    vasp_id: str | None = None
    vas_id: str | None = None
    sender: str | None = None
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str | None = None
    linked_id: str | None = None
    priority: str | None = None
    delivery_report: bool = False
    read_reply: bool = False

    @property
    def recipients(self) -> tuple[str, ...]:
        """To + Cc + Bcc."""
        return self.to + self.cc + self.bcc


def read_request(element: etree._Element, operation: str, namespace: str) -> Request:
    """Read the fields.

    :param element: the operation.
    :param operation: its local name.
    :param namespace: its namespace.
    """
    prefix = f"{{{namespace}}}"
    children: dict[str, etree._Element] = {str(child.tag): child for child in element}

    def _value(name: str) -> str | None:
        child = children.get(prefix + name)
        return None if child is None else (child.text or "").strip()

    identity = children.get(prefix + "SenderIdentification")
    sender_address = None if identity is None else identity.find(prefix + "SenderAddress")
    recipients = children.get(prefix + "Recipients")
    return Request(
        operation=operation,
        mm7_version=_value("MM7Version"),
        message_id=_value("MessageID"),
        vasp_id=None if identity is None else _stripped(identity.findtext(prefix + "VASPID")),
        vas_id=None if identity is None else _stripped(identity.findtext(prefix + "VASID")),
        sender=None if sender_address is None else next(iter(_addresses(sender_address)), None),
        to=_listed(recipients, prefix + "To"),
        cc=_listed(recipients, prefix + "Cc"),
        bcc=_listed(recipients, prefix + "Bcc"),
        subject=_value("Subject"),
        linked_id=_value("LinkedID"),
        priority=_value("Priority"),
        delivery_report=_value("DeliveryReport") in {"true", "1"},
        read_reply=_value("ReadReply") in {"true", "1"},
    )


def _listed(recipients: etree._Element | None, name: str) -> tuple[str, ...]:
    if recipients is None:
        return ()
    return tuple(address for group in recipients.findall(name) for address in _addresses(group))


def _addresses(group: etree._Element) -> tuple[str, ...]:
    return tuple((one.text or "").strip() for one in group if isinstance(one.tag, str))


def _stripped(text: str | None) -> str | None:
    return None if text is None else text.strip()
