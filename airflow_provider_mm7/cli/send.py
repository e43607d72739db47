"""``airflow mm7 send``: what SendMMSOperator does, from the shell."""

from __future__ import annotations

import sys
import uuid
from argparse import Namespace

from airflow_provider_mm7.cli.boundary import CommandError
from airflow_provider_mm7.cli.output import print_object
from airflow_provider_mm7.hooks.sending import Courier, describe_preview, preview_result
from airflow_provider_mm7.sending import Draft, FailOn, OnUnknown, find_failure, parse_list


def send(args: Namespace) -> None:
    """Send, and print the XCom contract of SendMMSOperator.

    :raises CommandError: exit code 1, after the result was printed: somebody was refused, or the outcome is unknown.
    """
    courier = Courier(mm7_conn_id=args.conn_id, aws_conn_id=args.aws_conn_id or None)
    prepared = courier.prepare(_draft(args))
    if args.preview:
        print(describe_preview(prepared), file=sys.stderr)
        print_object(preview_result(prepared), args.output, nested="messages")
        return
    result = courier.send(prepared, key=args.idempotency_key or f"cli/{uuid.uuid4()}")
    print_object(result.as_xcom(), args.output, nested="messages")
    fail_on = FailOn.ANY if len(prepared.recipients) == 1 else FailOn.ALL
    failure = find_failure(result, fail_on=fail_on, on_unknown=OnUnknown.HOLD)
    if failure is not None:
        raise CommandError(failure.text)


def _draft(args: Namespace) -> Draft:
    return Draft(
        to=tuple(number for value in args.to for number in parse_list(value, field="to")),
        subject=args.subject,
        text=tuple(args.text or ()),
        media=tuple(args.media or ()),
        smil=args.smil,
        delivery_report=args.delivery_report == "true",
    )
