"""One request, read and judged: what it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_mm7.sandbox import grammar, validation
from airflow_provider_mm7.sandbox.answers import Tongue
from airflow_provider_mm7.sandbox.request import Request, read_request
from airflow_provider_mm7.sandbox.settings import Settings
from airflow_provider_mm7.sandbox.structure import Reading, StructureReader
from airflow_provider_mm7.sandbox.validation import Finding, SchemaCheck, Soap

#: A Details element lists this many findings; the record has all.
DETAILS_FINDINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A request and what the sandbox thinks of it.

    :ivar request: its fields; None when it holds no operation of a VASP.
    :ivar as_fault: an error is answered with RSErrorRsp in a Fault, since the operation itself is not understood.
    """

    reading: Reading
    soap: Soap | None
    request: Request | None
    tongue: Tongue
    findings: tuple[Finding, ...]
    as_fault: bool = False
    schema_valid: bool | None = None
    schema_messages: tuple[str, ...] = ()

    def refusal(self, *, pedantic: bool) -> tuple[int, str] | None:
        """(status code, details) when the request must be refused."""
        counted = [one for one in self.findings if pedantic or not one.printed]
        if not counted:
            return None
        return counted[0].status_code, "; ".join(one.text for one in counted[:DETAILS_FINDINGS])


class Judge:
    """Reads and judges bodies. Used from one thread.

    :param settings: limits, namespaces.
    :param schema: the XML Schema, where there is one.
    """

    def __init__(self, settings: Settings, schema: SchemaCheck | None) -> None:
        self._settings = settings
        self._schema = schema
        self._reader = StructureReader()

    def judge(self, body: bytes, headers: Mapping[str, str]) -> Judged:
        """Judge one request.

        :param body: of the HTTP request.
        :param headers: by lower-case name.
        """
        content_type = headers.get("content-type", "")
        too_long = len(body) > self._settings.max_message_bytes
        reading = self._reader.read(body, content_type, media=not too_long)
        findings = _check_headers(headers)
        if too_long:
            limit = self._settings.max_message_bytes
            findings.append(Finding(status_code=2004, text=f"the message has {len(body)} bytes, {limit} are allowed"))
        try:
            root = validation.parse_xml(reading.soap)
        except ValueError as exc:
            corrupt = Finding(status_code=2007, text=str(exc))
            found = (*findings, corrupt) if too_long else (corrupt, *findings)
            return Judged(reading=reading, soap=None, request=None, tongue=Tongue(), findings=found, as_fault=True)
        soap = validation.read_soap(root, self._settings.accept_namespace)
        return self._judge_soap(soap, reading, [*soap.findings, *findings], check_media=not too_long)

    def _judge_soap(self, soap: Soap, reading: Reading, findings: list[Finding], *, check_media: bool) -> Judged:
        request = None
        if soap.element is not None and soap.operation in grammar.REQUESTS:
            request = read_request(soap.element, str(soap.operation), soap.mm7_namespace)
        version = request.mm7_version if request else None
        plain = Tongue()
        tongue = Tongue(
            soap_namespace=soap.soap_namespace or plain.soap_namespace,
            mm7_namespace=soap.mm7_namespace or plain.mm7_namespace,
            mm7_version=version if version in grammar.VERSIONS else plain.mm7_version,
            transaction_id=soap.transaction_id,
        )
        if request is None:
            if not soap.findings:
                findings = [Finding(status_code=4003, text=f"{soap.operation} is not an operation of an MMSC")]
            return Judged(
                reading=reading, soap=soap, request=None, tongue=tongue, findings=tuple(findings), as_fault=True
            )
        as_fault = bool(soap.findings)
        if version not in grammar.VERSIONS:
            unsupported = Finding(status_code=4002, text=f"MM7Version {version or 'is missing'}")
            findings, as_fault = [*findings, unsupported], True
        findings += validation.check_request(soap)
        findings += self._check_recipients(request)
        if check_media:
            findings += validation.check_content(soap, reading)
        schema_messages = self._schema.messages(soap) if self._schema else []
        return Judged(
            reading=reading,
            soap=soap,
            request=request,
            tongue=tongue,
            findings=tuple(findings),
            as_fault=as_fault,
            schema_valid=not schema_messages if self._schema else None,
            schema_messages=tuple(schema_messages),
        )

    def _check_recipients(self, request: Request) -> list[Finding]:
        findings = validation.check_numbers(request.recipients)
        allowed = self._settings.recipients_per_request
        if len(request.recipients) > allowed:
            text = f"{len(request.recipients)} recipients, {allowed} are allowed in one request"
            findings.append(Finding(status_code=3003, text=text))
        return findings


def _check_headers(headers: Mapping[str, str]) -> list[Finding]:
    """SOAP 1.1 section 6.1.1 and RFC 2045 section 4. The page's samples leave one or the other out."""
    findings = []
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in {"text/xml", "multipart/related"}:
        findings.append(Finding(status_code=2007, text="Content-Type must be text/xml or multipart/related"))
    if "soapaction" not in headers:
        findings.append(Finding(status_code=2007, text="there is no SOAPAction header", printed=True))
    if media_type == "multipart/related" and headers.get("mime-version") != "1.0":
        findings.append(Finding(status_code=2007, text="there is no MIME-Version: 1.0 header", printed=True))
    return findings
