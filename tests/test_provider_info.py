from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand

from airflow_provider_mm7 import __version__, get_provider_info
from airflow_provider_mm7.cli.definition import get_mm7_cli_commands
from airflow_provider_mm7.provider_info import PROVIDER_INFO
from airflow_provider_mm7.sandbox.settings import argument_options, flag, option_fields
from tests.support.airflow_cli import AirflowHome

pytestmark = pytest.mark.long

SCHEMAS = Path(airflow.__file__).parent


@pytest.mark.parametrize("name", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_valid_against_airflows_schemas(name: str) -> None:
    schema = json.loads((SCHEMAS / name).read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_gets_a_copy_of_its_own() -> None:
    # ProvidersManager adds keys of its own, which the stricter schema does not know.
    get_provider_info()["connection-types"][0]["added"] = True
    assert "added" not in get_provider_info()["connection-types"][0]


def test_the_stricter_schema_does_look_into_connection_fields() -> None:
    schema = json.loads((SCHEMAS / "provider.yaml.schema.json").read_text())
    broken = json.loads(json.dumps(get_provider_info()))
    broken["connection-types"][0]["conn-fields"]["auth"]["widget"] = "dropdown"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_secret_fields_are_password_fields() -> None:
    fields = PROVIDER_INFO["connection-types"][0]["conn-fields"]
    secret = {name for name, field in fields.items() if field["schema"].get("format") == "password"}
    assert secret == {"headers", "callback_password"}
    assert all(field["description"] for field in fields.values())


def test_defaults_are_valid_in_their_own_schema() -> None:
    for field in PROVIDER_INFO["connection-types"][0]["conn-fields"].values():
        schema = field["schema"]
        if "default" in schema:
            jsonschema.validate(schema["default"], schema)


def test_everything_named_can_be_imported() -> None:
    modules = [
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in PROVIDER_INFO[kind]
        for module in entry["python-modules"]
    ]
    classes = [entry["hook-class-name"] for entry in PROVIDER_INFO["connection-types"]]
    classes += [entry["class-name"] for entry in PROVIDER_INFO["task-decorators"]] + PROVIDER_INFO["notifications"]
    for module in modules:
        import_module(module)
    for path in [*classes, *PROVIDER_INFO["cli"]]:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name)), path


def _actions(commands: Any) -> list[ActionCommand]:
    found: list[ActionCommand] = []
    for command in commands:
        found += _actions(command.subcommands) if isinstance(command, GroupCommand) else [command]
    return found


def test_the_commands_of_the_design_are_there() -> None:
    (group,) = get_mm7_cli_commands()
    names = {command.name for command in group.subcommands}
    assert names == {
        "sandbox",
        "receiver",
        "db",
        "send",
        "reports",
        "inbound",
        "batches",
        "batch",
        "inspect",
        "opt-outs",
        "history",
    }
    groups = {one.name: one.subcommands for one in group.subcommands if isinstance(one, GroupCommand)}
    assert {name: {command.name for command in commands} for name, commands in groups.items()} == {
        "db": {"upgrade", "check", "prune"},
        "batch": {"show", "forget"},
        "opt-outs": {"list", "add", "remove", "import", "export"},
    }


def test_every_command_leads_to_a_function() -> None:
    for command in _actions(get_mm7_cli_commands()):
        # What _command() closed over: the module is only imported when the command runs.
        cells = dict(zip(command.func.__code__.co_freevars, command.func.__closure__ or (), strict=True))
        module = import_module(f"airflow_provider_mm7.cli.{cells['module'].cell_contents}")
        assert callable(getattr(module, cells["function"].cell_contents)), command.name


def test_the_sandbox_takes_what_its_settings_say() -> None:
    (group,) = get_mm7_cli_commands()
    (command,) = (command for command in group.subcommands if command.name == "sandbox")
    options = {arg.flags: arg.kwargs for arg in command.args if arg.flags != ("-v", "--verbose")}
    assert options == {(flag(setting),): argument_options(setting) for setting in option_fields()}


def test_defining_the_commands_loads_nothing_of_ours() -> None:
    code = (
        "import sys, airflow.cli.cli_config\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_mm7.cli.definition import get_mm7_cli_commands\n"
        "from airflow_provider_mm7 import get_provider_info\n"
        "get_mm7_cli_commands(); get_provider_info()\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(done.stdout.split()) <= {
        "airflow_provider_mm7",
        "airflow_provider_mm7.cli",
        "airflow_provider_mm7.cli.definition",
        "airflow_provider_mm7.cli.options",
        "airflow_provider_mm7.cli.sandbox_options",
        "airflow_provider_mm7.provider_info",
    }


# --- the installed package, asked through Airflow's own command line -------------------------------------------------


def test_entry_points() -> None:
    points = {(point.group, point.value) for point in metadata.distribution("airflow-provider-mm7").entry_points}
    assert points == {
        ("apache_airflow_provider", "airflow_provider_mm7:get_provider_info"),
        ("airflow.plugins", "airflow_provider_mm7.plugins.mm7:MM7Plugin"),
    }


@pytest.fixture(scope="module")
def told(migrated_home: AirflowHome) -> dict[str, Any]:
    """What each command tells as JSON."""
    commands = ["providers list", "providers hooks", "providers widgets", "providers behaviours", "plugins"]
    printed = migrated_home.in_turn(*([*command.split(), "-o", "json"] for command in commands))
    return {command: json.loads(text) for command, text in zip(commands, printed, strict=True)}


def test_airflow_lists_the_provider(told: dict[str, Any]) -> None:
    rows = told["providers list"]
    assert [row for row in rows if row["package_name"] == "airflow-provider-mm7"] == [
        {
            "package_name": "airflow-provider-mm7",
            "description": "Send picture messages (MMS) over MM7 and wait for their delivery reports",
            "version": __version__,
        }
    ]


def test_airflow_lists_the_hook(told: dict[str, Any]) -> None:
    (row,) = (row for row in told["providers hooks"] if row["connection_type"] == "mm7")
    assert row["class"] == "airflow_provider_mm7.hooks.mm7.MM7Hook"
    assert row["conn_id_attribute_name"] == "mm7_conn_id"
    assert row["hook_name"] == "MM7 (MMS)"


def test_airflow_shows_the_form(told: dict[str, Any]) -> None:
    widgets = told["providers widgets"]
    shown = {row["connection_parameter_name"] for row in widgets if "extra__mm7__" in row["connection_parameter_name"]}
    assert shown == {f"extra__mm7__{name}" for name in PROVIDER_INFO["connection-types"][0]["conn-fields"]}
    assert {"field_behaviours": "mm7"} in told["providers behaviours"]


def test_airflow_loads_the_plugin(told: dict[str, Any]) -> None:
    (row,) = (row for row in told["plugins"] if row["name"] == "mm7")
    assert "airflow-provider-mm7" in row["source"]


def test_airflow_knows_the_options(airflow_home: AirflowHome) -> None:
    def value(option: str, **extra: str) -> str:
        done = airflow_home.run("config", "get-value", "mm7", option, stdin=None, **extra)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert value("sql_alchemy_conn") == f"sqlite:///{airflow_home.path}/mm7.db"
    command = {"AIRFLOW__MM7__SQL_ALCHEMY_CONN_CMD": "echo postgresql://from-a-command/mm7"}
    assert value("sql_alchemy_conn", **command) == "postgresql://from-a-command/mm7"
    listed = airflow_home.run("config", "list", "--section", "mm7", "--show-values")
    assert "max_callback_bytes = 10485760" in listed.stdout
