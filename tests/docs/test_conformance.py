"""The table of what is supported holds every element that the code knows and every row of the vendor's page, and the
tests that it names exist.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from airflow_provider_mm7.media import SUPPORTED_TYPES, media_type_on_wire
from airflow_provider_mm7.protocol import MM_STATUSES, STATUS_CODES, Verdict, schema
from tests.docs.pages import DOCS, ROOT, literals, sections
from tests.support.elements import elements, values

PAGE = DOCS / "conformance.rst"
TABLES = sections(PAGE)

_TEST = re.compile(r"[\w/]+\.py::[\w:]+")


@cache
def _tests(path: Path) -> frozenset[str]:
    """Return the names of a file's tests, those in classes as pytest writes them."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def named(text: str) -> list[str]:
    return [literal for literal in literals(text) if _TEST.fullmatch(literal)]


def test_every_test_that_is_named_exists() -> None:
    names = named(PAGE.read_text().replace("\n", " "))
    assert len(names) > 300
    unknown = []
    for name in names:
        file, _, test = name.partition("::")
        path = ROOT / "tests" / file
        if not path.is_file() or test not in _tests(path):
            unknown.append(name)
    assert unknown == []


def test_every_row_names_a_test() -> None:
    rows = [(title, row) for title, table in TABLES.items() for row in table]
    assert [(title, row[0]) for title, row in rows if not named(row[-1])] == []


@pytest.mark.parametrize("operation", sorted(schema.OPERATIONS))
def test_every_element_of_an_operation_has_its_row(operation: str) -> None:
    assert [literals(row[0])[0] for row in TABLES[operation]] == elements(operation)
    assert [row for row in TABLES[operation] if not row[1].startswith("yes")] == []


def test_every_operation_is_listed() -> None:
    text = " ".join(row[0] for row in TABLES["Operations"])
    assert [name for name in schema.OPERATIONS if name not in text] == []


def test_every_value_is_listed() -> None:
    rows = {literals(row[0])[0]: frozenset(literals(row[1])) for row in TABLES["Values"] if row[0].startswith("``")}
    # Of addresses, which are no row of the table.
    assert rows.pop("Number@addressCoding") == {"encrypted", "obfuscated"}
    assert rows == values()


#: How the page words a verdict.
WORDS = {
    Verdict.ACCEPTED: "accepted",
    Verdict.PARTIAL: "accepted, but for the addresses that Details names",
    Verdict.PERMANENT: "refused for good",
    Verdict.RETRY: "tried again",
    Verdict.SPLIT: "one recipient at a time",
}


def test_every_status_code_has_its_verdict() -> None:
    rows = [row[:3] for row in TABLES["Status codes"] if row[0] != "any other"]
    assert rows == [[f"``{code}``", text, WORDS[verdict]] for code, (text, verdict) in STATUS_CODES.items()]


def test_every_delivery_status_is_listed() -> None:
    rows = {literals(row[0])[0]: row[1] for row in TABLES["Delivery and read statuses"] if row[0].startswith("``")}
    assert list(rows) == list(MM_STATUSES)
    reports = {name: outcome for name, outcome in MM_STATUSES.items() if name not in ("Read", "Deleted")}
    words = {"interim": "pending"}
    wrong = [
        name for name, outcome in reports.items() if not rows[name].startswith(words.get(outcome.value, outcome.value))
    ]
    assert wrong == []


# --- the vendor's page, row by row ------------------------------------------------------------------------------------

