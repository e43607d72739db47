"""``airflow mm7 inbound``: messages from handsets, and what a consumer has done with them."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from airflow_provider_mm7.cli.boundary import EXIT_USAGE, CommandError
from airflow_provider_mm7.cli.ledger import PAGE, last_rows, parse_time
from airflow_provider_mm7.cli.options import PARKED
from airflow_provider_mm7.cli.output import Row, print_rows
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.store import ClaimState, Inbound, InboundClaim, InboundFilter, Store, open_store


def inbound(args: Namespace) -> None:
    """List messages from handsets, the latest at the end; with ``--hand-back``, hand some to a consumer again."""
    if (args.hand_back or args.parked) and not args.consumer:
        option = "--hand-back" if args.hand_back else "--parked"
        raise CommandError(f"{option}: name the consumer with --consumer", exit_code=EXIT_USAGE)
    wanted = InboundFilter(
        conn_id=args.conn_id,
        short_code=args.short_code,
        sender=args.sender,
        keyword=args.keyword,
        linked_id=args.linked_id,
        since=parse_time(args.since, "--since"),
    )
    store = open_store(config.store_url())

    def page(after_id: int) -> list[Inbound]:
        if args.parked:
            return store.parked_inbound(args.consumer, PAGE, after_id=after_id, wanted=wanted)
        return store.inbound(PAGE, after_id=after_id, wanted=wanted)

    if args.hand_back:
        found = _hand_back(store, args.consumer, args.hand_back, wanted)
    else:
        found = list(last_rows(page, args.limit))
    claims = store.inbound_claims(args.consumer, [message.id for message in found]) if args.consumer else None
    rows = [_inbound_row(message) for message in found]
    if claims is not None:
        rows = [{**row, **_claim_row(claims.get(message.id))} for row, message in zip(rows, found, strict=True)]
    print_rows(rows, args.output)


def _hand_back(store: Store, consumer: str, chosen: Sequence[int | str], wanted: InboundFilter) -> list[Inbound]:
    """Make messages new to a consumer again, and return those that a filter lets through."""

    def parked(after_id: int) -> list[Inbound]:
        return store.parked_inbound(consumer, PAGE, after_id=after_id, wanted=wanted)

    ids = {one for one in chosen if isinstance(one, int)}
    if PARKED in chosen:
        ids |= {message.id for message in last_rows(parked, None)}
    done = store.hand_back_inbound(consumer, ids)
    print(
        f"airflow mm7: {done} of {len(ids)} messages are new to {consumer} again"
        "; one that it never had, or that it works on now, stays as it is",
        file=sys.stderr,
    )
    found = last_rows(lambda after_id: store.inbound(PAGE, after_id=after_id, wanted=wanted), None)
    return [message for message in found if message.id in ids]


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
