"""The message that every way sends: one picture, one line of text, to numbers that differ."""

from __future__ import annotations

import random
import uuid

LOGIN, PASSWORD = "vasp", "secret"
TEXT = "Science news, new Saturn pictures..."
SUBJECT = "News"

#: What begins a JPEG file (JFIF), so that its type is known by its bytes.
_JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"

#: A SubmitReq as somebody would write it who writes no library.
_SOAP = """<?xml version="1.0" encoding="utf-8"?>
<soap-env:Envelope xmlns:soap-env="http://schemas.xmlsoap.org/soap/envelope/"><soap-env:Header>
<mm7:TransactionID xmlns:mm7="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"
 soap-env:mustUnderstand="1">{transaction_id}</mm7:TransactionID></soap-env:Header><soap-env:Body>
<SubmitReq xmlns="http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3">
<MM7Version>5.3.0</MM7Version><SenderIdentification><VASPID>demo</VASPID><VASID>news</VASID></SenderIdentification>
<Recipients><To><Number>{number}</Number></To></Recipients><DeliveryReport>true</DeliveryReport>
<Subject>{subject}</Subject><Content href="cid:content"/></SubmitReq></soap-env:Body></soap-env:Envelope>
"""


def picture(size: int) -> bytes:
    """Return a picture of so many bytes that does not compress, the same every time."""
    return _JPEG + random.Random(size).randbytes(max(size - len(_JPEG), 0))


def number(index: int) -> str:
    """Return a mobile number, another for each index below a million."""
    return f"+6421{200_0000 + index:07}"


def soap(index: int) -> str:
    """Return the SOAP part for one recipient, with a TransactionID of its own."""
    return _SOAP.format(transaction_id=uuid.uuid4(), number=number(index), subject=SUBJECT)