PARAMETERS = [
    ("MM7Schema", "string"),
    ("MM7Version", "string"),
    ("SenderIdentification", "SenderIdentification"),
    ("Recipients", "Recipients"),
    ("TimeStamp", "string"),
    ("ExpiryDate", "string"),
    ("DeliveryReport", "string"),
    ("Subject", "string"),
    ("Content", "Content"),
    ("Priority", "string"),
]
CODES = [
    ("1xxx", "Successful operation"),
    ("2xxx", "Client errors"),
    ("3xxx", "Server errors"),
    ("4xxx", "Service errors"),
    ("1000", "Success"),
    ("2000", "Client error"),
    ("2002", "Address Error"),
    ("2004", "Multimedia content refused"),
    ("2007", "Message format corrupt"),
    ("3003", "Multiple addresses not supported"),
]
STATUSES = ["Expired", "Forwarded", "Indeterminate", "Rejected", "Retrieved"]
FORMATS = [
    ("JPEG", "image/jpeg", "Full"),
    ("BMP", "image/bmp", "Full"),
    ("GIF87a, GIF89a", "image/gif", "Full"),
    ("PNG", "image/png", "Full"),
    ("TIFF", "image/tiff", "Full"),
    ("HEIC", "image/heic", "Partial"),
    ("AMR", "audio/amr", "Full"),
    ("MP3", "audio/mpeg3", "Full"),
    ("MID, MIDI", "audio/midi", "Full"),
    ("WAV", "audio/wav", "Full"),
    ("AU", "audio/basic", "Full"),
    ("MPEG, MPG", "image/mp4", "Full"),
    ("MP4", "image/mpeg", "Full"),
    ("3GP", "image/3gpp", "Full"),
    ("AVI", "video/msvideo, video/avi, application/x-troff-msvideo, video/x-msvideo", "Full"),
    ("MOV", "image/quicktime", "Full"),
    ("TXT, TeXT, US-ASCII", "text/plain", "Full"),
    ("iCalendar, iCal", "text/calendar", "Partial"),
    ("VCF, VCARD", "text/vcard", "Partial"),
]
BEFORE_THE_FIRST_REQUEST = [
    "HTTP Basic Authentication",
    "HTTP 401 without the correct credentials or permission",
    "Authorised IP Addresses",
    "Base URI",
    "Versions",
    "E.164 international format",
    "timestamps by RFC 3339",
    "https:// namespaces, as its examples print them",
    "MM7_Submit Request: Subject before Priority",
]
CALLBACKS = [
    "Callback authentication",
    "Credentials in the callback URL, URL encoded",
    "MO and DLR callbacks, to one URL or two",
    "Your platform must reply with a SOAP response",
]
EXAMPLES = [
    "MM7_Submit Request",
    "MM7_Submit Response Example",
    "Curl Example",
    "Send MMS Message Example",
    "SMIL File Example",
    "MM7_deliver Request",
    "MM7_deliver Response Example",
    "MM7_DeliveryReport Request",
    "MM7_DeliveryReport Response Example",
]


def test_supported_parameters() -> None:
    rows = TABLES["Supported MM7_Submit Parameters"]
    assert [(literals(row[0])[0], row[1]) for row in rows] == PARAMETERS


def test_status_codes() -> None:
    assert [(literals(row[0])[0], row[1]) for row in TABLES["Status codes of the page"]] == CODES


def test_delivery_statuses() -> None:
    rows = TABLES["DLR Status Codes"]
    assert [literals(row[0])[0] for row in rows] == STATUSES
    outcomes = [MM_STATUSES[name].value for name in STATUSES]
    assert [row[1].split(":")[0].split(",")[0] for row in rows] == outcomes


def test_file_formats() -> None:
    rows = TABLES["Known Supported File Formats"]
    assert [(row[0], ", ".join(literals(row[1])), row[2]) for row in rows] == FORMATS
    sent = [literals(row[3])[0] for row in rows]
    assert [name for name in sent if name not in SUPPORTED_TYPES] == []
    # With the vendor's spelling each is sent as the page spells it.
    spelled = [media_type_on_wire(name, "vendor") for name in sent]
    assert [name for name, row in zip(spelled, FORMATS, strict=True) if name not in row[1].split(", ")] == []


@pytest.mark.parametrize(
    ("title", "rows"),
    [("Before the first request", BEFORE_THE_FIRST_REQUEST), ("Callbacks", CALLBACKS), ("Examples", EXAMPLES)],
)
def test_everything_else_on_the_page(title: str, rows: list[str]) -> None:
    assert [row[0] for row in TABLES[title]] == rows
