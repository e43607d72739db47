"""``airflow mm7 batch show | forget``: one batch."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter

from airflow_provider_mm7.cli.boundary import CommandError, confirm
from airflow_provider_mm7.cli.ledger import PAGE, batch_row
from airflow_provider_mm7.cli.output import Row, print_object
from airflow_provider_mm7.exceptions import NoSuchBatch
from airflow_provider_mm7.hooks import config
from airflow_provider_mm7.sending.owner import is_alive
from airflow_provider_mm7.store import Batch, State, Store, Submission, batch_id_of, open_store

#: What forgetting means, for question and answer alike.
_MEANING = (
    "a task that runs again under its key will send to everybody in it again, and its delivery reports are deleted"
)


def show(args: Namespace) -> None:
    """Print a batch: where it comes from, its counts, its delivery, and its messages in the order of their ids.

    :raises NoSuchBatch: there is none of this id or key.
    """
    store = open_store(config.store_url())
    batch = _find(store, args.batch)
    found = _messages(store, batch.batch_id, args)
    print_object(
        {
            **batch_row(batch, store.summary(batch.batch_id)),
            "origin": {
                "dag_id": batch.origin.dag_id,
                "run_id": batch.origin.run_id,
                "task_id": batch.origin.task_id,
                "map_index": batch.origin.map_index,
            },
            **_delivery(store, batch.batch_id),
            "messages": [_message_row(message) for message in found[: args.limit]],
        },
        args.output,
        nested="messages",
    )
    if len(found) > args.limit:
        print(f"airflow mm7: there are more; go on with --after {found[args.limit - 1].id}", file=sys.stderr)


def forget(args: Namespace) -> None:
    """Delete a batch with its reports, after asking.

    :raises NoSuchBatch: there is none of this id or key.
    :raises CommandError: it is being sent, nobody can be asked, or the answer was no.
    """
    store = open_store(config.store_url())
    batch = _find(store, args.batch)
    _refuse_while_sending(store, batch)
    if not args.yes:
        counts = store.summary(batch.batch_id)
        what = f"{counts.total} messages, {counts.accepted} accepted, {counts.unknown} in doubt"
        confirm(f"Forget batch {batch.batch_id} ({what})? Once it is forgotten, {_MEANING}.")
        # Answers take their time.
        _refuse_while_sending(store, batch)
    forgotten = store.forget_batch(batch.batch_id)
    print_object({"batch_id": batch.batch_id, "key": batch.key, "forgotten": forgotten}, args.output)
    print(f"airflow mm7: forgotten: {_MEANING}", file=sys.stderr)


def _find(store: Store, name: str) -> Batch:
    """Give the batch with this id, or else with this idempotency key."""
    found = store.find_batch(name) or store.find_batch(batch_id_of(name))
    if found is None:
        raise NoSuchBatch(f"no batch has the id or the key {name!r} in the store {store.url_masked}", batch_id=name)
    return found


def _refuse_while_sending(store: Store, batch: Batch) -> None:
    """Refuse while a live process, or one on another machine whose lease has not ended, is sending it."""
    # What the dead left behind is in doubt, not on its way.
    store.settle_abandoned(batch.batch_id, is_alive=is_alive)
    if sending := store.summary(batch.batch_id).sending:
        raise CommandError(
            f"batch {batch.batch_id} is being sent ({sending} messages are on their way): stop its task first, or wait"
        )


def _messages(store: Store, batch_id: str, args: Namespace) -> list[Submission]:
    """Read up to ``--limit`` messages, and one more if there is one."""
    states = [State(name) for name in args.state] if args.state else None
    found: list[Submission] = []
    after_id = args.after
    while (room := args.limit + 1 - len(found)) > 0:
        page = store.submissions(batch_id, after_id=after_id, limit=min(PAGE, room), states=states)
        if not page:
            break
        found += page
        after_id = page[-1].id
    return found


def _delivery(store: Store, batch_id: str) -> Row:
    known = store.delivery_of_batches([batch_id])[batch_id]
    reads: Counter[str] = Counter()
    for (_, status), count in known.by_read.items():
        reads[status] += count
    return {
        "delivery": {**known.by_status, "no report": known.accepted - sum(known.by_status.values())},
        "reads": {**reads, "no reply": known.accepted - reads.total()},
    }


def _message_row(message: Submission) -> Row:
    return {
        "id": message.id,
        "recipient": message.recipient,
        "state": str(message.state),
        "message_id": message.message_id,
        "transaction_id": message.transaction_id,
        "status_code": message.status_code,
        "status_text": message.status_text,
        "delivery": message.delivery,
        "read": message.read,
        "attempts": message.attempts,
        "not_before": message.not_before,
    }
