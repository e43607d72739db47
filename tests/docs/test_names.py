"""The documentation names what there is."""

from __future__ import annotations

import re

from airflow_provider_mm7.cli.definition import get_mm7_cli_commands
from airflow_provider_mm7.protocol import MM_STATUSES
from airflow_provider_mm7.protocol.schema import OPERATIONS
from airflow_provider_mm7.provider_info import PROVIDER_INFO
from tests.docs.pages import DOCS


def test_every_field_of_the_form_is_explained() -> None:
    text = (DOCS / "connection.rst").read_text()
    missing = [name for name in PROVIDER_INFO["connection-types"][0]["conn-fields"] if f"``{name}``" not in text]
    assert missing == []


def test_every_option_is_explained() -> None:
    text = (DOCS / "configuration.rst").read_text()
    assert [name for name in PROVIDER_INFO["config"]["mm7"]["options"] if f"\n``{name}``\n" not in text] == []


def test_every_command_is_explained() -> None:
    text = (DOCS / "cli.rst").read_text()
    (group,) = get_mm7_cli_commands()
    assert [command.name for command in group.subcommands if f"``{command.name}" not in text] == []


def test_every_word_of_the_protocol_is_in_the_glossary() -> None:
    words = set(re.findall(r"\w+", (DOCS / "glossary.rst").read_text()))
    elements = {row.name for structure in OPERATIONS.values() for row in structure.rows}
    # An answer is explained with its request.
    requests = {name for name in OPERATIONS if not name.endswith("Rsp") or name.endswith("ErrorRsp")}
    assert sorted((elements | requests | set(MM_STATUSES)) - words) == []
