"""What the sandbox says, written by hand and not by the product's encoder, which would then read itself."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

#: SOAP 1.1.
SOAP_NAMESPACE = "http://schemas.xmlsoap.org/soap/envelope/"
XML_TYPE = 'text/xml; charset="utf-8"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Tongue:
    """How the peer spoke, and so how it is answered."""

    soap_namespace: str = SOAP_NAMESPACE
    mm7_namespace: str = "http://www.3gpp.org/ftp/Specs/archive/23_series/23.140/schema/REL-5-MM7-1-3"
    mm7_version: str = "5.3.0"
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Status of an answer."""

    status_code: int
    status_text: str
    details: str | None = None


def element(name: str, text: str | None) -> str:
    """One element with its text, or nothing for None."""
    return "" if text is None else f"<{name}>{escape(text)}</{name}>"


def envelope(tongue: Tongue, body: str) -> bytes:
    """A SOAP envelope with the TransactionID, if there is one."""
    transaction = ""
    if tongue.transaction_id is not None:
        transaction = (
            f'<mm7:TransactionID xmlns:mm7={quoteattr(tongue.mm7_namespace)} env:mustUnderstand="1">'
            f"{escape(tongue.transaction_id)}</mm7:TransactionID>"
        )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<env:Envelope xmlns:env={quoteattr(tongue.soap_namespace)}>'
        f"<env:Header>{transaction}</env:Header><env:Body>{body}</env:Body></env:Envelope>"
    ).encode()


def _inner(tongue: Tongue, name: str, verdict: Verdict, message_id: str | None) -> str:
    return (
        f"<{name} xmlns={quoteattr(tongue.mm7_namespace)}>{element('MM7Version', tongue.mm7_version)}<Status>"
        f"{element('StatusCode', str(verdict.status_code))}{element('StatusText', verdict.status_text)}"
        f"{element('Details', verdict.details)}</Status>{element('MessageID', message_id)}</{name}>"
    )


def response(tongue: Tongue, request: str, verdict: Verdict, message_id: str | None = None) -> bytes:
    """SubmitRsp, CancelRsp or ReplaceRsp.

    :param request: name of the request's element.
    :param message_id: None where none was assigned, or where the MMSC forgets to say it.
    """
    if request == "SubmitReq" and verdict.status_code // 1000 != 1:
        # The schema asks for it in a refusal too, which names no message.
        message_id = ""
    return envelope(tongue, _inner(tongue, request.removesuffix("Req") + "Rsp", verdict, message_id))


def fault(tongue: Tongue, verdict: Verdict) -> bytes:
    """A SOAP Fault with RSErrorRsp (TS 23.140 clause 8.7.8.3.2)."""
    code = "Client" if verdict.status_code // 1000 in (2, 4) else "Server"
    return envelope(
        tongue,
        f"<env:Fault><faultcode>env:{code}</faultcode>{element('faultstring', verdict.status_text)}"
        f"<detail>{_inner(tongue, 'RSErrorRsp', verdict, None)}</detail></env:Fault>",
    )


#: Scenario 0904: what a proxy says in place of the MMSC.
PROXY_PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><p>It works!<br></body></html>"
#: Scenario 0908.
NOISE = b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n"
