"""``airflow mm7 inbound``: messages from handsets, and what a consumer has done with them."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.cli.ledger import PAGE, last_rows, parse_time
from airflow_provider_mm7.cli.output import Row, print_rows
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.store import ClaimState, Inbound, InboundClaim, InboundFilter, open_store


def inbound(args: Namespace) -> None:
    """List messages from handsets, the latest at the end; with ``--hand-back``, hand some to a consumer again."""
    if args.hand_back and not args.consumer:
        raise CommandError("--hand-back: name the consumer with --consumer", exit_code=EXIT_USAGE)
    wanted = InboundFilter(
        conn_id=args.conn_id,
        short_code=args.short_code,
        sender=args.sender,
        keyword=args.keyword,
        linked_id=args.linked_id,
        since=parse_time(args.since, "--since"),
    )
    store = open_store(config.store_url())
    if args.hand_back:
        done = store.hand_back_inbound(args.consumer, args.hand_back)
        print(
            f"airflow mm7: {done} of {len(set(args.hand_back))} messages are new to {args.consumer} again"
            "; one that it never had, or that it works on now, stays as it is",
            file=sys.stderr,
        )
    limit = None if args.hand_back else args.limit
    found = list(last_rows(lambda after_id: store.inbound(PAGE, after_id=after_id, wanted=wanted), limit))
    if args.hand_back:
        found = [message for message in found if message.id in args.hand_back]
    claims = store.inbound_claims(args.consumer, [message.id for message in found]) if args.consumer else None
    rows = [_inbound_row(message) for message in found]
    if claims is not None:
        rows = [{**row, **_claim_row(claims.get(message.id))} for row, message in zip(rows, found, strict=True)]
    print_rows(rows, args.output)


def _claim_row(claim: InboundClaim | None) -> Row:
    """What the consumer has done with a message: ``new`` when it never had it."""
    if claim is None:
        return {"state": "new", "attempts": 0, "holder": None, "lease_until": None}
    return {
        "state": str(claim.state),
        "attempts": claim.attempts,
        "holder": claim.holder,
        "lease_until": claim.lease_until if claim.state is ClaimState.CLAIMED else None,
    }


def _inbound_row(stored: Inbound) -> Row:
    message = stored.message
    return {
        "id": stored.id,
        "received_at": stored.received_at,
        "conn_id": message.conn_id,
        "sender": message.sender,
        "recipients": message.recipients,
        "subject": message.subject,
        "text": message.text,
        "linked_id": message.linked_id,
        "date": message.date,
        "parts": [
            {
                "content_type": part.content_type,
                "content_id": part.content_id,
                "content_location": part.content_location,
                "size": part.size,
                "sha256": part.sha256,
                "uri": part.uri,
            }
            for part in message.parts
        ],
    }
