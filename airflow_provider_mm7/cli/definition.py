"""The commands of ``airflow mm7`` and their arguments.

Imported at every start of Airflow's command line, whatever the command, so nothing heavy is imported here: the commands
are named, and loaded when they run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    GroupCommand,
)

from airflow_provider_mm7.cli.options import count, days, id_or_parked, option, row_id
from airflow_provider_mm7.cli.sandbox_options import SANDBOX_ARGS

ARG_OUTPUT_JSON = option(
    "-o",
    "--output",
    help="Output format. Allowed values: json, yaml, plain, table (default: json)",
    metavar="(json, table, yaml, plain)",
    choices=("json", "table", "yaml", "plain"),
    default="json",
)

ARG_LIMIT = option("--limit", help="At most so many rows (default: 100)", type=count, default=100)
ARG_LAST = option("--limit", help="Only the last so many rows (default: all)", type=count)
ARG_BATCH_ID = option("--batch-id", help="Only those of this batch")
ARG_MESSAGE_ID = option("--message-id", help="Only those of this MessageID")
#: As the store's own, as states are below.
KINDS = ("delivery", "read")
ARG_KIND = option("--kind", help="Only delivery reports, or only read replies", choices=KINDS)
ARG_MESSAGE = option("message", metavar="MESSAGE_ID", help="The MessageID that the MMSC gave")
ARG_RECIPIENT = option("--recipient", help="Only what was told of this number")
ARG_SINCE = option("--since", help="Only those received since this time (RFC 3339, such as 2026-01-20T09:30:47Z)")

ARG_HOST = option("--host", help="Address to listen on (default: 127.0.0.1)", default="127.0.0.1")
ARG_PORT = option("--port", help="Port to listen on (default: 8080)", type=int, default=8080)

ARG_CONN_ID = option("--conn-id", help="Connection of the MMSC (default: mm7_default)", default="mm7_default")
ARG_TO = option(
    "--to", help="Number to send to; repeat it, or separate numbers by commas", action="append", required=True
)
ARG_SUBJECT = option("--subject", help="Subject line")
ARG_TEXT = option("--text", help="Text part; may be repeated", action="append")
ARG_MEDIA = option("--media", help="URI of a media object (s3://..., file:///...); may be repeated", action="append")
ARG_SMIL = option("--smil", help="auto, none, or the URI of a SMIL document (default: auto)", default="auto")
ARG_AWS_CONN_ID = option(
    "--aws-conn-id",
    help="Connection for s3:// media; empty: boto3's own credentials (default: aws_default)",
    default="aws_default",
)
ARG_DELIVERY_REPORT = option(
    "--delivery-report",
    help="Ask for delivery reports: true or false (default: true)",
    choices=("true", "false"),
    nargs="?",
    const="true",
    default="true",
)
ARG_IDEMPOTENCY_KEY = option(
    "--idempotency-key",
    help="Names this send: a repeat under the same key sends only what was not sent (default: a new one)",
)
ARG_PREVIEW = option("--preview", help="Do everything but the POST, and show the envelope", action="store_true")

ARG_INBOUND_CONN_ID = option("--conn-id", help="Only those that came in on this connection")
ARG_SHORT_CODE = option("--short-code", help="Only those sent to this number")
ARG_SENDER = option("--sender", help="Only those from this number")
ARG_KEYWORD = option("--keyword", help="Only those whose text begins with this word, in upper or lower case")
ARG_LINKED_ID = option("--linked-id", help="Only answers to the message of this MessageID")
ARG_CONSUMER = option(
    "--consumer", help="Show what this consumer has done with each: new, claimed, released, done or parked"
)
ARG_HAND_BACK = option(
    "--hand-back",
    metavar="ID",
    help="Make the message of this id new to the consumer again, and show it; 'parked': all that are; may be repeated",
    type=id_or_parked,
    action="append",
)
ARG_PARKED = option(
    "--parked", help="Only those that the consumer has parked, after as many attempts as it allows", action="store_true"
)

ARG_FILE = option("file", metavar="FILE", help="File with one MM7 message: raw HTTP, or a body; - reads standard input")
ARG_CONTENT_TYPE = option("--content-type", help="Content-Type of the body, where FILE is a body")

#: As the store's own; a test holds the two together, since the store takes long to import.
STATES = ("planned", "sending", "accepted", "refused", "retry", "unknown", "suppressed")
ARG_BATCH = option("batch", metavar="ID", help="The batch's id, or its idempotency key")
ARG_STATE = option("--state", help="Only messages in this state; may be repeated", choices=STATES, action="append")
ARG_AFTER = option(
    "--after", help="Only messages after the one of this id (default: from the first)", type=row_id, default=0
)

ARG_SCOPE = option("--scope", help="What it holds for: conn:CONN_ID or code:SHORT_CODE")
ARG_SCOPE_CONN_ID = option("--conn-id", help="What it holds for, as this connection says")
ARG_NUMBERS = option("numbers", metavar="NUMBER", help="Number in international form", nargs="+")
ARG_RETURNED = option("--returned", help="Also those who came back", action="store_true")
ARG_IMPORTED = option("file", metavar="FILE", help="One number a line, or CSV with a header; - reads standard input")
ARG_EXPORTED = option("file", metavar="FILE", help="File to write (default: standard output)", nargs="?", default="-")
ARG_OUTPUT_CSV = option(
    "-o", "--output", help="Output format: csv or json (default: csv)", choices=("csv", "json"), default="csv"
)

ARG_BEFORE = option("--before", help="Delete what is older than this time (RFC 3339)")
ARG_OLDER_THAN_DAYS = option("--older-than-days", help="Delete what is older than so many days", type=days)
ARG_YES = option("-y", "--yes", help="Do not ask", action="store_true")


def _command(path: str) -> Callable[[Any], None]:
    """Return a command that is imported when it runs, within the boundary that turns errors into one line.

    :param path: ``module.function`` below ``airflow_provider_mm7.cli``.
    """
    module, _, function = path.rpartition(".")

    def command(args: Any) -> None:
        from airflow_provider_mm7.cli.boundary import run_command

        run_command(f"airflow_provider_mm7.cli.{module}", function, args)

    command.__name__ = f"mm7_{function}"
    return command


_DB_COMMANDS = (
    ActionCommand(
        name="upgrade",
        help="Create or migrate the tables of the store",
        func=_command("database.upgrade"),
        args=(ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="check",
        help="Tell whether the store can be used, and who uses it; exit code 1 when something is wrong",
        func=_command("database.check"),
        args=(ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="prune",
        help="Delete batches, reports and messages from handsets that are old",
        func=_command("database.prune"),
        args=(ARG_BEFORE, ARG_OLDER_THAN_DAYS, ARG_YES, ARG_OUTPUT, ARG_VERBOSE),
    ),
)

_OPT_OUT_COMMANDS = (
    ActionCommand(
        name="list",
        help="List who wants no messages",
        func=_command("opt_outs.list_"),
        args=(ARG_SCOPE, ARG_SCOPE_CONN_ID, ARG_RETURNED, ARG_LIMIT, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="add",
        help="Record that numbers want no messages; for mm7_default unless told",
        func=_command("opt_outs.add"),
        args=(ARG_NUMBERS, ARG_SCOPE, ARG_SCOPE_CONN_ID, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="remove",
        help="Record that numbers want messages again; for mm7_default unless told",
        func=_command("opt_outs.remove"),
        args=(ARG_NUMBERS, ARG_SCOPE, ARG_SCOPE_CONN_ID, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="import",
        help="Record the numbers of a file; exit code 1 when some lines hold none",
        func=_command("opt_outs.import_"),
        args=(ARG_IMPORTED, ARG_SCOPE, ARG_SCOPE_CONN_ID, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="export",
        help="Write all opt-outs as CSV or JSON",
        func=_command("opt_outs.export"),
        args=(ARG_EXPORTED, ARG_SCOPE, ARG_SCOPE_CONN_ID, ARG_OUTPUT_CSV, ARG_VERBOSE),
    ),
)

_BATCH_COMMANDS = (
    ActionCommand(
        name="show",
        help="Show where a batch comes from, its counts, its delivery and its messages",
        func=_command("batch.show"),
        args=(ARG_BATCH, ARG_STATE, ARG_LIMIT, ARG_AFTER, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="forget",
        help="Delete a batch and its reports: a task that runs again under its key will send to everybody again",
        func=_command("batch.forget"),
        args=(ARG_BATCH, ARG_YES, ARG_OUTPUT, ARG_VERBOSE),
    ),
)

_COMMANDS = (
    ActionCommand(
        name="send",
        help="Send a picture message; prints what became of it",
        func=_command("send.send"),
        args=(
            ARG_CONN_ID,
            ARG_TO,
            ARG_SUBJECT,
            ARG_TEXT,
            ARG_MEDIA,
            ARG_SMIL,
            ARG_DELIVERY_REPORT,
            ARG_IDEMPOTENCY_KEY,
            ARG_AWS_CONN_ID,
            ARG_PREVIEW,
            ARG_OUTPUT_JSON,
            ARG_VERBOSE,
        ),
    ),
    ActionCommand(
        name="batches",
        help="List what was sent, newest first",
        func=_command("ledger.batches"),
        args=(ARG_LIMIT, ARG_OUTPUT, ARG_VERBOSE),
    ),
    GroupCommand(name="batch", help="Show or forget one batch", subcommands=_BATCH_COMMANDS),
    ActionCommand(
        name="reports",
        help="List delivery reports and read replies, the latest at the end",
        func=_command("ledger.reports"),
        args=(ARG_BATCH_ID, ARG_MESSAGE_ID, ARG_KIND, ARG_SINCE, ARG_LAST, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="history",
        help="List every report on one message, in the order of the reports' own dates",
        func=_command("ledger.history"),
        args=(ARG_MESSAGE, ARG_RECIPIENT, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="inbound",
        help="List messages from handsets, the latest at the end",
        func=_command("inbound.inbound"),
        args=(
            ARG_INBOUND_CONN_ID,
            ARG_SHORT_CODE,
            ARG_SENDER,
            ARG_KEYWORD,
            ARG_LINKED_ID,
            ARG_SINCE,
            ARG_LAST,
            ARG_CONSUMER,
            ARG_PARKED,
            ARG_HAND_BACK,
            ARG_OUTPUT,
            ARG_VERBOSE,
        ),
    ),
    GroupCommand(name="opt-outs", help="Who wants no messages", subcommands=_OPT_OUT_COMMANDS),
    ActionCommand(
        name="inspect",
        help="Read one MM7 message from a file; exit code 2 when it is none",
        func=_command("inspect.inspect"),
        args=(ARG_FILE, ARG_CONTENT_TYPE, ARG_OUTPUT, ARG_VERBOSE),
    ),
    ActionCommand(
        name="sandbox",
        help="Run an MMSC for development",
        func=_command("sandbox.run"),
        args=(*SANDBOX_ARGS, ARG_VERBOSE),
    ),
    ActionCommand(
        name="receiver",
        help="Run the receiver of the MMSC's callbacks as a process of its own",
        func=_command("receiver.receiver"),
        args=(ARG_HOST, ARG_PORT, ARG_VERBOSE),
    ),
    GroupCommand(name="db", help="Manage the store of what was sent and what came back", subcommands=_DB_COMMANDS),
)


def get_mm7_cli_commands() -> list[GroupCommand]:
    """Return the command group (key ``cli`` of the provider's metadata)."""
    return [GroupCommand(name="mm7", help="Picture messages (MMS) over MM7", subcommands=_COMMANDS)]
