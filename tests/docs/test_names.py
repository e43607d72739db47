"""The documentation names what there is."""

from __future__ import annotations

from airflow_provider_mm7.cli.definition import get_mm7_cli_commands
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
